"""The answer to a request at a gateway, regardless of its protocol: a token for the service behind it, or a refusal.

The gateway is a client like any other: it authenticates itself, and gets tokens for the audiences that list it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokenmint.admission.gate import ClientExchanges, current_client
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
from tokenmint.gateway.request import Gateway, audience_of, find_token, token_type_of
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import ExchangeRequest
from tokenmint.model.secret import Secret

REALM: Final = 'Bearer realm="tokenmint"'
BEARER: Final = "Bearer"  # RFC 6750
NO_STORE: Final = "no-store"
JUDGED: Final = (
    AccessDenied, TokenRejected, DependencyUnavailable, InvalidRequest, KeySetInvalid, Overloaded, RateLimited,
    StoreWentBack,
)  # fmt: skip
"""Errors that the gateway's own client is told; other errors are the gateway's."""


@dataclass(frozen=True, slots=True)
class Route:
    """The gateway's own settings of a route, which no client of the gateway can set."""

    audience: str = ""
    """Empty: the host's."""
    scopes: tuple[str, ...] = ()
    token_type: str = ""
    """The type of the subject token; empty: the one that the token claims to be."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A request that may pass."""

    minted: MintedToken
    keep: int
    """For how many seconds this answer may be given again to the same request."""
    cookies: str | None
    """The cookies that the service behind may see; None: those of the request."""

    @property
    def authorization(self) -> str:
        """The header that takes the place of the caller's."""
        return f"{BEARER} {self.minted.token.reveal()}"

    @property
    def cache_control(self) -> str:
        """`Cache-Control` for this answer."""
        return cache_control(self.keep)


def cache_control(keep: int) -> str:
    """Return `Cache-Control` for an answer that may be kept for so many seconds (RFC 9111 section 5.2.2).

    Without `public`, so that a cache which knows nothing of the token leaves it alone (section 3.5).
    """
    return f"max-age={keep}" if keep else NO_STORE


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer in HTTP for the gateway's client."""

    status: int
    challenge: str
    """`WWW-Authenticate` (RFC 6750 section 3); empty: none."""
    reason: str
    message: str
    retry_after: int = 0
    """Seconds; 0: not told."""

    @property
    def body(self) -> str:
        """The body, JSON."""
        return json.dumps({"reason": self.reason, "message": self.message})


NO_TOKEN: Final = Refusal(401, REALM, "NO_TOKEN", "the request has no bearer token")


class GatewayChecks:
    """Decides on requests at gateways."""

    def __init__(self, exchanges: ClientExchanges, gateway: Gateway) -> None:
        self.exchanges = exchanges
        self.gateway = gateway

    async def check(self, headers: Mapping[str, str], host: str, route: Route) -> Pass:
        """Exchange the token of a request with these headers, for this call's client.

        Raises:
            NoToken: it has none, or none that is certain.
            TokenmintError: as ``TokenExchange.exchange``, and for a host without an audience.
        """
        found = find_token(self.gateway, headers)
        request = self.exchange_request(found.token, host, route)
        minted, keep = await self.exchanges.one_to_keep(request, current_client())
        if minted.token_type != BEARER:
            raise FormatDenied("tokens for this audience are not presented as Bearer")
        return Pass(minted, keep, found.cookies)

    def exchange_request(self, token: str, host: str, route: Route) -> ExchangeRequest:
        """Return the exchange of a token for the audience of a route, or of the host. Raises ``InvalidRequest``."""
        audience = route.audience or audience_of(self.gateway, host)
        violations = Violations()
        violations.token("subject_token", len(token.encode()))
        violations.raise_any()
        token_type = route.token_type or token_type_of(token)
        expected = f"one of {', '.join(SUBJECT_TOKEN_TYPES)}"
        violations.check("tokenmint.subject_token_type", expected, holds=token_type in SUBJECT_TOKEN_TYPES)
        violations.scopes("tokenmint.scope", route.scopes)
        violations.raise_any()
        return ExchangeRequest(Secret(token), audience, token_type, route.scopes)


def refusal_of(error: TokenmintError) -> Refusal | None:
    """Return the answer to an error, with the challenge of RFC 6750 section 3; None for an error of the gateway."""
    if not isinstance(error, JUDGED):
        return None
    status, challenge, retry_after = 401, f'{REALM}, error="invalid_request"', 0
    if isinstance(error, RateLimited | Overloaded | DependencyUnavailable):
        status, challenge = 429 if isinstance(error, RateLimited) else 503, ""
        retry_after = max(1, math.ceil(error.retry_after))
    elif isinstance(error, StoreWentBack):
        status, challenge = 503, ""
    elif isinstance(error, KeySetInvalid):
        status, challenge = 502, ""
    elif isinstance(error, AccessDenied):
        status, challenge = 403, f'{REALM}, error="insufficient_scope"' if isinstance(error, ScopeDenied) else ""
    elif isinstance(error, TokenRejected):
        challenge = f'{REALM}, error="invalid_token", error_description="{_description(error.message)}"'
    return Refusal(status, challenge, error.reason, error.message, retry_after)


def _description(message: str) -> str:
    """Return a message in the characters of `error_description` (RFC 6750 section 3)."""
    plain = message.replace('"', "'").replace("\\", "/")
    return "".join(char if " " <= char <= "~" else "?" for char in plain)
