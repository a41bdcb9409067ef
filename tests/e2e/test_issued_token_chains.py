"""Tokens of ours that come back: introspected (RFC 7662), revoked (RFC 7009), exchanged again; and other formats."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import rsa_key
from tests.rig import AUDIENCE, Rig, Serve, person, refusal

from tokenmint.model.secret import Secret
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCESS = "urn:ietf:params:oauth:token-type:access_token"
ID = "urn:ietf:params:oauth:token-type:id_token"
NEXT, SESSION, SITE, FIREBASE = "https://next.example", "https://session.example", "https://site.example", "demo-app"
ACTED, BOUND = "https://acted.example", "https://bound.example"
JKT = "A" * 43
EXTRA = """
[audiences."https://next.example"]
clients = ["web", "batch"]
reexchange_from = ["https://orders.example", "https://session.example", "https://next.example"]
scopes = ["read", "admin"]
max_lifetime = "1h"

[audiences."https://session.example"]
clients = ["web"]
providers = ["idp"]
scopes = ["read"]
lifetime = "1h"
[audiences."https://session.example".reference]
idle = "10m"

[audiences."https://site.example"]
clients = ["web"]
providers = ["idp"]
[audiences."https://site.example".app_service]
key_file = "zumo"
key_encoding = "hex"

[audiences.demo-app]
clients = ["web"]
providers = ["idp"]
claims = {{ tenant = "profile.claims.tenant" }}
[audiences.demo-app.firebase]
project = "demo-app"
service_account_file = "account.json"

[audiences."https://acted.example"]
clients = ["web"]
providers = ["idp"]
[audiences."https://acted.example".actors]
providers = ["idp"]

[audiences."https://bound.example"]
clients = ["web"]
providers = ["idp"]
bound = "dpop"

[clients.api]
secrets = ["sha256:{api}"]
serves = ["https://orders.example", "https://session.example"]
"""


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        write_keys(serve.directory)
        extra = EXTRA.format(api=Secret("tms_api").fingerprint())
        async with serve(extra, transport=transport) as service:
            service.secrets["api"] = Secret("tms_api")
            await service.create(person(tenant="engines"))
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


def write_keys(directory: Path) -> None:
    """Write the key of a Firebase account, and that of an App Service site."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = rsa_key(7).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "project_id": "demo-app", "client_email": "a@demo-app.example",
               "private_key": pem, "token_uri": "https://oauth2.example/token"}  # fmt: skip
    (directory / "account.json").write_text(json.dumps(account))
    (directory / "zumo").write_text("ab" * 32 + "\n")


def ask(rig: Rig, audience: str = AUDIENCE, parent: str = "", **fields: Any) -> pb.ExchangeTokenRequest:
    token = parent or rig.issuer.token(rig.clock.now(), **fields.pop("claims", {}))
    kind = ACCESS if parent else ID
    return pb.ExchangeTokenRequest(subject_token=token, subject_token_type=kind, audience=audience, **fields)


async def mint(rig: Rig, audience: str = AUDIENCE, parent: str = "", client: str = "web", **fields: Any) -> Any:
    return await rig.exchange.ExchangeToken(ask(rig, audience, parent, **fields), **rig.auth(client))


async def inspect(rig: Rig, token: str, client: str = "web") -> dict[str, Any] | None:
    answer = await rig.exchange.IntrospectToken(pb.IntrospectTokenRequest(token=token), **rig.auth(client))
    assert answer.active or not answer.claims.fields
    return MessageToDict(answer.claims) if answer.active else None


async def revoke(rig: Rig, token: str, client: str = "web") -> None:
    await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=token), **rig.auth(client))


def payload(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def test_rfc_7662_only_the_owner_and_the_audience_see_that_a_token_is_active(rig: Rig) -> None:
    for audience in (AUDIENCE, SESSION):
        token = (await mint(rig, audience)).token
        assert (await inspect(rig, token) or {})["sub"] == "ada"
        assert (await inspect(rig, token, "api") or {})["client_id"] == "web"
        assert await inspect(rig, token, "batch") is None
    assert await inspect(rig, "tmr_unknown") is None
    assert await inspect(rig, rig.issuer.token(rig.clock.now())) is None


async def test_rfc_7009_revocation_reaches_what_was_exchanged_for_it(rig: Rig) -> None:
    first = (await mint(rig)).token
    second = (await mint(rig, NEXT, first)).token
    third = (await mint(rig, NEXT, second)).token
    assert payload(third)["tm_lineage"] == [payload(first)["jti"], payload(second)["jti"]]
    told = await refusal(rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=first), **rig.auth("api")))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "TOKEN_DENIED")
    await revoke(rig, second)
    await revoke(rig, second)
    assert await inspect(rig, first)
    assert await inspect(rig, second) is None
    assert await inspect(rig, third) is None
    told = await refusal(mint(rig, NEXT, second))
    assert told.reason == "REVOKED"


@pytest.mark.alone
async def test_principal_and_key_revocation_reach_introspection(rig: Rig) -> None:
    one = await mint(rig)
    await rig.profiles.RevokePrincipalTokens(
        profiles_pb.RevokePrincipalTokensRequest(principal="ada"), **rig.auth("root")
    )
    profile = await rig.parts.exchange.profiles._store.get("ada")
    assert profile.tokens_valid_after is not None
    assert await rig.parts.exchange.profiles.find_principal("ada", profile.tokens_valid_after + 1)
    with pytest.raises(Exception, match="revoked"):
        await rig.parts.exchange.profiles.find_principal("ada", profile.tokens_valid_after)
    from tokenmint.v1.key_admin_service_pb2 import RevokeSigningKeyRequest

    assert await inspect(rig, one.token) is None
    await rig.set_time(profile.tokens_valid_after + 1)
    later = await mint(rig)
    assert await inspect(rig, later.token)
    request = RevokeSigningKeyRequest(key_id=later.key_id, reason="test")
    await rig.keys.RevokeSigningKey(request, **rig.auth("root"))
    assert await inspect(rig, later.token) is None


