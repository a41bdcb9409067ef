"""Envoy's external authorization: a gateway exchanges the token of a request for an issued one.

Envoy is a client like any other. It authenticates by the metadata of its `grpc_service` (`initial_metadata`), or by its
certificate, and gets tokens for the audiences that list it. The audience of a request is set by the gateway's route
configuration (`context_extensions`), or here by the host.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    AudienceDenied,
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
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import TokenRejected
from tokenmint.envoy.v3 import external_authorization_pb2 as pb
from tokenmint.model.policy import ExchangeRequest
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN
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


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway's configuration."""

    audience: str | None = None
    """The audience for hosts that are not listed."""
    hosts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Audiences by host, in lower case, without port."""
    cookie: str | None = None
    """The cookie with a browser's token, used if there is no `Authorization` header."""


class _NoToken(Exception):
    """The request has no token: RFC 6750 section 3.1 requires a challenge without an error code."""


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
        try:
            token, cookies = self._token(http.headers)
            extensions = request.attributes.context_extensions
            minted = await self._exchanges.one(self._exchange_request(token, http.host, extensions), current_client())
            if minted.token_type != "Bearer":  # noqa: S105  # RFC 6750
                raise FormatDenied("tokens for this audience are not presented as Bearer")
        except _NoToken:
            annotate_audit(outcome="refused", reason="NO_TOKEN")
            return _denied(401, _REALM, "NO_TOKEN", "the request has no bearer token")
        allowed = pb.Allowed(headers=[_header("authorization", f"Bearer {minted.token.reveal()}")])
        if cookies is not None:
            if cookies:
                allowed.headers.append(_header("cookie", cookies))
            else:
                allowed.headers_to_remove.append("cookie")
        return pb.CheckResponse(status=status_pb2.Status(), allowed=allowed)

    def _token(self, sent: Mapping[str, str]) -> tuple[str, str | None]:
        """Return the token, and the other cookies if the configured cookie is present; otherwise None, to change
        nothing.

        The cookie is also removed if the token is in the header, so that a session stays at the edge.
        """
        headers = {name.lower(): value for name, value in sent.items()}
        if len(headers) != len(sent):
            raise _NoToken  # the same header in two spellings is ambiguous
        name = self._gateway.cookie
        pairs = [pair.strip() for pair in headers.get("cookie", "").split(";")] if name is not None else []
        sessions = [pair.partition("=")[2] for pair in pairs if pair.partition("=")[0] == name]
        left = "; ".join(pair for pair in pairs if pair and pair.partition("=")[0] != name) if sessions else None
        if "authorization" in headers:
            scheme, _, token = headers["authorization"].partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise _NoToken
            return token.strip(), left
        if len(sessions) != 1 or not sessions[0]:  # with two of one name, one may come from a sibling domain
            raise _NoToken
        return sessions[0], left

    def _exchange_request(self, token: str, host: str, extensions: Mapping[str, str]) -> ExchangeRequest:
        name = host.lower() if host.endswith("]") else host.lower().partition(":")[0]
        audience = extensions.get(AUDIENCE) or self._gateway.hosts.get(name) or self._gateway.audience
        if not audience:
            raise AudienceDenied("no audience is configured for this host", detail=f"host {quoted(name, LONG)}")
        # A token without dots is a reference token, which is exchanged as an access token.
        token_type = extensions.get(TOKEN_TYPE) or (ID_TOKEN if "." in token else ACCESS_TOKEN)
        scopes = tuple(dict.fromkeys(extensions.get(SCOPE, "").split()))
        violations = Violations()
        violations.token("subject_token", len(token.encode()))
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
