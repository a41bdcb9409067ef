"""Plain grants in the places where a token authenticates a client or passes a gateway (RFC 8725 section 3.11)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import grpc
import pytest
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, rsa_key
from tests.rig import Rig, Serve, refusal

from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.model.drafts import IDENTITY_ASSERTION, IDENTITY_CHAINING
from tokenmint.model.tokens import ID_JAG, ID_TOKEN, JWT, JWT_GRANT, JWT_GRANT_TYP
from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, API = "https://tokens.example", "https://api.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
A, POD = Issuer(url="https://as.a.example", key=rsa_key(3)), Issuer(url="https://pod.example", key=rsa_key(4))
NUMBERS = count()
EXTRA = f"""
[oauth]
enabled = true
drafts = ["{IDENTITY_ASSERTION}", "{IDENTITY_CHAINING}"]

[envoy]
enabled = true
audience = "{API}"

[providers.a]
issuer = "{A.url}"
audiences = ["{ISSUER}"]
token_types = ["jwt_grant", "id_jag"]
jwks = '''{A.jwks().decode()}'''

[providers.pod]
issuer = "{POD.url}"
audiences = ["{ISSUER}"]
jwks = '''{POD.jwks().decode()}'''

[audiences."{API}"]
clients = ["web", "robot"]
providers = ["a", "pod", "idp"]
on_missing_profile = "without"
[audiences."{API}".actors]
providers = ["a", "pod"]
without_may_act = true

[clients.robot]
workloads = [{{ provider = "a", subject = "w1" }}, {{ provider = "pod", subject = "w1" }}]
"""


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA, transport=transport) as service:
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


def signed(rig: Rig, issuer: Issuer, typ: str | None = "JWT") -> str:
    claims: dict[str, Any] = {"sub": "w1", "aud": ISSUER, "jti": f"j{next(NUMBERS)}", "email": None}
    return issuer.token(rig.clock.now(), headers={"typ": typ}, **claims)


async def as_client(rig: Rig, token: str) -> bool:
    form = {
        "grant_type": EXCHANGE, "subject_token": rig.issuer.token(rig.clock.now()), "subject_token_type": ID_TOKEN,
        "audience": API, "client_assertion_type": ASSERTION, "client_assertion": token,
    }  # fmt: skip
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        return (await http.post("/oauth2/token", data=form)).status_code == 200


async def as_workload(rig: Rig, token: str) -> bool:
    request = rig.request(audience=API)
    try:
        await rig.exchange.ExchangeToken(request, metadata=(("tokenmint-workload-token", token),), timeout=20)
    except grpc.aio.AioRpcError:
        return False
    return True


async def at_gateway(rig: Rig, token: str) -> bool:
    request = envoy.CheckRequest()
    request.attributes.request.http.host = "api.example"
    request.attributes.request.http.headers["authorization"] = f"Bearer {token}"
    call = rig.data.unary_unary(
        "/envoy.service.auth.v3.Authorization/Check",
        request_serializer=envoy.CheckRequest.SerializeToString,
        response_deserializer=envoy.CheckResponse.FromString,
    )
    return bool((await call(request, **rig.auth("web"))).HasField("allowed"))


async def as_actor(rig: Rig, token: str) -> bool:
    request = rig.request(audience=API, actor_token=token, actor_token_type=JWT)
    try:
        await rig.exchange.ExchangeToken(request, **rig.auth("web"))
    except grpc.aio.AioRpcError:
        return False
    return True


@pytest.mark.parametrize("place", [as_client, as_workload, at_gateway, as_actor])
async def test_rfc_8725_section_3_11_a_grant_authenticates_nobody(rig: Rig, place: Any) -> None:
    """Everything but its kind would be right: another provider's token with the same claims is accepted."""
    for typ in ("JWT", None, JWT_GRANT_TYP):
        assert not await place(rig, signed(rig, A, typ)), typ
    assert await place(rig, signed(rig, POD))


async def test_rfc_8725_section_3_11_only_the_grants_of_a_provider_are_grants(rig: Rig) -> None:
    for kind in (JWT_GRANT, ID_JAG):
        request = pb.ExchangeTokenRequest(subject_token=signed(rig, POD), subject_token_type=kind, audience=API)
        told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
        assert told.reason == "UNSUPPORTED_TOKEN_TYPE"
    request = pb.ExchangeTokenRequest(subject_token=signed(rig, A), subject_token_type=JWT_GRANT, audience=API)
    assert (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token
