"""A service with a trust domain, and requests for its transaction tokens, over both transports."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

import grpc
import httpx2
import jwt
from tests.e2e.sharing import Start
from tests.issuer import Issuer, rsa_key
from tests.rig import Rig, Serve, person, refusal

from tokenmint.model.drafts import TRANSACTION_TOKENS
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, TXN_TOKEN
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile

ISSUER, API, DOMAIN, OTHER = (
    "https://tokens.example",
    "https://mcp.example",
    "trust-domain.example",
    "other-domain.example",
)
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
WORK = Issuer(url="https://work.example", key=rsa_key(3))
AGENTS = Issuer(url="https://agents.example", key=rsa_key(4))
PAY = Secret("tms_pay")
"""The secret of `pay`, a workload of the trust domain, which receives its tokens; `web` is the gateway."""
NUMBERS = count()
OPTIONS = f'[oauth]\nenabled = true\ndrafts = ["{TRANSACTION_TOKENS}"]\n'
TRANSACTIONS = f"""
[audiences."{DOMAIN}"]
clients = ["web", "pay"]
providers = ["work"]
scopes = ["trade.stocks", "trade.bonds", "read"]
reexchange_from = ["{API}", "{DOMAIN}"]
[audiences."{DOMAIN}".actors]
[audiences."{DOMAIN}".txn_token.tctx]
action = "request.details.action"
quantity = "=request.details.quantity * 2"
level = "profile.claims.level"
[audiences."{DOMAIN}".txn_token.rctx]
req_ip = "request.context.req_ip"
via = "client.id"
deep = "assertion.deep"
[audiences."{DOMAIN}".claims]
email = "assertion.email"

[audiences."{OTHER}"]
clients = ["web"]
providers = ["idp"]
scopes = ["read"]
on_missing_profile = "without"
[audiences."{OTHER}".txn_token]
subject_scopes = "=assertion.email == 'ada@example.com' ? ['read'] : []"
"""
EXTRA = f"""
{OPTIONS}
[providers.work]
issuer = "{WORK.url}"
audiences = ["{API}"]
token_types = ["access_token", "id_token"]
jwks = '''{WORK.jwks().decode()}'''

[providers.agents]
issuer = "{AGENTS.url}"
audiences = ["{ISSUER}"]
jwks = '''{AGENTS.jwks().decode()}'''

[audiences."{API}"]
clients = ["web", "batch"]
providers = ["work"]
scopes = ["trade.stocks", "read"]
[audiences."{API}".actors]
providers = ["agents"]
without_may_act = true
{TRANSACTIONS}
[clients.spa]
public = true
[clients.pay]
secrets = ["sha256:{PAY.fingerprint()}"]
serves = ["{DOMAIN}"]
"""


def starting() -> Start:
    """Start it with Ada, whose level is 7, and an agent."""

    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA) as rig:
            rig.secrets["pay"] = PAY
            agent = person("agent", "unused")
            agent.identities.append(Identity(provider="agents", subject="a1"))
            await rig.create(ada(), agent)
            yield rig

    return started


def ada() -> Profile:
    """Ada's profile."""
    profile = person("ada", "1842", level=7)
    profile.identities.append(Identity(provider="work", subject="w1"))
    return profile


def access_token(rig: Rig, **changes: Any) -> str:
    """A provider's access token of Ada, with two scopes."""
    claims = {"sub": "w1", "aud": API, "scope": "trade.stocks read", "email": None, "jti": f"j{next(NUMBERS)}"}
    return WORK.token(rig.clock.now(), headers={"typ": changes.pop("typ", "at+jwt")}, **(claims | changes))


async def post(rig: Rig, http: httpx2.AsyncClient, client: str = "web", **form: Any) -> tuple[int, Mapping[str, Any]]:
    """Post to the token endpoint; members without a value are left out."""
    auth = {"client_id": client} | ({} if client == "spa" else {"client_secret": rig.secrets[client].reveal()})
    answer = await http.post("/oauth2/token", data=auth | {name: value for name, value in form.items() if value})
    return answer.status_code, answer.json()


def form(rig: Rig, **changes: Any) -> dict[str, Any]:
    """The request of section 11.1, with changes; None leaves a parameter out."""
    return {
        "grant_type": EXCHANGE,
        "requested_token_type": TXN_TOKEN,
        "audience": DOMAIN,
        "scope": "trade.stocks",
        "subject_token": access_token(rig) if "subject_token" not in changes else "",
        "subject_token_type": ACCESS_TOKEN,
        "request_context": json.dumps({"req_ip": "69.151.72.123", "authn": "face"}),
        "request_details": json.dumps({"action": "BUY", "ticker": "MSFT", "quantity": 100}),
    } | changes


async def minted(rig: Rig, http: httpx2.AsyncClient, client: str = "web", **changes: Any) -> str:
    """A transaction token."""
    status, body = await post(rig, http, client, **form(rig, **changes))
    assert status == 200, body
    token: str = body["access_token"]
    return token


def replacing(rig: Rig, token: str, **changes: Any) -> dict[str, Any]:
    """A request for a replacement of a transaction token."""
    plain = {"request_context": None, "request_details": None}
    return form(rig, subject_token=token, subject_token_type=TXN_TOKEN) | plain | changes


async def over_grpc(rig: Rig, client: str = "web", **changes: Any) -> pb.ExchangeTokenResponse:
    """The same request over gRPC."""
    given = form(rig, **changes)
    request = pb.ExchangeTokenRequest(
        subject_token=given["subject_token"],
        subject_token_type=given["subject_token_type"],
        audience=given["audience"] or "",
        scopes=(given["scope"] or "").split(),
        requested_token_type=given["requested_token_type"] or "",
        resources=[given["resource"]] if given.get("resource") else [],
        request_context=given["request_context"] or "",
        request_details=given["request_details"] or "",
        actor_token=given.get("actor_token", ""),
        actor_token_type=given.get("actor_token_type", ""),
    )
    return await rig.exchange.ExchangeToken(request, **rig.auth(client))


async def reason_over_grpc(rig: Rig, client: str = "web", **changes: Any) -> str:
    """The reason of a refusal over gRPC."""
    told = await refusal(over_grpc(rig, client, **changes))
    return told.reason or ("INVALID_REQUEST" if told.code is grpc.StatusCode.INVALID_ARGUMENT else "")


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims
