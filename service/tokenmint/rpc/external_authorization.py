"""Envoy's external authorization: a gateway exchanges the token of a request for an issued one.

Envoy is a client like any other. It authenticates by the metadata of its `grpc_service` (`initial_metadata`), or by its
certificate, and gets tokens for the audiences that list it. The audience of a request is set by the gateway's route
configuration (`context_extensions`), or here by the host.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue
from google.rpc import status_pb2

from tokenmint.admission.gate import annotate_audit
from tokenmint.base.errors import DependencyUnavailable, KeySetInvalid, Overloaded, StoreWentBack, TokenmintError
from tokenmint.base.trace_context import TRACEPARENT, TRACESTATE, context_in
from tokenmint.envoy.v3 import external_authorization_pb2 as pb
from tokenmint.gateway.decision import NO_STORE, NO_TOKEN, GatewayChecks, Pass, Refusal, Route, refusal_of
from tokenmint.gateway.request import NoToken
from tokenmint.rpc.interceptors import Context
from tokenmint.rpc.status import code_of

SERVICE: Final = "envoy.service.auth.v3.Authorization"
METHOD: Final = f"/{SERVICE}/Check"
AUDIENCE: Final = "tokenmint.audience"
SCOPE: Final = "tokenmint.scope"
TOKEN_TYPE: Final = "tokenmint.subject_token_type"  # noqa: S105  # the name of an extension


class ExternalAuthorization:
    """Authorizes requests that arrive at a gateway."""

    def __init__(self, checks: GatewayChecks) -> None:
        self._checks = checks

    def register(self, server: Any) -> None:
        """Register the service at a server."""
        check = grpc.unary_unary_rpc_method_handler(
            self.Check,
            request_deserializer=pb.CheckRequest.FromString,
            response_serializer=pb.CheckResponse.SerializeToString,
        )
        server.add_registered_method_handlers(SERVICE, {"Check": check})

    async def Check(self, request: pb.CheckRequest, context: Context) -> pb.CheckResponse:  # noqa: ARG002, N802  # gRPC
        """Exchange the token, or return the refusal as an HTTP response."""
        http = request.attributes.request.http
        headers = [(name, http.headers[name]) for name in (TRACEPARENT, TRACESTATE) if name in http.headers]
        self._checks.exchanges.gate.continue_trace(context_in(headers))
        try:
            passed = await self._checks.check(http.headers, http.host, route_of(request.attributes.context_extensions))
        except NoToken:
            annotate_audit(outcome="refused", reason=NO_TOKEN.reason)
            return _denied(NO_TOKEN)
        return _allowed(passed, self._checks.gateway.headers)


def route_of(extensions: Mapping[str, str]) -> Route:
    """Return the gateway's settings of a route."""
    scopes = tuple(dict.fromkeys(extensions.get(SCOPE, "").split()))
    return Route(extensions.get(AUDIENCE, ""), scopes, extensions.get(TOKEN_TYPE, ""))


def _allowed(passed: Pass, removed: tuple[str, ...]) -> pb.CheckResponse:
    allowed = pb.Allowed(headers=[_header("authorization", passed.authorization)])
    allowed.headers_to_remove.extend(removed)
    if passed.cookies:
        allowed.headers.append(_header("cookie", passed.cookies))
    elif passed.cookies is not None:
        allowed.headers_to_remove.append("cookie")
    return pb.CheckResponse(status=status_pb2.Status(), allowed=allowed, dynamic_metadata=_metadata(passed))


def _metadata(passed: Pass) -> Struct:
    """Return the facts of an answer for the gateway's other filters, its access log, and caches."""
    metadata, minted = Struct(), passed.minted
    metadata.update(
        {
            "cache_control": passed.cache_control,
            "cache_seconds": passed.keep,
            "principal": minted.subject,
            "scope": " ".join(minted.scopes),
            "token_id": minted.token_id,
            "expires_at": minted.expires_at,
        }
    )
    return metadata


def _refused(error: TokenmintError) -> bytes | None:
    refusal = refusal_of(error)
    if refusal is None:
        return None
    denied = _denied(refusal)
    if isinstance(error, Overloaded | DependencyUnavailable | StoreWentBack | KeySetInvalid) or refusal.retry_after:
        denied.status.code = code_of(error).value[0]
    return denied.SerializeToString()


REFUSALS: Final[Mapping[str, Callable[[TokenmintError], bytes | None]]] = MappingProxyType({METHOD: _refused})
"""Responses to a gateway whose call is refused, before or after it starts, by method."""


def _denied(refusal: Refusal) -> pb.CheckResponse:
    headers = [_header("content-type", "application/json"), _header("cache-control", NO_STORE)]
    if refusal.challenge:
        headers.append(_header("www-authenticate", refusal.challenge))
    if refusal.retry_after:
        headers.append(_header("retry-after", str(refusal.retry_after)))
    code = grpc.StatusCode.UNAUTHENTICATED if refusal.status == 401 else grpc.StatusCode.PERMISSION_DENIED
    return pb.CheckResponse(
        status=status_pb2.Status(code=code.value[0], message=refusal.message),
        denied=pb.Denied(status=pb.HttpStatus(code=refusal.status), headers=headers, body=refusal.body),
    )


def _header(key: str, value: str) -> pb.HeaderOption:
    return pb.HeaderOption(header=pb.Header(key=key, value=value), append=BoolValue(value=False))
