"""The headers of a gateway's question: those that count, with any headers of a client."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.admission.named_credentials import NAMES
from tokenmint.base.errors import AudienceDenied, InvalidRequest
from tokenmint.gateway.request import Gateway, alike, audience_of
from tokenmint.web.gateway_auth import ORIGINAL_URL, OURS, host_in, read

HOST, TOKEN = "x-forwarded-host", "x-token"
COUNTED = ("authorization", HOST, TOKEN, "cookie", *NAMES)
PREFIXES = (
    "x-tokenmint-principal",
    "x_tokenmint_scope",
    "X-Tokenmint.New",
    "tokenmint_client_id",
    "TOKENMINT-CLIENT-ID",
)
NAME = st.sampled_from([*COUNTED, *PREFIXES, "accept", "x-original-url"]) | st.text(
    "abcXYZ-_.", min_size=1, max_size=20
)
HEADERS = st.lists(st.tuples(NAME.map(str.encode), st.binary(max_size=20)), max_size=8)


@given(HEADERS)
def test_what_is_read_is_certain(raw: list[tuple[bytes, bytes]]) -> None:
    names = [name.decode().lower() for name, _ in raw]
    forged = [name for name in names if alike(name).startswith(OURS)]
    respelled = [name for name in names if name not in NAMES and alike(name) in NAMES]
    twice = [name for name in COUNTED if name != "cookie" and names.count(name) > 1]
    try:
        seen = read(raw, (TOKEN,), HOST)
    except InvalidRequest:
        assert forged + respelled + twice
        return
    assert forged + respelled + twice == []
    assert not seen.keys() & set(NAMES)
    assert seen.keys() <= set(names)
    values = {name.decode().lower(): value.decode("latin-1") for name, value in raw}
    assert all(seen[name] == values[name] for name in seen if name != "cookie")


def test_rfc_9113_8_2_3_cookies_in_several_lines_are_one() -> None:
    lines = [(b"cookie", b"a=1"), (b"Cookie", b"b=2")]
    assert read(lines, (), HOST) == {"cookie": "a=1; b=2"}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://orders.example/x?y=https://other.example", "orders.example"),
        ("http://orders.example:8443", "orders.example:8443"),
        ("HTTPS://orders.example?x", "orders.example"),
        ("https://orders.example\\@other.example/", "orders.example"),
        ("https://other.example@orders.example/", "other.example@orders.example"),  # which is no host
        ("//orders.example/", ""),
        ("orders.example", ""),
        ("ftp://orders.example/", ""),
        ("/x", ""),
        ("", ""),
    ],
)
def test_the_host_in_an_original_url(url: str, host: str) -> None:
    assert host_in(ORIGINAL_URL, {ORIGINAL_URL: url}) == host
    assert host_in(HOST, {ORIGINAL_URL: url}) == ""  # only the configured header counts


@given(st.text(max_size=60))
def test_no_text_in_the_place_of_a_url_is_more_than_refused(text: str) -> None:
    gateway = Gateway(hosts={"orders.example": "https://orders.example"})
    with contextlib.suppress(InvalidRequest, AudienceDenied):
        audience_of(gateway, host_in(ORIGINAL_URL, {ORIGINAL_URL: f"https://{text}"}))
