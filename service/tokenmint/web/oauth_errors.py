"""The table from errors to OAuth responses (RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 9449 section 5)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from starlette.responses import JSONResponse, Response

from tokenmint.admission.gate import INTERNAL_MESSAGE
from tokenmint.base import errors, token_errors

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}
CHALLENGE: Final = 'Basic realm="tokenmint", charset="UTF-8"'
CLIENT_MESSAGE: Final = "the client is not authenticated"


@dataclass(frozen=True, slots=True)
class Row:
    """The OAuth response to a class of errors."""

    code: str
    status: int = 400


CODES: Final[Mapping[type[errors.TokenmintError], Row]] = MappingProxyType(
    {
        errors.InvalidRequest: Row("invalid_request"),
        errors.MalformedCall: Row("invalid_request"),
        errors.TooManyHealthStreams: Row("invalid_request"),  # never over HTTP
        errors.UnsupportedGrantType: Row("unsupported_grant_type"),
        # RFC 8693 section 2.2.2: a subject or actor token that is invalid, or unacceptable based on policy.
        token_errors.TokenRejected: Row("invalid_request"),
        errors.ProofRejected: Row("invalid_dpop_proof"),
        errors.CallerUnauthenticated: Row("invalid_client", 401),
        errors.AccessDenied: Row("invalid_request"),
        errors.MethodDenied: Row("unauthorized_client"),
        errors.TokenDenied: Row("unauthorized_client"),  # RFC 7009 section 2.1: token of another client
        errors.AudienceDenied: Row("invalid_target"),
        errors.ReexchangeDenied: Row("invalid_target"),
        errors.ClaimsTooLarge: Row("invalid_target"),
        errors.ScopeDenied: Row("invalid_scope"),
        errors.GrantScopesDenied: Row("invalid_grant"),
        errors.NotFound: Row("invalid_request"),
        errors.AlreadyExists: Row("invalid_request"),
        errors.WrongState: Row("invalid_request"),
        errors.Conflict: Row("temporarily_unavailable", 503),
        errors.RateLimited: Row("temporarily_unavailable", 429),
        errors.Overloaded: Row("temporarily_unavailable", 503),
        errors.DeadlinePassed: Row("temporarily_unavailable", 503),
        errors.DependencyUnavailable: Row("temporarily_unavailable", 503),
        errors.KeySetInvalid: Row("server_error", 502),  # RFC 9110 section 15.6.3
        errors.StoreWentBack: Row("temporarily_unavailable", 503),  # without Retry-After
        errors.CorruptRecord: Row("server_error", 500),
        errors.ConfigurationError: Row("server_error", 500),
    }
)
"""Each class also stands for its subclasses."""
_SERVER_ERROR: Final = Row("server_error", 500)


_INVALID_GRANT: Final = Row("invalid_grant")
"""A refused assertion of the grant jwt-bearer (RFC 7523 section 3.1)."""


def row_of(error: BaseException, *, by_grant: bool = False) -> Row:
    """Return the row of an error; an error outside the table is a server error.

    ``by_grant``: whether the request's token was its grant. A refusal of the token is then one of the grant.
    """
    row = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), _SERVER_ERROR)
    if not by_grant:
        return row
    denied = isinstance(error, errors.AccessDenied) and row.code in ("invalid_request", "unauthorized_client")
    refused = isinstance(error, token_errors.TokenRejected) or (denied and not isinstance(error, errors.MethodDenied))
    return _INVALID_GRANT if refused else row


def answer(error: BaseException, *, by_grant: bool = False) -> Response:
    """Return the response to an error. An internal error reveals nothing about itself. ``by_grant`` as there."""
    row = row_of(error, by_grant=by_grant)
    body = {"error": row.code, "error_description": INTERNAL_MESSAGE, "reason": errors.TokenmintError.reason}
    headers = dict(NO_STORE)
    if isinstance(error, errors.TokenmintError):
        body["reason"] = error.reason
        if row.status != 500:
            body["error_description"] = describe(error)
    if row.status == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, errors.RateLimited | errors.Overloaded | errors.DeadlinePassed | errors.DependencyUnavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return JSONResponse(body, row.status, headers)


def describe(error: errors.TokenmintError) -> str:
    """Return an error's message, limited to the characters that RFC 6749 section 5.2 allows."""
    message = CLIENT_MESSAGE if isinstance(error, errors.CallerUnauthenticated) else error.message
    plain = message.replace('"', "'").replace("\\", "/").replace("\u2026", "...")
    return "".join(char if " " <= char <= "~" else "?" for char in plain)
