"""A gateway's checks and their answers (envoy.service.auth.v3): tokens in every place, headers in every spelling."""

import asyncio
from typing import Any

import grpc
import jwt
import pytest
from tests.e2e.gateways import (
    ACCESS,
    BOUND,
    COOKIE,
    FORWARDED,
    IAP,
    ID_TOKEN,
    ONCE,
    ORDERS,
    SESSION,
    behind_a_gateway,
    challenge,
    check,
    mint,
    ours,
    set_upstream,
    theirs,
    told,
)
from tests.e2e.sharing import Start
from tests.fakes import FakeClock
from tests.rig import Rig, refusal

from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    return behind_a_gateway(transport)


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


# --- a handle at the edge -----------------------------------------------------------------------------------------


async def test_a_handle_becomes_a_jwt_at_the_edge_and_slides(rig: Rig) -> None:
    handle, clock = await mint(rig, SESSION, scopes=["read"]), rig.clock
    assert isinstance(clock, FakeClock)
    for headers in ({"cookie": f"a=1; {COOKIE}={handle}"}, {"authorization": f"Bearer {handle}"}):
        for _ in range(3):
            await rig.set_time(clock.now() + 500)  # of ten minutes without use
            answer = await check(rig, headers)
            claims = ours(set_upstream(answer))
            assert (claims["aud"], claims["scope"], claims["client_id"]) == (ORDERS, "read", "gateway")
            assert handle not in str(answer)
    await rig.set_time(clock.now() + 600)
    over = await check(rig, {"cookie": f"{COOKIE}={handle}"})
    assert told(over) == (401, "EXPIRED")
    assert 'error="invalid_token"' in challenge(over)


async def test_a_handle_that_was_revoked_opens_nothing_from_then_on(rig: Rig) -> None:
    handle = await mint(rig, SESSION)
    swapped = ours(set_upstream(await check(rig, {"cookie": f"{COOKIE}={handle}"})))
    assert len(swapped["tm_lineage"]) == 1
    await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=handle), **rig.auth("web"))
    assert told(await check(rig, {"cookie": f"{COOKIE}={handle}"})) == (401, "REVOKED")


async def test_a_handle_is_for_the_gateway_that_its_audience_names(rig: Rig) -> None:
    handle = await mint(rig, SESSION)
    assert told(await check(rig, {"authorization": f"Bearer {handle}"}, client="web"))[0] == 403
    assert told(await check(rig, {"authorization": f"Bearer {handle}"}, client="batch"))[0] == 403
    for guess in ("tmr_", "tmr_" + "A" * 43, handle[:-1], handle + "A", handle.upper(), handle.replace("tmr_", "tms_")):
        assert told(await check(rig, {"authorization": f"Bearer {guess}"}))[0] == 401


async def test_a_bound_token_is_not_swapped_for_one_that_is_not_bound(rig: Rig) -> None:
    bound = await mint(rig, BOUND, dpop_jkt="A" * 43)
    answer = await check(rig, {"authorization": f"Bearer {bound}"}, subject_token_type=ACCESS)
    assert told(answer) == (401, "POSSESSION_NOT_PROVED")
    # Nor is one minted that Bearer can't carry.
    assert told(await check(rig, {"authorization": f"Bearer {theirs(rig)}"}, host="bound.example"))[0] == 403


# --- where the token is -------------------------------------------------------------------------------------------


async def test_what_the_caller_sent_does_not_reach_the_service_behind(rig: Rig) -> None:
    token, handle = theirs(rig), await mint(rig, SESSION)
    answer = await check(rig, {"authorization": f"Bearer {token}", "cookie": f"a=1; {COOKIE}={handle}; b=2"})
    upstream = set_upstream(answer)
    assert ours(upstream)["sub"].startswith("p_")
    assert upstream["cookie"] == "a=1; b=2"  # the session's handle stays at the edge, also where it was not needed
    alone = await check(rig, {"authorization": f"Bearer {token}", "cookie": f"{COOKIE}={handle}"})
    assert list(alone.allowed.headers_to_remove) == [IAP, FORWARDED, "cookie"]
    twice = await check(rig, {"authorization": f"Bearer {token}", "cookie": f"{COOKIE}={handle}; a=1; {COOKIE}=x"})
    assert set_upstream(twice)["cookie"] == "a=1"
    untouched = await check(rig, {"authorization": f"Bearer {token}", "cookie": "a=1; b=2"})
    assert "cookie" not in set_upstream(untouched)
    assert "cookie" not in untouched.allowed.headers_to_remove


