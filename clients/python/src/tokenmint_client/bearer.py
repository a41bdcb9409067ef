"""A protected service's check of the token that a call brings, in any protocol (RFC 6750)."""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

from tokenmint_client.types import VerifiedToken

_current: ContextVar[VerifiedToken] = ContextVar("tokenmint_token")


def current_token() -> VerifiedToken:
    """Return the verified token of the call that is being served.

    Raises:
        LookupError: no call is being served, or it is one that needs no token.
    """
    return _current.get()


def enter(token: VerifiedToken) -> None:
    """Make ``token`` the one of the call that is being served."""
    _current.set(token)


def bearer_token(values: Iterable[str]) -> str | None:
    """Return the token of the only ``authorization`` header, or None where there is not exactly one bearer token."""
    found = list(values)
    if len(found) != 1:
        return None
    scheme, _, token = found[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def missing_scopes(token: VerifiedToken, scopes: Iterable[str]) -> list[str]:
    """Return the scopes that a call needs and the token does not have."""
    return [scope for scope in scopes if scope not in token.scopes]


NO_TOKEN: Final = "a bearer token is needed"  # noqa: S105  # a message
