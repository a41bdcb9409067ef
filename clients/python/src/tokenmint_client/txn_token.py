"""Transaction tokens (draft-ietf-oauth-transaction-tokens): the header that carries them, and their verification.

A workload verifies the token of its request for its trust domain, and sends the same text on with its own requests.
A transaction token authenticates nobody: it says which transaction a request belongs to.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenmint_client.claims import MAX_TOKEN_BYTES
from tokenmint_client.errors import TokenRejected
from tokenmint_client.types import VerifiedToken
from tokenmint_client.verifier import AsyncVerifier, Verifier

HEADER: Final = "Txn-Token"
"""The HTTP header (section 12.1). `Authorization` carries other tokens."""
TXN_TOKEN: Final = "urn:ietf:params:oauth:token-type:txn_token"  # noqa: S105  # a URN
"""The type, for ``requested_token_type``."""
TYP: Final = "txntoken+jwt"
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class TransactionToken:
    """The content of a verified transaction token. Only a verifier makes one."""

    txn: str
    """The id of the transaction."""
    subject: str
    """The principal of the transaction."""
    scopes: frozenset[str]
    """Its purpose."""
    requester: str
    """The workload that requested the token."""
    tctx: Mapping[str, Any]
    """The transaction context: the same for all workloads of the transaction."""
    rctx: Mapping[str, Any]
    """The request context."""
    expires_at: float
    """Unix seconds."""
    claims: Mapping[str, Any]
    """All of its claims."""


def sent_headers(token: str) -> dict[str, str]:
    """Return the header to send ``token`` with: the token of one's own request, unchanged, or a new one.

    Raises:
        TokenRejected: the text is no token, and might add other headers.
    """
    return {HEADER: _one(token)}


def received_token(values: Iterable[str]) -> str:
    """Return the token of a request. ``values``: all values of its header `Txn-Token`, e.g. Starlette's ``getlist``.

    Raises:
        TokenRejected: there is none, or more than one.
    """
    found = list(values)
    if len(found) != 1:
        raise TokenRejected("MALFORMED", f"the request has {len(found)} Txn-Token headers, and exactly one is expected")
    return _one(found[0])


class TxnTokenVerifier:
    """Verifies transaction tokens of one trust domain, for threads.

    Args:
        issuer: tokenmint's issuer, exactly as it is configured.
        trust_domain: the trust domain of this workload, exactly as it is configured.
        options: those of :class:`~tokenmint_client.verifier.Verifier` but for ``token_type``.
    """

    def __init__(self, issuer: str, trust_domain: str, **options: Any) -> None:
        self._verifier = Verifier(issuer, trust_domain, token_type=TYP, **options)

    def verify(self, token: str) -> TransactionToken:
        """Return what a token says. Raises as :meth:`Verifier.verify`."""
        return _checked(self._verifier.verify(token))

    def close(self) -> None:
        """Close the connections."""
        self._verifier.close()


class AsyncTxnTokenVerifier:
    """As :class:`TxnTokenVerifier`, for one event loop."""

    def __init__(self, issuer: str, trust_domain: str, **options: Any) -> None:
        self._verifier = AsyncVerifier(issuer, trust_domain, token_type=TYP, **options)

    async def verify(self, token: str) -> TransactionToken:
        """Return what a token says. Raises as :meth:`Verifier.verify`."""
        return _checked(await self._verifier.verify(token))

    async def close(self) -> None:
        """Close the connections."""
        await self._verifier.close()


def _one(token: str) -> str:
    if len(token) > MAX_TOKEN_BYTES or not _COMPACT.fullmatch(token):
        raise TokenRejected("MALFORMED", "the Txn-Token is not one compact JWS")
    return token


def _checked(token: VerifiedToken) -> TransactionToken:
    """Check the claims that only transaction tokens have (section 9.2); others are ignored."""
    claims = token.claims
    for name in ("txn", "scope", "req_wl"):
        if not isinstance(claims.get(name), str) or not claims[name].strip():
            raise TokenRejected("CLAIM_REJECTED", f"the transaction token's {name} is missing, or is not a text")
    for name in ("tctx", "rctx"):
        if not isinstance(claims.get(name, {}), dict):
            raise TokenRejected("CLAIM_REJECTED", f"the transaction token's {name} is not an object")
    return TransactionToken(
        txn=claims["txn"],
        subject=token.subject,
        scopes=token.scopes,
        requester=claims["req_wl"],
        tctx=claims.get("tctx", {}),
        rctx=claims.get("rctx", {}),
        expires_at=token.expires_at,
        claims=claims,
    )
