"""Single use: a subject token is claimed once, in the store, for as long as it could be used."""

import json
from typing import Final

from tokenmint.assertion.types import VerifiedAssertion
from tokenmint.errors import TokenReplayed
from tokenmint.storage.redis import Store

MARGIN: Final = 60.0  # seconds beyond exp and skew, for clocks of replicas that differ


class ReplayGuard:
    """Claims tokens.

    Args:
        store: where claims are kept, confirmed as durable: a claim that is lost would let a token in again.
        skew: the most by which a provider's tokens are accepted after their `exp`, in seconds.
    """

    def __init__(self, store: Store, *, skew: float = 60.0) -> None:
        self._store = store
        self._skew = skew

    async def claim(
        self, assertion: VerifiedAssertion, client_id: str, request_id: str | None, *, now: float, wanted: str = ""
    ) -> None:
        """Claim ``assertion`` for this client and request. The same client may repeat the same request.

        ``wanted`` stands for what is asked for: a request id is for asking for the same again, and for nothing else.

        Raises:
            TokenReplayed: it was claimed before.
            StoreUnavailable: the claim could not be made, so the exchange must not succeed.
        """
        value = json.dumps([1, client_id, request_id, assertion.fingerprint, wanted]).encode()
        ttl = max(1.0, assertion.expires_at + self._skew + MARGIN - now)
        before = await self._store.add(f"replay:{assertion.replay_id}", value, ttl=ttl)
        if before is not None and (request_id is None or before != value):
            raise TokenReplayed()

    async def claimed(self, assertion: VerifiedAssertion) -> bool:
        """Tell whether ``assertion`` was claimed, without claiming it."""
        return await self._store.get(f"replay:{assertion.replay_id}") is not None
