"""Introspection of issued tokens, and their revocation: RFC 7662 and RFC 7009 over HTTP, beside gRPC.

In every field; and the revocation of all that a principal has.
"""

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx2
import jwt
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from tests import plain_http
from tests.e2e.sharing import Start
from tests.fakes import FakeClock
from tests.issuer import segment
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, Rig, Serve, person, refusal

from tokenmint.model.secret import Secret
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb

ACCESS = "urn:ietf:params:oauth:token-type:access_token"
ID = "urn:ietf:params:oauth:token-type:id_token"
NEXT, SESSION, ACTED, LONG = (f"https://{name}.example" for name in ("next", "session", "acted", "long"))
JKT = "A" * 43
FORM = "application/x-www-form-urlencoded"
EXTRA = """
[oauth]
enabled = true

[audiences."https://next.example"]
clients = ["web"]
reexchange_from = ["https://orders.example", "https://session.example", "https://acted.example", "https://next.example"]
scopes = ["read"]
[audiences."https://next.example".actors]

[audiences."https://session.example"]
clients = ["web"]
providers = ["idp"]
reexchange_from = ["https://orders.example"]
scopes = ["read", "write"]
claims = {{ email = "assertion.email", roles = "profile.roles", number = "assertion.number" }}
[audiences."https://session.example".reference]

[audiences."https://acted.example"]
clients = ["web"]
providers = ["idp"]
claims = {{ nested = "profile.claims.nested", number = "assertion.number" }}
[audiences."https://acted.example".actors]
providers = ["idp"]
without_may_act = true

[audiences."https://long.example"]
clients = ["web"]
providers = ["idp"]
claims = {{ one = "assertion.text", two = "assertion.text", three = "assertion.text" }}
max_token_bytes = 65536

[clients.api]
secrets = ["sha256:{api}"]
serves = ["https://orders.example", "https://session.example"]

[clients.spa]
public = true
"""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        extra = EXTRA.format(api=Secret("tms_api").fingerprint())
        clock = FakeClock(float(int(time.time())))  # the store stamps revocations by its own
        async with serve(extra, transport=transport, clock=clock) as service:
            service.secrets["api"] = Secret("tms_api")
            for names in (("ada", "1842"), ("bot", "b")):
                await service.create(person(*names, "clerk", nested={"a": [1, 2.5, True, None, "ü"]}))
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


def basic(rig: Rig, name: str = "web") -> dict[str, str]:
    pair = f"{name}:{rig.secrets[name].reveal()}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


async def mint(rig: Rig, audience: str = AUDIENCE, parent: str = "", **fields: Any) -> str:
    request = pb.ExchangeTokenRequest(
        subject_token=parent or rig.issuer.token(rig.clock.now(), email="ada@example.com"), audience=audience,
        subject_token_type=ACCESS if parent else ID, **fields,
    )  # fmt: skip
    answer = await rig.exchange.ExchangeToken(request, **rig.auth("web"))
    return answer.token


def acting(rig: Rig) -> dict[str, str]:
    return {"actor_token": rig.issuer.token(rig.clock.now(), sub="b"), "actor_token_type": ID}


async def introspect(
    rig: Rig, http: httpx2.AsyncClient, token: str, client: str = "web", **fields: str
) -> dict[str, Any]:
    answer = await http.post("/oauth2/introspect", data={"token": token, **fields}, headers=basic(rig, client))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    assert answer.headers["content-type"] == "application/json"
    told: dict[str, Any] = answer.json()
    asked = pb.IntrospectTokenRequest(token=token)
    beside = await rig.exchange.IntrospectToken(asked, **rig.auth(client))
    assert told == {**MessageToDict(beside.claims), "active": beside.active}  # gRPC says the same
    return told


# --- RFC 7662 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "fields", "kind"),
    [
        (AUDIENCE, {}, "Bearer"),
        (AUDIENCE, {"scopes": ["read"]}, "Bearer"),
        (AUDIENCE, {"dpop_jkt": JKT}, "DPoP"),
        (LEGACY_AUDIENCE, {}, "Bearer"),
        (ACTED, {"actor": True}, "Bearer"),
        (NEXT, {"parent": AUDIENCE}, "Bearer"),
        (NEXT, {"parent": ACTED, "actor_before": True}, "Bearer"),
    ],
)
async def test_a_jwt_and_its_introspection_agree_in_every_field(
    rig: Rig, http: httpx2.AsyncClient, audience: str, fields: dict[str, Any], kind: str
) -> None:
    fields = dict(fields)
    before = acting(rig) if fields.pop("actor_before", False) else {}
    parent = await mint(rig, fields.pop("parent"), **before) if "parent" in fields else ""
    given = acting(rig) if fields.pop("actor", False) else {}
    token = await mint(rig, audience, parent, **fields, **given)
    claims = jwt.decode(token, options={"verify_signature": False})
    told = await introspect(rig, http, token)
    assert told == claims | {"active": True, "token_type": kind}
    for name in ("exp", "iat", "nbf"):
        assert isinstance(told[name], int)


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**64 + 1, 2**53, 2**60])
async def test_rfc_7493_section_2_2_a_whole_number_beyond_doubles_is_told_exactly(
    rig: Rig, http: httpx2.AsyncClient, number: int
) -> None:
    now, exact = rig.clock.now(), int(float(number)) == number
    for audience in (SESSION, ACTED):
        request = pb.ExchangeTokenRequest(subject_token=rig.issuer.token(now, number=number), audience=audience)
        token = (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token
        if audience == ACTED:
            assert jwt.decode(token, options={"verify_signature": False})["number"] == number
        answer = await http.post("/oauth2/introspect", data={"token": token}, headers=basic(rig))
        assert answer.json()["number"] == number
        told = await rig.exchange.IntrospectToken(pb.IntrospectTokenRequest(token=token), **rig.auth("web"))
        assert MessageToDict(told.claims)["number"] == (number if exact else str(number))


async def test_a_long_token_of_ours_can_be_introspected_and_revoked(rig: Rig, http: httpx2.AsyncClient) -> None:
    """It may be longer than a provider's: an audience's `max_token_bytes` has another limit."""
    for over_http in (True, False):
        subject = rig.issuer.token(rig.clock.now(), text="x" * 9000)
        request = pb.ExchangeTokenRequest(subject_token=subject, audience=LONG)
        token = (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token
        assert len(token) > 32 * 1024
        assert (await introspect(rig, http, token))["active"]
        if over_http:
            assert (await http.post("/oauth2/revoke", data={"token": token}, headers=basic(rig))).status_code == 200
        else:
            await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=token), **rig.auth("web"))
        assert await introspect(rig, http, token) == {"active": False}


async def test_a_handle_and_a_jwt_of_the_same_rules_say_the_same(rig: Rig, http: httpx2.AsyncClient) -> None:
    told = await introspect(rig, http, await mint(rig, SESSION))
    jwt_says = jwt.decode(await mint(rig), options={"verify_signature": False})
    own = {"jti", "aud", "scope", "exp"}
    assert told.keys() - {"active", "token_type", *own} == (jwt_says.keys() - own)
    assert all(told[name] == jwt_says[name] for name in jwt_says.keys() - own)
    assert (told["aud"], told["scope"], told["token_type"]) == (SESSION, "read write", "Bearer")


