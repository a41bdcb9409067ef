"""Principals without a profile whose tokens were revoked. A provider's token may live longer than any of ours, so
their second is kept for longer than the log of revocations keeps it.
"""

from typing import Final

from tokenmint.base.clock import Clock
from tokenmint.base.errors import Conflict
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import Unregistered, dump_unregistered, parse_record, profile_key
from tokenmint.profiles.store import ATTEMPTS
from tokenmint.storage.redis import Store

KEPT: Final = 400 * 86400.0
"""Seconds for which the revocation of a principal without a profile is kept: no token lives that long, and a provider
can't fill the store for good."""


class UnregisteredPrincipals:
    """Refuses the tokens of principals without a profile.

    Args:
        store: the store.
        near: its near cache.
        clock: the time of changes.
    """

    def __init__(self, store: Store, near: NearCache, clock: Clock) -> None:
        self._store = store
        self._near = near
        self._clock = clock

    async def refuse(self, principal: str, second: int) -> bool:
        """Refuse the tokens that were issued up to a second, confirmed as durable. Raises ``Conflict``.

        Returns False if the principal has a profile, or was deleted; then nothing was changed.
        """
        key = profile_key(principal)
        for _ in range(ATTEMPTS):
            raw = await self._store.get(key)
            record = parse_record(principal, raw) if raw is not None else None
            if record is not None and not isinstance(record, Unregistered):
                return False
            after = max(second, record.tokens_valid_after) if record is not None else second
            new = dump_unregistered(Unregistered(principal, after), self._clock.now())
            try:
                if await self._store.swap(key, raw, new, ttl=KEPT):
                    return True
            finally:
                self._near.forget(key)
        raise Conflict()
