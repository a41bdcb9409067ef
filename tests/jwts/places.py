"""The places that take a JWT, each with the kinds that it accepts."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
import jwt
from tests.gateway_ways import request_of
from tests.jwts.world import DOMAIN, TARGET, World

from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.model.tokens import GRANTS, ID_TOKEN, JWT_GRANT, TXN_TOKEN
from tokenmint.storage import streams
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb

Tokens = Mapping[str, str]
"""Tokens by their kind."""
Accepts = Callable[[World, str], Awaitable[bool]]
BEARER, SPIFFE = (f"urn:ietf:params:oauth:client-assertion-type:jwt-{name}" for name in ("bearer", "spiffe"))
CHECK: Final = "/envoy.service.auth.v3.Authorization/Check"


def one_by_one(accepts: Accepts) -> Callable[[World, Tokens], Awaitable[set[str]]]:
    """Return what tries each token by itself."""

    async def tried(world: World, tokens: Tokens) -> set[str]:
        return {kind for kind, token in tokens.items() if await accepts(world, token)}

    return tried


async def _succeeds(call: Awaitable[object]) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError:
        return False
    return True


def metadata(key: str, token: str) -> dict[str, object]:
    """Return the arguments of a call over gRPC with one credential."""
    return {"metadata": ((key, token),), "timeout": 20}


# --- exchanges ----------------------------------------------------------------------------------------------------


def subject(kind: str, audience: str = TARGET, **form: str) -> Accepts:
    """The token that is exchanged."""

    async def place(world: World, token: str) -> bool:
        return (await world.exchange(token, kind, audience, **form)).status_code == 200

    return place


def subject_over_grpc(kind: str) -> Accepts:
    """The same over gRPC."""

    async def place(world: World, token: str) -> bool:
        request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=kind, audience=TARGET)
        return await _succeeds(world.rig.exchange.ExchangeToken(request, **world.rig.auth("web")))

    return place


def batch(kind: str) -> Accepts:
    """The same for several audiences."""

    async def place(world: World, token: str) -> bool:
        request = pb.BatchExchangeTokensRequest(
            subject_token=token, subject_token_type=kind, targets=[pb.BatchExchangeTarget(audience=TARGET)]
        )
        try:
            answer = await world.rig.exchange.BatchExchangeTokens(request, **world.rig.auth("web"))
        except grpc.aio.AioRpcError:
            return False
        return all(result.HasField("token") for result in answer.results)

    return place


def explained(kind: str) -> Accepts:
    """The same as an operator's dry run."""

    async def place(world: World, token: str) -> bool:
        exchange = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=kind, audience=TARGET)
        request = pb.ExplainExchangeRequest(exchange=exchange, client_id="web")
        call = pb_explain(world)(request, **world.rig.auth("root"))
        try:
            return bool((await call).HasField("planned_token"))
        except grpc.aio.AioRpcError:
            return False

    return place


def pb_explain(world: World) -> Callable[..., Awaitable[pb.ExplainExchangeResponse]]:
    """Return ExplainExchange on the operators' listener."""
    return world.rig.admin.unary_unary(
        "/tokenmint.v1.TokenExchangeService/ExplainExchange",
        request_serializer=pb.ExplainExchangeRequest.SerializeToString,
        response_deserializer=pb.ExplainExchangeResponse.FromString,
    )


def actor(kind: str) -> Accepts:
    """The token of a party that acts for the subject."""

    async def place(world: World, token: str) -> bool:
        return (await world.exchange(world.work(), actor_token=token, actor_token_type=kind)).status_code == 200

    return place


def actor_over_grpc(kind: str) -> Accepts:
    """The same over gRPC."""

    async def place(world: World, token: str) -> bool:
        request = pb.ExchangeTokenRequest(
            subject_token=world.work(), audience=TARGET, actor_token=token, actor_token_type=kind
        )
        return await _succeeds(world.rig.exchange.ExchangeToken(request, **world.rig.auth("web")))

    return place


async def grant(world: World, token: str) -> bool:
    """The assertion of the grant jwt-bearer."""
    form = {"grant_type": JWT_GRANT, "assertion": token, "audience": TARGET}
    return (await world.http.post("/oauth2/token", data=world.secret() | form)).status_code == 200


def grant_for(audience: str) -> Accepts:
    """A grant for a token that is no access token, by either transport."""

    async def place(world: World, token: str) -> bool:
        form = {"grant_type": JWT_GRANT, "assertion": token, "audience": audience}
        if (await world.http.post("/oauth2/token", data=world.secret() | form)).status_code == 200:
            return True
        wanted: dict[str, Any] = {"requested_token_type": TXN_TOKEN, "scopes": ["read"]} if audience == DOMAIN else {}
        for kind in GRANTS:
            request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=kind, audience=audience, **wanted)
            if await _succeeds(world.rig.exchange.ExchangeToken(request, **world.rig.auth("web"))):
                return True
        return False

    return place


