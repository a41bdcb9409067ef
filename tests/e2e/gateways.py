"""A service behind a gateway, for the tests of its checks (envoy.service.auth.v3)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from tests.e2e.sharing import Start
from tests.rig import Rig, Serve

from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.model.secret import Secret
from tokenmint.v1 import token_exchange_service_pb2 as pb

ACCESS = "urn:ietf:params:oauth:token-type:access_token"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
ORDERS, SESSION, BOUND, ONCE = (f"https://{name}.example" for name in ("orders-behind", "session", "bound", "once"))
COOKIE = "__Host-session"
IAP, FORWARDED = "x-goog-iap-jwt-assertion", "x-forwarded-authorization"
EXTRA = """
[envoy]
enabled = true
audience = "https://orders-behind.example"
cookie = "__Host-session"
headers = ["x-goog-iap-jwt-assertion", "x-forwarded-authorization"]
[envoy.hosts]
"bound.example" = "https://bound.example"
"192.0.2.7" = "https://bound.example"
"2001:db8::7" = "https://bound.example"

[audiences."https://session.example"]
clients = ["web"]
providers = ["idp"]
scopes = ["read", "write"]
on_missing_profile = "without"
lifetime = "1h"
[audiences."https://session.example".reference]
idle = "10m"

[providers.access]
issuer = "https://access.example"
audiences = ["app"]
token_types = ["access_token"]
jwks_file = "access.jwks"

[audiences."https://orders-behind.example"]
clients = ["gateway"]
providers = ["idp", "access"]
reexchange_from = ["https://session.example", "https://bound.example"]
scopes = ["read", "write"]
on_missing_profile = "without"

[audiences."https://bound.example"]
clients = ["gateway", "web"]
providers = ["idp"]
bound = "dpop"
on_missing_profile = "without"

[audiences."https://once.example"]
clients = ["gateway"]
providers = ["idp"]
single_use = true
on_missing_profile = "without"

[clients.gateway]
secrets = ["sha256:{gateway}"]
serves = ["https://session.example", "https://bound.example"]
"""


def behind_a_gateway(transport: str) -> Start:
    """Return what starts it."""

    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        (serve.directory / "access.jwks").write_bytes(serve.issuer.jwks())
        extra = EXTRA.format(gateway=Secret("tms_gateway").fingerprint())
        async with serve(extra, transport=transport) as service:
            service.secrets["gateway"] = Secret("tms_gateway")
            yield service

    return started


async def check(
    rig: Rig, headers: dict[str, str], client: str = "gateway", host: str = "shop.example", **extensions: str
) -> envoy.CheckResponse:
    request = envoy.CheckRequest()
    request.attributes.request.http.host = host
    request.attributes.request.http.headers.update(headers)
    request.attributes.context_extensions.update({f"tokenmint.{name}": value for name, value in extensions.items()})
    call = rig.data.unary_unary(
        "/envoy.service.auth.v3.Authorization/Check",
        request_serializer=envoy.CheckRequest.SerializeToString,
        response_deserializer=envoy.CheckResponse.FromString,
    )
    answer: envoy.CheckResponse = await call(request, **rig.auth(client))
    assert answer.HasField("allowed") == (answer.status.code == 0)
    return answer


def theirs(rig: Rig, **claims: Any) -> str:
    return rig.issuer.token(rig.clock.now(), **claims)


async def mint(rig: Rig, audience: str, **fields: Any) -> str:
    request = pb.ExchangeTokenRequest(subject_token=theirs(rig), audience=audience, **fields)
    return (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token


def set_upstream(answer: envoy.CheckResponse) -> dict[str, str]:
    """The headers that the gateway sets, each in place of the one that the caller sent."""
    assert answer.HasField("allowed"), answer
    assert all(option.HasField("append") and not option.append.value for option in answer.allowed.headers)
    return {option.header.key: option.header.value for option in answer.allowed.headers}


def told(answer: envoy.CheckResponse) -> tuple[int, str]:
    assert answer.HasField("denied"), answer
    return answer.denied.status.code, json.loads(answer.denied.body)["reason"]


def challenge(answer: envoy.CheckResponse) -> str:
    found = [option.header.value for option in answer.denied.headers if option.header.key == "www-authenticate"]
    assert len(found) <= 1
    return found[0] if found else ""


def ours(headers: dict[str, str]) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        headers["authorization"].removeprefix("Bearer "), options={"verify_signature": False}
    )
    return claims
