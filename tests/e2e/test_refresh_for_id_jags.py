"""A reference token of ours as the refresh token for ID-JAGs: sections 4.3, 4.3.2 and 4.3.3 of the draft of ID-JAGs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import jwt
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from tests import plain_http
from tests.e2e.sharing import Start
from tests.rig import Rig, Serve, person, refusal

from tokenmint.model.drafts import IDENTITY_ASSERTION, IDENTITY_CHAINING, TRANSACTION_TOKENS
from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, ID_TOKEN, JWT, REFRESH_TOKEN, TXN_TOKEN
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Profile

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
SESSION, API, AS, AS_B, DOMAIN = (
    "https://session.example", "https://api.example", "https://as.example", "https://as.b.example", "domain.example",
)  # fmt: skip
DRAFTS = f'drafts = ["{IDENTITY_ASSERTION}", "{IDENTITY_CHAINING}", "{TRANSACTION_TOKENS}"]\n'
ABROAD = "\n".join(
    f"""
[audiences."{name}"]
clients = ["web", "batch"]
reexchange_from = ["{SESSION}", "{API}"{', "' + DOMAIN + '"' if name == DOMAIN else ""}]
scopes = ["chat.read", "chat.write"]
[audiences."{name}".{table}]
{rest}"""
    for name, table, rest in (
        (AS, "id_jag", 'clients = { web = "web-there", batch = "batch-there" }'), (AS_B, "jwt_grant", ""),
        (DOMAIN, "txn_token", ""),
    )
)  # fmt: skip
EXTRA = f"""
[oauth]
enabled = true
{DRAFTS}
[audiences."{SESSION}"]
clients = ["web"]
providers = ["idp"]
scopes = ["chat.read", "other"]
lifetime = "1h"
[audiences."{SESSION}".reference]
idle = "10m"

[audiences."{API}"]
clients = ["web"]
providers = ["idp"]
reexchange_from = ["{SESSION}"]
scopes = ["chat.read"]
{ABROAD}
"""


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA) as service:
            await service.create(person())
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


async def session(rig: Rig, audience: str = SESSION) -> str:
    """The web client's session of a user."""
    return (await rig.exchange.ExchangeToken(rig.request(audience=audience), **rig.auth("web"))).token


async def post(
    rig: Rig, http: httpx2.AsyncClient, token: str, client: str = "web", **form: Any
) -> tuple[int, Mapping[str, Any]]:
    """The request of section 4.3.2."""
    usual = {
        "grant_type": EXCHANGE, "requested_token_type": ID_JAG, "audience": AS, "scope": "chat.read",
        "subject_token": token, "subject_token_type": REFRESH_TOKEN, "client_id": client,
        "client_secret": rig.secrets[client].reveal(),
    }  # fmt: skip
    answer = await http.post("/oauth2/token", data={name: one for name, one in (usual | form).items() if one})
    return answer.status_code, answer.json()


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def test_section_4_3_2_a_session_of_ours_is_exchanged_for_id_jags(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = await session(rig)
    for _ in range(2):
        status, body = await post(rig, http, token)
        assert (status, body.get("issued_token_type"), body.get("token_type")) == (200, ID_JAG, "N_A"), body
        claims = claims_of(body["access_token"])
        assert (claims["aud"], claims["sub"], claims["client_id"]) == (AS, "ada", "web-there")
        assert claims["exp"] - claims["iat"] == 300
    request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=REFRESH_TOKEN, audience=AS)
    answer = await rig.exchange.ExchangeToken(request, **rig.auth("web"))
    assert (answer.issued_token_type, list(answer.scopes)) == (ID_JAG, ["chat.read"])


@pytest.mark.parametrize(
    ("case", "form", "reason"),
    [
        ("section 4.3.3: of another client", {"client": "batch", "scope": None}, "REEXCHANGE_DENIED"),
        ("section 4.3.3: a scope beyond its own", {"scope": "chat.write"}, "SCOPE_DENIED"),
        ("an access token", {"audience": API, "requested_token_type": None}, "FORMAT_DENIED"),
        ("a plain grant", {"audience": AS_B, "requested_token_type": JWT}, "FORMAT_DENIED"),
        ("section 13.3: a transaction token", {"audience": DOMAIN, "requested_token_type": TXN_TOKEN}, "FORMAT_DENIED"),
        ("as an ID token", {"subject_token_type": ID_TOKEN}, "MALFORMED"),
        ("as a JWT", {"subject_token_type": JWT}, "MALFORMED"),
        ("one that is not there", {"subject_token": "tmr_x"}, "EXPIRED"),
        ("as an actor", {"actor_token": "tmr_x", "actor_token_type": REFRESH_TOKEN}, "INVALID_REQUEST"),
    ],
)
async def test_section_4_3_3_what_is_no_refresh_token_for_it(
    rig: Rig, http: httpx2.AsyncClient, case: str, form: dict[str, Any], reason: str
) -> None:
    status, body = await post(rig, http, await session(rig), **form)
    assert (status, body["reason"]) == (400, reason), case


