"""Forms: each body is a form without a field that is there twice, or it is refused in words."""

import contextlib
import string
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenmint.base.errors import InvalidRequest
from tokenmint.web.forms import MAX_FIELDS, parse_form, single

names = st.text(min_size=1, max_size=8)
pairs = st.lists(st.tuples(names, st.text(max_size=20)), max_size=MAX_FIELDS)


@given(st.binary(max_size=300))
@example(b"a=%00")
@example(b"=")
@example(b"&&")
@example(b"a=1;a=2")
def test_whatever_is_sent_is_a_form_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidRequest):  # and nothing else
        assert all(len(values) == 1 and values[0] for values in parse_form(body).values())


@given(pairs)
def test_what_was_sent_once_is_read_and_what_was_sent_twice_is_refused(sent: list[tuple[str, str]]) -> None:
    body = urlencode(sent).encode()
    if len({name for name, _ in sent}) < len(sent):
        with pytest.raises(InvalidRequest, match="more than once"):
            parse_form(body)
    else:
        form = parse_form(body)
        assert form == {name: (value,) for name, value in sent if value}  # RFC 6749 section 3.2: no value is none
        assert all(single(form, name) == value for name, value in sent)


@given(st.sampled_from("subject_token"), st.text(alphabet=string.ascii_letters, min_size=1))
def test_rfc_6749_section_3_2_twice_is_twice_however_it_is_spelt(letter: str, value: str) -> None:
    spelt = "subject_token".replace(letter, f"%{ord(letter):02X}", 1)
    for other in (spelt, spelt.lower(), quote("subject_token", safe="")):
        with pytest.raises(InvalidRequest, match="subject_token: is sent more than once"):
            parse_form(f"subject_token={value}&{other}={value}".encode())
        with pytest.raises(InvalidRequest):  # an empty one counts too
            parse_form(f"subject_token={value}&{other}=".encode())


@pytest.mark.parametrize(
    "body",
    [
        b"a=%c0%af", b"a=%ed%a0%80", b"a=%ff", b"a=\xc3\xa9", b"a", b"a&b=1", b"a=1&", b"&a=1", b"a=1&&b=2",
        b"a=1\n", b"\xef\xbb\xbfa=1", "grant_type=ü".encode("utf-16"), b"a=1".decode().encode("utf-16"),
        b"&".join(b"p%d=1" % index for index in range(MAX_FIELDS + 1)),
    ],
)  # fmt: skip
def test_what_two_parsers_could_read_differently_is_refused(body: bytes) -> None:
    if body == b"a=1\n":
        assert parse_form(body) == {"a": ("1\n",)}  # a value like any other, and the service's to refuse
        return
    with pytest.raises(InvalidRequest):
        parse_form(body)


def test_names_are_compared_as_they_are() -> None:
    body = b"subject_token=a&Subject_Token=b&subject_token%20=c&subject_token%5B%5D=d&subject.token=e"
    form = parse_form(body)
    assert single(form, "subject_token") == "a"
    assert len(form) == 5
    assert single(parse_form(b"a=1;b=2"), "a") == "1;b=2"  # RFC 1866's other separator is none


def test_only_what_may_be_repeated_is() -> None:
    repeatable = frozenset({"resource"})
    assert parse_form(b"resource=a&resource=&resource=b", repeatable=repeatable) == {"resource": ("a", "b")}
    with pytest.raises(InvalidRequest, match="scope: is sent more than once"):
        parse_form(b"resource=a&scope=a&scope=b", repeatable=repeatable)
