"""Envoy's external authorization: a gateway exchanges the token of a request for an issued one.

Envoy is a client like any other. It authenticates by the metadata of its `grpc_service` (`initial_metadata`), or by its
certificate, and gets tokens for the audiences that list it. The audience of a request is set by the gateway's route
configuration (`context_extensions`), or here by the host.
"""

import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.wrappers_pb2 import BoolValue
from google.rpc import status_pb2

from tokenmint.admission.gate import ClientExchanges, annotate_audit, current_client
from tokenmint.admission.validation import SUBJECT_TOKEN_TYPES, Violations
from tokenmint.base.errors import (
    AccessDenied,
    DependencyUnavailable,
    FormatDenied,
    InvalidRequest,
    KeySetInvalid,
    Overloaded,
    RateLimited,
    ScopeDenied,
    StoreWentBack,
    TokenmintError,
)
from tokenmint.base.token_errors import TokenRejected
from tokenmint.base.trace_context import TRACEPARENT, TRACESTATE, context_in
from tokenmint.envoy.v3 import external_authorization_pb2 as pb
from tokenmint.model.policy import ExchangeRequest
from tokenmint.model.secret import Secret
from tokenmint.rpc.gateway_request import Gateway, NoToken, audience_of, find_token, token_type_of
from tokenmint.rpc.interceptors import Context
from tokenmint.rpc.status import code_of

SERVICE: Final = "envoy.service.auth.v3.Authorization"
METHOD: Final = f"/{SERVICE}/Check"
AUDIENCE: Final = "tokenmint.audience"
SCOPE: Final = "tokenmint.scope"
TOKEN_TYPE: Final = "tokenmint.subject_token_type"  # noqa: S105  # the name of an extension
_JUDGED: Final = (
    AccessDenied, TokenRejected, DependencyUnavailable, InvalidRequest, KeySetInvalid, Overloaded, RateLimited,
    StoreWentBack,
)  # fmt: skip
"""Errors that are answered to the gateway's client, in HTTP; errors of the gateway itself are answered to it."""
_REALM: Final = 'Bearer realm="tokenmint"'


class ExternalAuthorization:
    """Authorizes requests that arrive at a gateway."""

    def __init__(self, exchanges: ClientExchanges, gateway: Gateway) -> None:
        self._exchanges = exchanges
        self._gateway = gateway

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
        self._exchanges.gate.continue_trace(context_in(headers))
        try:
            found = find_token(self._gateway, http.headers)
            extensions = request.attributes.context_extensions
            minted = await self._exchanges.one(
                self._exchange_request(found.token, http.host, extensions), current_client()
            )
            if minted.token_type != "Bearer":  # noqa: S105  # RFC 6750
                raise FormatDenied("tokens for this audience are not presented as Bearer")
        except NoToken:
            annotate_audit(outcome="refused", reason="NO_TOKEN")
            return _denied(401, _REALM, "NO_TOKEN", "the request has no bearer token")
        allowed = pb.Allowed(headers=[_header("authorization", f"Bearer {minted.token.reveal()}")])
        allowed.headers_to_remove.extend(self._gateway.headers)
        if found.cookies is not None:
            if found.cookies:
                allowed.headers.append(_header("cookie", found.cookies))
            else:
                allowed.headers_to_remove.append("cookie")
        return pb.CheckResponse(status=status_pb2.Status(), allowed=allowed)

    def _exchange_request(self, token: str, host: str, extensions: Mapping[str, str]) -> ExchangeRequest:
        audience = extensions.get(AUDIENCE) or audience_of(self._gateway, host)
        violations = Violations()
        violations.token("subject_token", len(token.encode()))
        violations.raise_any()
        token_type = extensions.get(TOKEN_TYPE) or token_type_of(token)
        scopes = tuple(dict.fromkeys(extensions.get(SCOPE, "").split()))
        violations.check(
            TOKEN_TYPE, f"one of {', '.join(SUBJECT_TOKEN_TYPES)}", holds=token_type in SUBJECT_TOKEN_TYPES
        )
        violations.scopes(SCOPE, scopes)
        violations.raise_any()
        return ExchangeRequest(Secret(token), audience, token_type, scopes)


def _refusal(error: TokenmintError) -> pb.CheckResponse:
    """Return the response for a refusal, with the challenge of RFC 6750 section 3."""
    if isinstance(error, RateLimited | Overloaded | DependencyUnavailable):
        status = 429 if isinstance(error, RateLimited) else 503
        denied = _denied(status, "", error.reason, error.message)
        denied.denied.headers.append(_header("retry-after", str(max(1, math.ceil(error.retry_after)))))
        denied.status.code = code_of(error).value[0]
        return denied
    if isinstance(error, StoreWentBack):
        denied = _denied(503, "", error.reason, error.message)
        denied.status.code = code_of(error).value[0]
        return denied
    if isinstance(error, KeySetInvalid):
        denied = _denied(502, "", error.reason, error.message)
        denied.status.code = code_of(error).value[0]
        return denied
    if isinstance(error, AccessDenied):
        challenge = f'{_REALM}, error="insufficient_scope"' if isinstance(error, ScopeDenied) else ""
        return _denied(403, challenge, error.reason, error.message)
    if isinstance(error, TokenRejected):
        description = error.message.replace('"', "'").replace("\\", "/")
        description = "".join(char if " " <= char <= "~" else "?" for char in description)
        challenge = f'{_REALM}, error="invalid_token", error_description="{description}"'
        return _denied(401, challenge, error.reason, error.message)
    return _denied(401, f'{_REALM}, error="invalid_request"', error.reason, error.message)


def _refused(error: TokenmintError) -> bytes | None:
    return _refusal(error).SerializeToString() if isinstance(error, _JUDGED) else None


REFUSALS: Final[Mapping[str, Callable[[TokenmintError], bytes | None]]] = MappingProxyType({METHOD: _refused})
"""Responses to a gateway whose call is refused, before or after it starts, by method."""


def _denied(status: int, challenge: str, reason: str, message: str) -> pb.CheckResponse:
    headers = [_header("content-type", "application/json"), _header("cache-control", "no-store")]
    if challenge:
        headers.append(_header("www-authenticate", challenge))
    body = json.dumps({"reason": reason, "message": message})
    code = grpc.StatusCode.UNAUTHENTICATED if status == 401 else grpc.StatusCode.PERMISSION_DENIED
    return pb.CheckResponse(
        status=status_pb2.Status(code=code.value[0], message=message),
        denied=pb.Denied(status=pb.HttpStatus(code=status), headers=headers, body=body),
    )


def _header(key: str, value: str) -> pb.HeaderOption:
    return pb.HeaderOption(header=pb.Header(key=key, value=value), append=BoolValue(value=False))
