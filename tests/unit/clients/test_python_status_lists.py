"""The Python client's status lists: the draft's examples, each fault of a list, the cache, and the whole way."""

import asyncio
import base64
import contextlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.e2e.revocation_rig import claims, exchanged
from tests.issuer import ec_key, jwk
from tests.rig import Rig, Serve, person
from tests.status_lists import ACT, place, with_status_lists

from tokenmint.v1 import token_exchange_service_pb2 as tokens_pb
from tokenmint_client import AsyncVerifier, StatusLists, TokenRejected, VerificationError, Verifier
from tokenmint_client.claims import Expected
from tokenmint_client.fetching import MAX_BYTES
from tokenmint_client.status_lists import (
    COOLDOWN,
    MOST_STATUSES,
    TYP,
    claims_of_list,
    place_of,
    status_at,
    statuses_of,
)

VECTORS = json.loads((Path(__file__).parents[2] / "clients" / "status_list_vectors.json").read_text())["vectors"]
ISSUER = "https://tokens.example"
URI = f"{ISSUER}/status-lists/AAAAAAAAAAAAAAAAAAAAAA"
NOW = 1_800_000_000.0
KEY = ec_key(5)
EXPECTED = Expected(ISSUER, "", ("ES256",), (TYP,), 30.0)


def lst(statuses: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(statuses)).rstrip(b"=").decode()


def a_list(statuses: bytes = b"\x02", bits: int = 1, **changes: Any) -> dict[str, Any]:
    """The claims of a list whose token 1 is revoked."""
    member = {"bits": bits, "lst": lst(statuses)}
    made = {"iss": ISSUER, "sub": URI, "iat": NOW, "exp": NOW + 300, "ttl": 60, "status_list": member} | changes
    return {name: value for name, value in made.items() if value is not None}


def token(index: Any = 0, uri: Any = URI) -> dict[str, Any]:
    return {"status": {"status_list": {"idx": index, "uri": uri}}}


@dataclass
class Provider:
    """A stand-in for the service's HTTP: answers with the list that a test gives it."""

    claims: dict[str, Any] = field(default_factory=a_list)
    status: int = 200
    body: bytes | None = None
    etag: str = '"1"'
    asked: list[httpx.Request] = field(default_factory=list)
    http: httpx.Client | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.status == 200 and request.headers.get("If-None-Match") == self.etag:
            return httpx.Response(304)
        signed = jwt.encode(self.claims, KEY, algorithm="ES256", headers={"kid": "c", "typ": TYP}).encode()
        content = self.body if self.body is not None else signed
        return httpx.Response(
            self.status, content=content, headers={"ETag": self.etag, "Location": "https://x.example"}
        )

    def client(self) -> httpx.Client:
        if self.http is None:
            self.http = httpx.Client(transport=httpx.MockTransport(self.answer), verify=False)  # noqa: S501  # no network
        return self.http

    def async_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.answer))


def verify(text: str, now: float) -> Mapping[str, Any]:
    return claims_of_list(text, jwt.PyJWK(jwk(KEY, kid="c") | {"alg": "ES256"}), "ES256", EXPECTED, now)


def reason(lists: StatusLists, provider: Provider, of: dict[str, Any], now: float = NOW) -> str:
    """Check a token: "" if it is accepted."""
    try:
        lists.check(of, ISSUER, now, provider.client, verify)
    except VerificationError as error:
        return error.reason
    return ""


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_section_4_and_the_test_vectors(vector: dict[str, Any]) -> None:
    bits, statuses = statuses_of(vector)
    expected = {int(index): status for index, status in vector["statuses"].items()}
    assert {index: status_at(statuses, bits, index) for index in expected} == expected
    assert sum(1 for byte in statuses if byte) <= len(expected)
    assert len(statuses) * 8 // bits == vector["size"]
    with pytest.raises(IndexError):
        status_at(statuses, bits, vector["size"])


