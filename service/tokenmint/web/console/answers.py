"""The answers of the console's routes: bounded JSON, and errors as their reason and message."""

import math
from typing import Final

import orjson
from starlette.responses import Response

from tokenmint.admission.gate import INTERNAL_MESSAGE
from tokenmint.base import errors
from tokenmint.web.oauth_errors import row_of

MOST: Final = 1024 * 1024
"""Bytes of an answer. The documents bound their parts, so none reaches this."""
CHALLENGE: Final = 'Tokenmint realm="operators"'
"""No scheme that browsers know: one of those would open a dialog, and the browser would keep the secret."""
LOGIN_MESSAGE: Final = "the operator is not authenticated: the name or the secret is wrong"


def json_answer(document: object) -> Response:
    """Return an answer with a document. Raises ``ValueError`` for one that is too large."""
    body = orjson.dumps(document)
    if len(body) > MOST:
        raise ValueError("an answer is too large")
    return Response(body, media_type="application/json")


def status_of(error: BaseException) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, errors.MethodDenied):
        return 403
    if isinstance(error, errors.NotFound):
        return 404
    return row_of(error).status


def error_answer(error: BaseException) -> Response:
    """Return the answer to an error. An internal error reveals nothing about itself."""
    status = status_of(error)
    body = {"reason": errors.TokenmintError.reason, "message": INTERNAL_MESSAGE}
    headers = {}
    if isinstance(error, errors.TokenmintError):
        body["reason"] = error.reason
        if status != 500:
            body["message"] = LOGIN_MESSAGE if isinstance(error, errors.CallerUnauthenticated) else error.message
    if status == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, errors.RateLimited | errors.Overloaded | errors.DeadlinePassed | errors.DependencyUnavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