async def dpop(world: World, token: str) -> bool:
    """The header `DPoP` of the token endpoint."""
    given = world.secret() | {"subject_token": world.work(), "subject_token_type": ID_TOKEN, "audience": TARGET}
    form = given | {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}
    answer = await world.http.post("/oauth2/token", data=form, headers={"DPoP": token})
    return answer.status_code == 200 and answer.json()["token_type"] == "DPoP"


# --- clients ------------------------------------------------------------------------------------------------------


def assertion(kind: str, path: str = "token") -> Accepts:
    """The assertion of a client at an endpoint."""

    async def place(world: World, token: str) -> bool:
        client = {"client_assertion": token, "client_assertion_type": kind}
        if path == "token":
            return (await world.exchange(world.work(), **client)).status_code == 200
        return (await world.http.post(f"/oauth2/{path}", data=client | {"token": "x"})).status_code == 200

    return place


def over_grpc(key: str) -> Accepts:
    """A client's credential over gRPC."""

    async def place(world: World, token: str) -> bool:
        request = world.rig.request(world.work(), TARGET)
        return await _succeeds(world.rig.exchange.ExchangeToken(request, **metadata(key, token)))  # type: ignore[arg-type]  # as auth's

    return place


def gateways_credential(key: str) -> Accepts:
    """A gateway's credential over HTTP."""

    async def place(world: World, token: str) -> bool:
        headers = {key: token, "Authorization": f"Bearer {world.work()}"}
        return (await world.http.get("/auth", headers=headers)).status_code == 200

    return place


async def operator(world: World, token: str) -> bool:
    """An operator's credential: a secret or a certificate, never a token."""
    keys, request = world.rig.keys, keys_pb.ListSigningKeysRequest()
    for key in ("tokenmint-workload-token", "tokenmint-client-assertion", "authorization", "tokenmint-client-secret"):
        value = f"Bearer {token}" if key == "authorization" else token
        given = (("tokenmint-client-id", "root"), (key, value))
        if await _succeeds(keys.ListSigningKeys(request, metadata=given, timeout=20)):
            return True
    return False


# --- gateways -----------------------------------------------------------------------------------------------------


async def envoys_check(world: World, token: str) -> bool:
    """The token of a request at Envoy."""
    call = world.rig.data.unary_unary(
        CHECK,
        request_serializer=envoy.CheckRequest.SerializeToString,
        response_deserializer=envoy.CheckResponse.FromString,
    )
    told = await call(request_of({"authorization": f"Bearer {token}"}), **world.rig.auth("web"))
    return bool(told.HasField("allowed"))


async def auth(world: World, token: str) -> bool:
    """The token of a request at another gateway."""
    secret = world.rig.secrets["web"].reveal()
    headers = {"tokenmint-client-id": "web", "tokenmint-client-secret": secret, "Authorization": f"Bearer {token}"}
    return (await world.http.get("/auth", headers=headers)).status_code == 200


async def edge(world: World, token: str) -> bool:
    """The same before a sidecar."""
    return (await world.edge.get("/auth", headers={"Authorization": f"Bearer {token}"})).status_code == 200


# --- issued tokens that come back ---------------------------------------------------------------------------------


async def introspection(world: World, token: str) -> bool:
    """The token that a client asks about."""
    answer = await world.http.post("/oauth2/introspect", data=world.secret() | {"token": token})
    return bool(answer.json()["active"])


async def introspection_over_grpc(world: World, token: str) -> bool:
    """The same over gRPC."""
    request = pb.IntrospectTokenRequest(token=token)
    return bool((await world.rig.exchange.IntrospectToken(request, **world.rig.auth("web"))).active)


async def _revocations(world: World) -> int:
    page = await world.rig.parts.revoking.log.after(streams.BEGINNING, 1 << 20)
    return len(page.entries)


async def revocation(world: World, token: str) -> bool:
    """The token that a client revokes: whether that revokes anything."""
    before = await _revocations(world)
    await world.http.post("/oauth2/revoke", data=world.secret() | {"token": token})
    return await _revocations(world) > before


async def revocation_over_grpc(world: World, token: str) -> bool:
    """The same over gRPC."""
    before = await _revocations(world)
    await _succeeds(world.rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=token), **world.rig.auth("web")))
    return await _revocations(world) > before


# --- signals ------------------------------------------------------------------------------------------------------


def signal(media_type: str, body: str = "{}") -> Accepts:
    """A provider's token about events."""

    async def place(world: World, token: str) -> bool:
        headers = {"Content-Type": media_type}
        answer = await world.http.post("/signals/work", content=body.format(token), headers=headers)
        return answer.status_code < 300

    return place


async def poll(world: World, tokens: Tokens) -> set[str]:
    """The tokens in a transmitter's answer to a poll. Each is named by its `jti`, if it has one."""
    names = {kind: _id_of(token, kind) for kind, token in tokens.items()}
    world.sender.errors.clear()
    world.sender.pending = {names[kind]: token for kind, token in tokens.items()}
    await world.rig.until(lambda: not world.sender.pending)
    return {kind for kind, name in names.items() if name not in world.sender.errors}


def _id_of(token: str, kind: str) -> str:
    found = jwt.decode(token, options={"verify_signature": False}).get("jti")
    return found if isinstance(found, str) else kind