@pytest.mark.parametrize(
    ("case", "headers", "reason"),
    [
        ("nothing", {}, "NO_TOKEN"),
        ("another scheme", {"authorization": "Basic dTpw"}, "NO_TOKEN"),
        ("DPoP is another scheme", {"authorization": "DPoP {theirs}"}, "NO_TOKEN"),
        ("no scheme", {"authorization": "{theirs}"}, "NO_TOKEN"),
        ("a scheme alone", {"authorization": "Bearer"}, "NO_TOKEN"),
        ("... and a space", {"authorization": "Bearer  "}, "NO_TOKEN"),
        ("an empty header", {"authorization": ""}, "NO_TOKEN"),
        ("two, as Envoy joins them", {"authorization": "Bearer {theirs},Bearer {theirs}"}, "MALFORMED"),
        ("two, the second of another scheme", {"authorization": "Bearer {theirs},Basic dTpw"}, "MALFORMED"),
        ("two tokens", {"authorization": "Bearer {theirs} {theirs}"}, "MALFORMED"),
        ("a line that was folded", {"authorization": "Bearer {theirs}\r\n x"}, "MALFORMED"),
        ("a token in the query is none", {":path": "/?access_token={theirs}"}, "NO_TOKEN"),
        ("two spellings of the header", {"authorization": "Bearer {theirs}", "Authorization": "Bearer x"}, "NO_TOKEN"),
        ("another scheme, and a cookie", {"authorization": "Basic dTpw", "cookie": f"{COOKIE}={{theirs}}"}, "NO_TOKEN"),
        ("two cookies of the name", {"cookie": f"{COOKIE}={{theirs}}; {COOKIE}=x"}, "NO_TOKEN"),
        ("an empty cookie", {"cookie": f"{COOKIE}="}, "NO_TOKEN"),
        ("a cookie of nearly the name", {"cookie": f"x{COOKIE}={{theirs}}; {COOKIE}x={{theirs}}"}, "NO_TOKEN"),
        ("a cookie in another case", {"cookie": f"{COOKIE.upper()}={{theirs}}"}, "NO_TOKEN"),
        ("two tokens, of two senders", {"authorization": "Bearer {theirs}", IAP: "{theirs}"}, "NO_TOKEN"),
        ("the same, in other case", {"AUTHORIZATION": "Bearer {theirs}", IAP.upper(): "{theirs}"}, "NO_TOKEN"),
        ("... and a credential of another scheme", {"authorization": "Basic dTpw", IAP: "{theirs}"}, "NO_TOKEN"),
        ("two of the named headers", {IAP: "{theirs}", FORWARDED: "Bearer {theirs}"}, "NO_TOKEN"),
        ("one named header in two spellings", {IAP: "{theirs}", IAP.upper(): "{theirs}"}, "NO_TOKEN"),
        ("a named header that is empty", {IAP: ""}, "NO_TOKEN"),
        ("a named header with another scheme", {FORWARDED: "Basic dTpw"}, "NO_TOKEN"),
        ("two in one named header, as Envoy joins them", {IAP: "{theirs},{theirs}"}, "MALFORMED"),
        ("a named header that CGI and WSGI read alike", {IAP.replace("-", "_"): "{theirs}"}, "NO_TOKEN"),
        ("... beside it", {IAP: "{theirs}", "X_Goog-IAP_JWT_Assertion": "x"}, "NO_TOKEN"),
        ("... beside another token", {"authorization": "Bearer {theirs}", IAP.replace("-", "."): "x"}, "NO_TOKEN"),
        ("a header that nobody named", {"x-amzn-oidc-data": "{theirs}"}, "NO_TOKEN"),
        ("cookies joined with a comma", {"cookie": f"a=1,{COOKIE}={{theirs}}"}, "NO_TOKEN"),
    ],
)
async def test_what_is_no_token_or_none_that_is_certain(
    rig: Rig, case: str, headers: dict[str, str], reason: str
) -> None:
    token = theirs(rig)
    answer = await check(rig, {name: value.replace("{theirs}", token) for name, value in headers.items()})
    assert told(answer) == (401, reason), case
    assert challenge(answer).startswith('Bearer realm="tokenmint"')
    assert token not in str(answer)


@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_names_of_headers_and_schemes_have_no_case(rig: Rig, name: str, scheme: str) -> None:
    assert ours(set_upstream(await check(rig, {name: f"{scheme} {theirs(rig)}"})))["aud"] == ORDERS


