"""Single use: a token is consumed once, in the store, for as long as it is valid."""

import hashlib
import json
from typing import Final

from tokenmint.base.errors import ProofRejected
from tokenmint.base.token_errors import TokenReplayed
from tokenmint.model.signals import VerifiedSignal
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

    async def event_consumed(self, signal: VerifiedSignal) -> bool:
        """Return whether exactly this token with events was consumed (RFC 8417 section 2.2, `jti`).

        Raises:
            TokenReplayed: another token of its issuer with the same `jti` was.
            StoreUnavailable: the records can't be read.
        """
        before = await self._store.current(_event_key(signal))
        if before is not None and before != _event_value(signal):
            raise TokenReplayed("another token with this jti was received before")
        return before is not None

    async def consume_event(self, signal: VerifiedSignal, *, now: float) -> None:
        """Consume a token with events. Raises as :meth:`event_consumed`."""
        ttl = max(1.0, signal.forget_at + MARGIN - now)
        before = await self._store.add(_event_key(signal), _event_value(signal), ttl=ttl)
        if before is not None and before != _event_value(signal):
            raise TokenReplayed("another token with this jti was received meanwhile")


def _event_key(signal: VerifiedSignal) -> str:
    """Return the key of the record: of (provider, issuer, jti), apart from those of other kinds of tokens."""
    parts = [signal.provider.encode(), signal.issuer.encode(), signal.token_id.encode()]
    name = b"".join(len(part).to_bytes(4) + part for part in parts)
    return "replay:" + hashlib.sha256(b"event\x00" + name).hexdigest()


def _event_value(signal: VerifiedSignal) -> bytes:
    return json.dumps([1, "event", signal.fingerprint]).encode()