@pytest.mark.parametrize(
    ("member", "fault"),
    [
        (None, "no status_list"),
        ({"bits": 3, "lst": lst(b"a")}, "no bits"),
        ({"bits": True, "lst": lst(b"a")}, "no bits"),
        ({"bits": 1}, "no lst"),
        ({"bits": 1, "lst": "!!!"}, "compressed"),
        ({"bits": 1, "lst": "AAAA"}, "compressed"),
        ({"bits": 1, "lst": lst(b"a" * 99)[:-6]}, "cut off"),
        ({"bits": 1, "lst": lst(bytes(MOST_STATUSES + 1))}, "more than"),
    ],
)
def test_section_4_2_another_form_is_no_list(member: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        statuses_of(member)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_none(packed: bytes) -> None:
    text = base64.urlsafe_b64encode(packed).decode()
    with contextlib.suppress(ValueError):
        statuses_of({"bits": 1, "lst": text})


@pytest.mark.parametrize(
    "of",
    [
        {}, {"status": None}, {"status": {}}, {"status": {"status_list": []}}, token(-1), token("0"), token(None),
        token(True), token(1.0), token(0, None), token(0, "https://other.example/status-lists/a"),
        token(0, f"{ISSUER}.evil.example/status-lists/a"), token(0, URI + "/../x"), token(0, URI + "?a=b"),
        token(0, ISSUER + "/status-lists/"), token(0, URI + "A" * 2000), token(0, f"{ISSUER}/status-lists/a#b"),
    ],
)  # fmt: skip
def test_section_6_2_a_token_without_a_place_in_a_list_of_its_issuer(of: dict[str, Any]) -> None:
    """Nothing is fetched for it."""
    provider = Provider()
    assert reason(StatusLists(), provider, of) == "CLAIM_REJECTED"
    assert provider.asked == []


def test_section_7_every_other_status_than_valid_is_refused() -> None:
    assert reason(StatusLists(), Provider(), token(0)) == ""
    assert reason(StatusLists(), Provider(), token(1)) == "REVOKED"
    for status in (1, 2, 3):
        provider = Provider(a_list(bytes([status << 2]), bits=2))
        assert reason(StatusLists(), provider, token(0)) == ""
        assert reason(StatusLists(), provider, token(1)) == "REVOKED"


def test_section_8_3_an_index_that_is_out_of_bounds() -> None:
    assert reason(StatusLists(), Provider(), token(8)) == "CLAIM_REJECTED"


FAULTS: dict[str, Callable[[Provider], None]] = {
    "another list": lambda one: one.claims.update(sub=URI[:-1] + "B"),
    "another issuer": lambda one: one.claims.update(iss="https://other.example"),
    "no iat": lambda one: one.claims.pop("iat"),
    "no exp": lambda one: one.claims.pop("exp"),
    "no sub": lambda one: one.claims.pop("sub"),
    "no list": lambda one: one.claims.pop("status_list"),
    "expired": lambda one: one.claims.update(exp=NOW),
    "of the future": lambda one: one.claims.update(iat=NOW + 31),
    "an iat that is a text": lambda one: one.claims.update(iat="1"),
    "a ttl of nothing": lambda one: one.claims.update(ttl=0),
    "a ttl that is a text": lambda one: one.claims.update(ttl="60"),
    "a ttl of true": lambda one: one.claims.update(ttl=True),
    "no JWT": lambda one: setattr(one, "body", b"<html>"),
    "no ASCII": lambda one: setattr(one, "body", b"\xff"),
    "too long": lambda one: setattr(one, "body", b"a" * (MAX_BYTES + 1)),
    "not found": lambda one: setattr(one, "status", 404),
    "an error": lambda one: setattr(one, "status", 503),
    "a redirect": lambda one: setattr(one, "status", 302),
    "unchanged, though there is none": lambda one: setattr(one, "status", 304),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_section_8_3_a_list_that_is_not_good_refuses_every_token(fault: str) -> None:
    provider = Provider()
    FAULTS[fault](provider)
    lists = StatusLists()
    assert reason(lists, provider, token(0)) == "STATUS_LIST_UNAVAILABLE"
    assert reason(lists, provider, token(0), NOW + COOLDOWN - 1) == "STATUS_LIST_UNAVAILABLE"
    assert len(provider.asked) == 1
    assert reason(StatusLists(when_unavailable="accept"), provider, token(0)) == ""
    provider.claims, provider.status, provider.body = a_list(), 200, None
    assert reason(lists, provider, token(0), NOW + COOLDOWN) == ""


def test_a_forged_signature() -> None:
    forged = jwt.encode(a_list(), ec_key(6), algorithm="ES256", headers={"kid": "c", "typ": TYP}).encode()
    assert reason(StatusLists(), Provider(body=forged), token(0)) == "STATUS_LIST_UNAVAILABLE"


def test_section_13_7_a_list_is_kept_for_its_ttl_and_then_asked_for_by_its_tag() -> None:
    provider, lists = Provider(), StatusLists()
    assert reason(lists, provider, token(0)) == ""
    assert reason(lists, provider, token(0), NOW + 59) == ""
    assert len(provider.asked) == 1
    assert reason(lists, provider, token(1), NOW + 60) == "REVOKED"
    assert provider.asked[1].headers["If-None-Match"] == '"1"'
    provider.claims, provider.etag = a_list(b"\x03", iat=NOW + 100, exp=NOW + 400), '"2"'
    assert reason(lists, provider, token(0), NOW + 121) == "REVOKED"
    assert [request.headers["Accept"] for request in provider.asked] == ["application/statuslist+jwt"] * 3


def test_an_old_list_serves_until_it_expires_and_then_nothing_is_accepted() -> None:
    provider, lists = Provider(), StatusLists()
    opened = StatusLists(when_unavailable="accept")
    for one in (lists, opened):
        assert reason(one, provider, token(0)) == ""
    provider.status = 503
    for one in (lists, opened):
        assert reason(one, provider, token(0), NOW + 299) == ""
    assert reason(lists, provider, token(0), NOW + 300) == "STATUS_LIST_UNAVAILABLE"
    assert reason(opened, provider, token(0), NOW + 300) == ""
    assert reason(opened, provider, token(1), NOW + 300) == "REVOKED"


def test_an_older_list_of_another_replica_takes_nothing_back() -> None:
    provider, lists = Provider(a_list(b"\x03")), StatusLists()
    assert reason(lists, provider, token(0)) == "REVOKED"
    provider.claims, provider.etag = a_list(b"\x00", iat=NOW - 15), '"2"'
    assert reason(lists, provider, token(0), NOW + 61) == "REVOKED"


def test_a_ttl_beyond_the_bounds_is_cut() -> None:
    provider, lists = Provider(a_list(ttl=10**9, exp=NOW + 10**9)), StatusLists()
    assert reason(lists, provider, token(0)) == ""
    assert reason(lists, provider, token(0), NOW + 3601) == ""
    assert len(provider.asked) == 2
    quick = Provider(a_list(ttl=0.001))
    lists = StatusLists()
    assert [reason(lists, quick, token(0), NOW + second / 10) for second in range(9)] == [""] * 9
    assert len(quick.asked) == 1


def test_lists_are_bounded() -> None:
    lists, provider = StatusLists(), Provider()
    for number in range(1100):
        uri = f"{ISSUER}/status-lists/{number}"
        provider.claims = a_list(sub=uri)
        assert reason(lists, provider, token(0, uri)) == ""
    assert len(lists) == 1000
    large = StatusLists()
    for number in range(70):
        uri = f"{ISSUER}/status-lists/{number}"
        provider.claims = a_list(bytes(MOST_STATUSES), sub=uri)
        assert reason(large, provider, token(0, uri)) == ""
    assert len(large) <= 65


async def test_many_that_wait_for_one_list_cause_one_request() -> None:
    provider, lists = Provider(), StatusLists()
    http = provider.async_client()

    async def checked(text: str, now: float) -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return verify(text, now)

    await asyncio.gather(*(lists.check_async(token(0), ISSUER, NOW, lambda: http, checked) for _ in range(20)))
    assert len(provider.asked) == 1
    with pytest.raises(TokenRejected):
        await lists.check_async(token(1), ISSUER, NOW, lambda: http, checked)


def test_settings_that_can_not_work() -> None:
    with pytest.raises(ValueError, match="refuse or accept"):
        StatusLists(when_unavailable="perhaps")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without TLS"):
        StatusLists(url="http://tokens.example/status-lists")


def test_a_place_may_be_in_any_list_of_the_issuer() -> None:
    assert place_of(token(3), ISSUER + "/") == (URI, 3)


@pytest.mark.slow
async def test_the_whole_way(serve: Serve) -> None:
    """Each verifier accepts a token, and refuses it once it is revoked; the other one stays."""
    async with serve(with_status_lists()) as rig:
        await rig.create(person())
        first, other = await exchanged(rig, audience=ACT), await exchanged(rig, audience=ACT)
        options: Any = {"jwks_url": rig.url("http", "/.well-known/jwks.json"), "clock": rig.clock.now}
        lists = [StatusLists(url=rig.url("http", "/status-lists")) for _ in range(2)]
        verifier = Verifier(ISSUER, ACT, revocations=lists[0], **options)
        following = AsyncVerifier(ISSUER, ACT, revocations=lists[1], **options)

        async def reasons(token: str) -> list[str]:
            found = []
            for verify in (asyncio.to_thread(verifier.verify, token), following.verify(token)):
                try:
                    await verify
                    found.append("")
                except VerificationError as error:
                    found.append(error.reason)
            return found

        assert await reasons(first) == await reasons(other) == ["", ""]
        await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=first), **rig.auth("web"))
        async with asyncio.timeout(20):
            while await reasons(first) != ["REVOKED", "REVOKED"]:
                await rig.let_pass(5)
        assert await reasons(other) == ["", ""]
        assert place(first)[1] == place(other)[1]
        verifier.close()
        await following.close()


@pytest.mark.slow
async def test_a_token_of_an_audience_without_lists_is_not_accepted(rig: Rig) -> None:
    token = await exchanged(rig, audience="https://legacy.example")
    assert "status" not in claims(token)
    options: Any = {"jwks_url": rig.url("http", "/.well-known/jwks.json"), "clock": rig.clock.now, "token_type": "JWT"}
    verifier = AsyncVerifier(ISSUER, "https://legacy.example", revocations=StatusLists(), **options)
    with pytest.raises(TokenRejected) as refused:
        await verifier.verify(token)
    assert refused.value.reason == "CLAIM_REJECTED"
    await verifier.close()