async def test_a_handle_slides_and_is_swapped_for_a_jwt_at_a_gateway(rig: Rig) -> None:
    clock: Any = rig.clock
    answer = await mint(rig, SESSION)
    assert answer.token.startswith("tmr_")
    assert answer.expire_time.seconds == int(clock.now()) + 600
    for seconds in (599, 599):
        await rig.set_time(clock.now() + seconds)
        assert await inspect(rig, answer.token, "api")
    swapped = await mint(rig, NEXT, answer.token)
    assert payload(swapped.token)["scope"] == "read"
    await rig.set_time(clock.now() + 600)
    assert await inspect(rig, answer.token) is None
    keys = [key async for key in rig.parts.store.server.client.scan_iter(match="*")]
    assert not any(answer.token.encode() in key for key in keys)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scopes": ["admin"]}, "SCOPE_DENIED"),
        ({"lifetime": Duration(seconds=3600)}, "LIFETIME_DENIED"),
        ({"audience": SESSION}, "REEXCHANGE_DENIED"),
        ({"client": "batch"}, "REEXCHANGE_DENIED"),
    ],
)
async def test_rfc_8693_a_child_is_within_its_parent(rig: Rig, fields: dict[str, Any], reason: str) -> None:
    parent = (await mint(rig)).token
    given = {"audience": NEXT, **fields}
    told = await refusal(mint(rig, parent=parent, **given))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, reason)


async def test_at_most_four_exchanges_in_a_row(rig: Rig) -> None:
    token = (await mint(rig)).token
    for _ in range(4):
        token = (await mint(rig, NEXT, token)).token
    assert (await refusal(mint(rig, NEXT, token))).reason == "REEXCHANGE_DENIED"


async def test_rfc_9449_a_bound_token_stays_bound_and_is_not_exchanged_without_its_key(rig: Rig) -> None:
    assert (await refusal(mint(rig, BOUND))).reason == "CONFIRMATION_DENIED"
    bound = await mint(rig, AUDIENCE, dpop_jkt=JKT)
    assert bound.token_type == "DPoP"
    assert payload(bound.token)["cnf"] == {"jkt": JKT}
    assert (await inspect(rig, bound.token) or {})["cnf"] == {"jkt": JKT}
    told = await refusal(mint(rig, NEXT, bound.token))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "POSSESSION_NOT_PROVED")
    assert (await refusal(mint(rig, FIREBASE, dpop_jkt=JKT))).reason == "CONFIRMATION_DENIED"


async def test_rfc_8693_section_4_actors_need_policy_and_may_act(rig: Rig) -> None:
    actor = rig.issuer.token(rig.clock.now(), sub="1842")
    acting: dict[str, Any] = {"actor_token": actor, "actor_token_type": ID}
    assert (await refusal(mint(rig, AUDIENCE, **acting))).reason == "ACTOR_DENIED"
    assert (await refusal(mint(rig, ACTED, **acting))).reason == "ACTOR_DENIED"
    for may_act, allowed in (({"sub": "1842"}, True), ({"sub": "1843"}, False), ({"sub": "1842", "iss": "x"}, False)):
        call = mint(rig, ACTED, claims={"may_act": may_act}, **acting)
        if allowed:
            token = (await call).token
            assert payload(token)["act"] == {"sub": "ada"}
            assert (await inspect(rig, token) or {})["act"] == {"sub": "ada"}
        else:
            assert (await refusal(call)).reason == "ACTOR_DENIED"


async def test_the_founding_story_an_internal_jwt_and_a_firebase_custom_token_in_one_batch(rig: Rig) -> None:
    batch = pb.BatchExchangeTokensRequest(
        subject_token=rig.issuer.token(rig.clock.now()),
        targets=[pb.BatchExchangeTarget(audience=AUDIENCE), pb.BatchExchangeTarget(audience=FIREBASE)],
    )
    answer = await rig.exchange.BatchExchangeTokens(batch, **rig.auth("web"))
    ours, firebase = (result.token for result in answer.results)
    assert payload(ours.token)["sub"] == "ada"
    claims = jwt.decode(
        firebase.token, rsa_key(7).public_key(), algorithms=["RS256"],
        audience="https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
    )  # fmt: skip
    assert (claims["uid"], claims["claims"], claims["exp"] - claims["iat"]) == ("ada", {"tenant": "engines"}, 3600)
    assert (firebase.token_type, firebase.issued_token_type.rpartition(":")[2]) == ("N_A", "firebase-custom-token")
    assert await inspect(rig, firebase.token) is None


async def test_app_service_tokens_are_of_the_sites_key_alone(rig: Rig) -> None:
    answer = await mint(rig, SITE)
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    claims = jwt.decode(answer.token, b"\xab" * 32, algorithms=["HS256"], audience=SITE, issuer=SITE, options=options)
    assert (claims["ver"], claims["sub"]) == ("3", "ada")
    assert await inspect(rig, answer.token) is None

    async with plain_http.client() as http:
        published = (await http.get(rig.url("http", "/.well-known/jwks.json"))).text
    assert "oct" not in published
    assert base64.urlsafe_b64encode(b"\xab" * 32).decode()[:20] not in published


@pytest.mark.processes
async def test_firebases_sdk_is_loaded_only_where_it_is_used() -> None:
    import sys

    code = "import sys, tokenmint.process.app, tokenmint.cli; sys.exit('firebase_admin' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