@pytest.mark.alone
async def test_rfc_7662_section_2_2_what_is_not_in_force_or_nobodys_business_is_inactive_and_no_more(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    clock: Any = rig.clock
    good = await mint(rig)
    head, body, signature = good.split(".")
    revoked = await mint(rig)
    assert (await http.post("/oauth2/revoke", data={"token": revoked}, headers=basic(rig))).status_code == 200
    handle = await mint(rig, SESSION)
    answers = set()
    for token, client in (
        ("unknown", "web"), ("tmr_", "web"), ("tmr_" + "A" * 43, "web"), (handle[:-1], "web"), (handle + "A", "web"),
        (handle.upper(), "web"), (rig.issuer.token(clock.now()), "web"), (good, "batch"), (handle, "batch"),
        (revoked, "web"), (revoked, "api"), (f"{head}.{body}.{signature[:-4]}AAAA", "web"), (f"{head}.{body}.", "web"),
        (f"{segment({'alg': 'none', 'typ': 'at+jwt'})}.{body}.", "web"), (f" {good}", "web"), (good + "\n", "web"),
    ):  # fmt: skip
        answer = await http.post("/oauth2/introspect", data={"token": token}, headers=basic(rig, client))
        answers.add((answer.status_code, answer.content))
    public = await http.post("/oauth2/introspect", data={"token": good, "client_id": "spa"})
    answers.add((public.status_code, public.content))
    assert (await introspect(rig, http, good))["active"]
    await rig.set_time(clock.now() + 600)
    for token in (good, handle):
        answer = await http.post("/oauth2/introspect", data={"token": token}, headers=basic(rig))
        answers.add((answer.status_code, answer.content))
    assert answers == {(200, b'{"active":false}')}


async def test_rfc_7662_section_2_1_who_may_ask_and_how(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = await mint(rig)
    for hint in ("access_token", "refresh_token", "nonsense"):
        assert (await introspect(rig, http, token, "api", token_type_hint=hint))["active"]
    for path in ("/oauth2/introspect", "/oauth2/revoke"):
        nobody = await http.post(path, data={"token": token})
        assert (nobody.status_code, nobody.json()["error"]) == (401, "invalid_client")
        assert nobody.headers["www-authenticate"].startswith("Basic ")
        wrong = await http.post(path, data={"token": token}, headers={"Authorization": f"Bearer {token}"})
        assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
        for content, kind in (
            (b"", FORM),
            (b"token=", FORM),
            (urlencode([("token", token), ("token", token)]).encode(), FORM),
            (json.dumps({"token": token}).encode(), "application/json"),
        ):
            headers = {**basic(rig), "Content-Type": kind}
            refused = await http.post(path, content=content, headers=headers)
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request"), content[:40]
        refused = await http.post(f"{path}?token={token}", data={"token": token}, headers=basic(rig))
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
        assert (await http.get(path, params={"token": token}, headers=basic(rig))).status_code == 405
    assert (await introspect(rig, http, token))["active"]  # none of it revoked anything


# --- RFC 7009 -----------------------------------------------------------------------------------------------------


async def revoke(rig: Rig, http: httpx2.AsyncClient, token: str, client: str = "web") -> tuple[int, bytes]:
    answer = await http.post("/oauth2/revoke", data={"token": token}, headers=basic(rig, client))
    return answer.status_code, answer.content


@pytest.mark.alone
async def test_rfc_7009_section_2_2_revoking_what_is_not_there_is_done(rig: Rig, http: httpx2.AsyncClient) -> None:
    clock: Any = rig.clock
    token, over = await mint(rig), await mint(rig)
    await rig.set_time(clock.now() + 600)
    tampered = token[:-4] + "AAAA"
    for gone in ("unknown", "tmr_unknown", rig.issuer.token(clock.now()), over, tampered, "a.b.c", "{}"):
        assert await revoke(rig, http, gone) == (200, b"")


@pytest.mark.parametrize("audience", [AUDIENCE, SESSION])
async def test_rfc_7009_section_2_1_a_revoked_token_is_over_with_all_that_came_of_it(
    rig: Rig, http: httpx2.AsyncClient, audience: str
) -> None:
    token, other = await mint(rig, audience), await mint(rig, audience)
    child = await mint(rig, NEXT, token)
    grandchild = await mint(rig, NEXT, child)
    status, told = await revoke(rig, http, token, "api")  # whom it is for; it was issued to another
    assert (status, json.loads(told)["error"]) == (400, "unauthorized_client")
    status, told = await revoke(rig, http, token, "batch")
    assert (status, json.loads(told)["reason"]) == (400, "TOKEN_DENIED")
    assert (await introspect(rig, http, grandchild))["active"]
    for _ in range(2):
        assert await revoke(rig, http, token) == (200, b"")
    for gone in (token, child, grandchild):
        assert await introspect(rig, http, gone) == {"active": False}
        assert (await refusal(mint(rig, NEXT, gone))).reason == "REVOKED"
    assert (await introspect(rig, http, other))["active"]  # the principal's other tokens are


async def test_revoking_a_child_leaves_its_parent(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = await mint(rig)
    child, sibling = await mint(rig, NEXT, token), await mint(rig, NEXT, token)
    assert await revoke(rig, http, child) == (200, b"")
    assert await introspect(rig, http, child) == {"active": False}
    for alive in (token, sibling):
        assert (await introspect(rig, http, alive))["active"]


# --- all of a principal's tokens ----------------------------------------------------------------------------------


@pytest.mark.alone
async def test_revoking_a_principals_tokens_reaches_every_kind_and_every_descendant(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    clock: Any = rig.clock
    theirs = rig.issuer.token(clock.now())
    token, handle = await mint(rig), await mint(rig, SESSION)
    acted = await mint(rig, ACTED, **acting(rig))  # of ada, by bot
    child = await mint(rig, NEXT, token)
    grandchild, swapped = await mint(rig, NEXT, child), await mint(rig, NEXT, handle)
    opaque = await mint(rig, SESSION, token)
    bots = rig.issuer.token(clock.now(), sub="b")
    bot = (
        await rig.exchange.ExchangeToken(
            pb.ExchangeTokenRequest(subject_token=bots, audience=AUDIENCE), **rig.auth("web")
        )
    ).token
    adas = (token, handle, acted, child, grandchild, swapped, opaque)
    for one in (*adas, bot):
        assert (await introspect(rig, http, one))["active"]
    revoked = await rig.profiles.RevokePrincipalTokens(
        profiles_pb.RevokePrincipalTokensRequest(principal="ada"), **rig.auth("root")
    )
    assert revoked.tokens_valid_after_time.seconds >= int(clock.now())
    for gone in adas:
        assert await introspect(rig, http, gone) == {"active": False}
        assert (await refusal(mint(rig, NEXT, gone))).reason == "REVOKED"
    again = pb.ExchangeTokenRequest(subject_token=theirs, audience=AUDIENCE)
    assert (await refusal(rig.exchange.ExchangeToken(again, **rig.auth("web")))).reason == "REVOKED"
    assert (await introspect(rig, http, bot))["active"]

    # Signed in again, later: a token of now, which brings none of the old ones back.
    await rig.set_time(revoked.tokens_valid_after_time.seconds + 1)
    assert (await introspect(rig, http, await mint(rig)))["active"]
    assert await introspect(rig, http, token) == {"active": False}

    # The actor is a principal as well.
    await rig.profiles.RevokePrincipalTokens(
        profiles_pb.RevokePrincipalTokensRequest(principal="bot"), **rig.auth("root")
    )
    assert await introspect(rig, http, bot) == {"active": False}


@pytest.mark.alone
async def test_revoking_an_actors_tokens_ends_what_it_got_in_others_names(rig: Rig, http: httpx2.AsyncClient) -> None:
    acted, own = await mint(rig, ACTED, **acting(rig)), await mint(rig)
    child = await mint(rig, NEXT, acted)
    await rig.profiles.RevokePrincipalTokens(
        profiles_pb.RevokePrincipalTokensRequest(principal="bot"), **rig.auth("root")
    )
    for gone in (acted, child):
        assert await introspect(rig, http, gone) == {"active": False}
        assert (await refusal(mint(rig, NEXT, gone))).reason == "REVOKED"
    assert (await introspect(rig, http, own))["active"]