@pytest.mark.parametrize("name", [IAP, IAP.upper(), FORWARDED])
@pytest.mark.parametrize("scheme", ["", "Bearer ", "bearer "])
async def test_a_header_of_a_gateway_in_front_holds_the_token_and_stays_at_the_edge(
    rig: Rig, name: str, scheme: str
) -> None:
    handle = await mint(rig, SESSION)
    answer = await check(rig, {name: f"{scheme}{theirs(rig)}", "cookie": f"{COOKIE}={handle}"})
    assert ours(set_upstream(answer))["aud"] == ORDERS
    assert set(answer.allowed.headers_to_remove) == {IAP, FORWARDED, "cookie"}


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT"])
async def test_rfc_9068_the_kind_of_a_token_is_taken_from_its_typ(rig: Rig, typ: str) -> None:
    token = jwt.encode(
        rig.issuer.claims(rig.clock.now(), iss="https://access.example"),
        rig.issuer.key,
        algorithm="RS256",
        headers={"kid": rig.issuer.key_id, "typ": typ},
    )
    assert ours(set_upstream(await check(rig, {"authorization": f"Bearer {token}"})))["aud"] == ORDERS
    said = await check(rig, {"authorization": f"Bearer {token}"}, subject_token_type=ID_TOKEN)
    assert told(said) == (401, "UNSUPPORTED_TOKEN_TYPE")  # the route's word counts first


# --- what is told -------------------------------------------------------------------------------------------------


async def test_nothing_of_a_request_gets_into_the_challenge(rig: Rig) -> None:
    now = rig.clock.now()
    hostile = 'x", error="none", realm="evil\r\nset-cookie: a=b\\'
    for token in (
        rig.issuer.token(now, iss=hostile), rig.issuer.token(now, aud=hostile), rig.issuer.token(now, sub=hostile * 20),
        rig.issuer.token(now, {"kid": hostile[:60].replace("\r\n", "")}), rig.issuer.token(now, {"typ": hostile}),
        rig.issuer.token(now, {"crit": [hostile]}), hostile,
    ):  # fmt: skip
        answer = await check(rig, {"authorization": f"Bearer {token}"}, host=hostile)
        said = challenge(answer)
        assert "evil" not in said
        assert "set-cookie" not in str(answer)
        assert said.count('realm="') == 1
        assert all(" " <= char <= "~" for char in said)


@pytest.mark.parametrize(
    ("extensions", "status", "reason"),
    [
        ({"audience": "https://nowhere.example"}, 403, "AUDIENCE_DENIED"),
        ({"audience": "https://orders.example"}, 403, "AUDIENCE_DENIED"),  # it is there, and not this gateway's
        ({"scope": "admin"}, 403, "SCOPE_DENIED"),
        ({"scope": 're"ad'}, 401, "INVALID_REQUEST"),
        ({"subject_token_type": "urn:x"}, 401, "INVALID_REQUEST"),
        ({"subject_token_type": ACCESS}, 401, "UNSUPPORTED_TOKEN_TYPE"),
    ],
)
async def test_what_a_route_may_say(rig: Rig, extensions: dict[str, str], status: int, reason: str) -> None:
    answer = await check(rig, {"authorization": f"Bearer {theirs(rig)}"}, **extensions)
    assert told(answer) == (status, reason)


async def test_a_header_can_not_say_what_the_route_says(rig: Rig) -> None:
    headers = {"authorization": f"Bearer {theirs(rig)}", "tokenmint.audience": BOUND, "tokenmint-audience": BOUND}
    assert ours(set_upstream(await check(rig, headers)))["aud"] == ORDERS


async def test_a_gateway_is_a_client_like_any_other(rig: Rig) -> None:
    call: Any = rig.data.unary_unary("/envoy.service.auth.v3.Authorization/Check")
    refused = await refusal(call(envoy.CheckRequest().SerializeToString(), timeout=20))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")
    token = theirs(rig, jti="once")
    first, second = [
        await check(rig, {"authorization": f"Bearer {token}"}, audience=ONCE) for _ in range(2)
    ]  # fmt: skip
    assert ours(set_upstream(first))["aud"] == ONCE
    assert told(second) == (401, "REPLAYED")


async def test_many_at_once_each_get_their_own(rig: Rig) -> None:
    answers = await asyncio.gather(
        *(check(rig, {"authorization": f"Bearer {theirs(rig, sub=f's{number}')}"}) for number in range(20))
    )
    assert len({ours(set_upstream(answer))["sub"] for answer in answers}) == 20