async def test_a_jwt_is_no_refresh_token(rig: Rig, http: httpx2.AsyncClient) -> None:
    for token in (await session(rig, API), rig.issuer.token(rig.clock.now())):
        assert (await post(rig, http, token))[0] == 400
        assert (await refusal(over_grpc(rig, token))).reason in ("UNSUPPORTED_TOKEN_TYPE", "UNKNOWN_ISSUER")


async def over_grpc(rig: Rig, token: str) -> None:
    request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=REFRESH_TOKEN, audience=AS)
    await rig.exchange.ExchangeToken(request, **rig.auth("web"))


async def test_a_batch_has_no_refresh_tokens(rig: Rig) -> None:
    batch = pb.BatchExchangeTokensRequest(
        subject_token=await session(rig),
        subject_token_type=REFRESH_TOKEN,
        targets=[pb.BatchExchangeTarget(audience=AS)],
    )
    assert (await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))).reason == "INVALID_REQUEST"


@pytest.mark.alone
@pytest.mark.parametrize("way", ["revoked", "disabled"])
async def test_section_4_3_3_a_session_that_has_ended_gives_none(rig: Rig, http: httpx2.AsyncClient, way: str) -> None:
    token = await session(rig)
    if way == "revoked":
        await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=token), **rig.auth("web"))
    else:
        update = profiles_pb.UpdateProfileRequest(
            profile=Profile(principal="ada", disabled=True), update_mask=FieldMask(paths=["disabled"])
        )
        await rig.profiles.UpdateProfile(update, **rig.auth("root"))
    reason = {"revoked": "REVOKED", "disabled": "PRINCIPAL_DISABLED"}[way]
    assert (await post(rig, http, token))[1]["reason"] == reason


@pytest.mark.alone
async def test_a_grant_for_another_server_ends_with_the_token_that_it_comes_from(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    token = await session(rig, API)
    ends = claims_of(token)["exp"]
    await rig.set_time(ends - 60)
    for audience, kind in ((AS, ID_JAG), (AS_B, JWT)):
        form = {"subject_token_type": ACCESS_TOKEN, "audience": audience, "requested_token_type": kind}
        status, body = await post(rig, http, token, **form)
        assert (status, body.get("expires_in")) == (200, 60), body
        assert claims_of(body["access_token"])["exp"] == ends


async def test_without_the_draft_the_type_is_refused_and_the_switch_named(serve: Serve) -> None:
    off = EXTRA.replace(DRAFTS, "").replace(ABROAD, "")
    async with serve(off) as rig, plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        await rig.create(person())
        token = await session(rig)
        form: dict[str, Any] = {"audience": API, "requested_token_type": None}
        for kind, draft in (
            (REFRESH_TOKEN, IDENTITY_ASSERTION), (ID_JAG, IDENTITY_ASSERTION), (TXN_TOKEN, TRANSACTION_TOKENS),
        ):  # fmt: skip
            status, body = await post(rig, http, token, **form, subject_token_type=kind)
            assert (status, body["error"], draft in body["error_description"]) == (400, "invalid_request", True), body
        for kind, draft in ((ID_JAG, IDENTITY_ASSERTION), (TXN_TOKEN, TRANSACTION_TOKENS)):
            asked = form | {"subject_token_type": ACCESS_TOKEN, "requested_token_type": kind}
            status, body = await post(rig, http, token, **asked)
            assert (status, body["reason"], draft in body["error_description"]) == (400, "FORMAT_DENIED", True), body
        request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=REFRESH_TOKEN, audience=API)
        told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
        assert (told.reason, IDENTITY_ASSERTION in told.message) == ("FORMAT_DENIED", True)
        for kind, draft in ((ID_JAG, IDENTITY_ASSERTION), (TXN_TOKEN, TRANSACTION_TOKENS)):
            request.subject_token, request.subject_token_type = rig.issuer.token(rig.clock.now()), kind
            told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
            assert draft in told.message, told
