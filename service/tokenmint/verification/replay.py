"""Single use: a subject token is consumed once, in the store, for as long as it is valid."""

import json
from typing import Final

from tokenmint.base.errors import ProofRejected
from tokenmint.base.token_errors import TokenReplayed
from tokenmint.model.tokens import VerifiedToken
from tokenmint.storage.redis import Store
from tokenmint.verification.dpop import DpopProof

MARGIN: Final = 60.0  # seconds beyond exp and skew, for clocks of replicas that differ


class ReplayGuard:
    """Consumes tokens, so that each is accepted once.

    Args:
        store: keeps the records, which have to be durable: a lost record would admit a token again.
        skew: the longest time for which a provider's tokens are accepted after their `exp`, in seconds.
    """

    def __init__(self, store: Store, *, skew: float = 60.0) -> None:
        self._store = store
        self._skew = skew

    async def consume(
        self,
        verified: VerifiedToken,
        client_id: str,
        request_id: str | None,
        *,
        now: float,
        request_fingerprint: str = "",
    ) -> None:
        """Consume ``verified`` for this client and request. The same client may repeat the same request.

        ``request_fingerprint`` identifies the request's content: a request id may repeat only the same request.

        Raises:
            TokenReplayed: it was consumed before.
            StoreUnavailable: it could not be recorded, so the exchange must fail.
        """
        value = json.dumps([1, client_id, request_id, verified.fingerprint, request_fingerprint]).encode()
        ttl = max(1.0, verified.expires_at + self._skew + MARGIN - now)
        before = await self._store.add(f"replay:{verified.replay_id}", value, ttl=ttl)
        if before is not None and (request_id is None or before != value):
            raise TokenReplayed()

    async def consume_proof(self, proof: DpopProof, *, now: float) -> None:
        """Consume a proof of possession (RFC 9449 section 11.1).

        Raises:
            ProofRejected: it was used before.
            StoreUnavailable: it could not be recorded, so the request must fail.
        """
        ttl = max(1.0, proof.expires_at + MARGIN - now)
        if await self._store.add(f"replay:{proof.replay_id}", b"[1]", ttl=ttl) is not None:
            raise ProofRejected("the DPoP proof was used before: make a new one for each request")

    async def consumed(self, verified: VerifiedToken) -> bool:
        """Return whether ``verified`` was consumed, without consuming it."""
        return await self._store.current(f"replay:{verified.replay_id}") is not None
