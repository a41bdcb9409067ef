"""The codes for refused tokens with events: RFC 8935 section 2.4, which RFC 8936 section 2.6 uses too."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tokenmint.base import errors, token_errors

INVALID_REQUEST: Final = "invalid_request"
CODES: Final[Mapping[type[errors.TokenmintError], str]] = MappingProxyType(
    {
        token_errors.TokenRejected: INVALID_REQUEST,
        token_errors.UnknownIssuer: "invalid_issuer",
        token_errors.WrongAudience: "invalid_audience",
        token_errors.UnknownKey: "invalid_key",
        token_errors.BadSignature: "invalid_key",
        token_errors.AlgorithmNotAllowed: "invalid_key",
        errors.CallerUnauthenticated: "authentication_failed",
        errors.InvalidRequest: INVALID_REQUEST,
    }
)
"""By class of error; each also stands for its subclasses."""


def set_error(error: errors.TokenmintError) -> str:
    """Return the code for an error; "" if it is no fault of the token."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), "")
