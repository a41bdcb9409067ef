"""The log of revocations in the store: a stream with one entry for each name, from which expired entries go.

A revocation is appended before the record that it belongs to (a profile, a revoked token) is written. With a single
server the confirmation of that record covers the log's entry too; in a Cluster each is confirmed by its own node. So
an answer means that both are durable.
"""

import hashlib
import math
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tokenmint.base.errors import OutcomeUnknown
from tokenmint.revocation.entries import LONGEST_NAME, MARGIN, Kind, Revocation, name_of
from tokenmint.storage import scripts, streams
from tokenmint.storage.listening import Notice
from tokenmint.storage.redis import Store

KEY: Final = "revocations"
PAGE: Final = 1000  # entries that are read together
PAGE_BYTES: Final = 1 << 20
SHARES: Final = MappingProxyType({Kind.TOKEN: 0.75, Kind.PRINCIPAL: 0.9})
"""The shares of the log up to which a kind may fill it: clients revoke tokens, and providers' signals principals. The
rest is for operators, who revoke all tokens of a client, an audience or a provider."""
SHARE_OF_REGIONS: Final = 0.95
"""The share up to which other regions may fill it. The rest is for this region's own operators."""
SETTLE: Final = 2
"""Seconds after the end of a principal in which a replica may still mint a token for it (`profiles/near_cache.py`)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The times that revocations are computed with.

    Args:
        now: the time by the store's clock, Unix seconds.
        longest: seconds that the longest token lives which a verifier may have accepted.
    """

    now: Callable[[], float]
    longest: Callable[[], float]


class RevocationLog:
    """Appends to the log and reads it.

    Args:
        store: the store.
        reach: the times.
        most: the largest number of entries.
    """

    def __init__(self, store: Store, reach: Reach, *, most: int) -> None:
        self._store = store
        self._reach = reach
        self._most = most
        tag = f"{{{store.prefix}{KEY}}}"
        self._turn = f"{tag}-turn"
        self._place = f"{tag}-place:"

    @property
    def confirms_together(self) -> bool:
        """Whether the confirmation of a later write covers the log's entries."""
        return not self._store.server.clustered

    def of_token(self, token_id: str, expires: int) -> Revocation:
        """Return the revocation of a token and its descendants."""
        return Revocation(Kind.TOKEN, token_id, 0, math.ceil(expires + MARGIN))

    def of(self, kind: Kind, name: str, valid_after: int) -> Revocation:
        """Return the revocation of everything of that name that was issued in or before a second."""
        return Revocation(kind, name, valid_after, math.ceil(valid_after + self._reach.longest() + MARGIN))

    def end(self) -> int:
        """Return the second up to which the tokens of a principal are refused that gets none from now on."""
        return int(self._reach.now()) + SETTLE

    def ended(self, principal: str, after: int | None = None) -> Revocation:
        """Return the revocation of a principal that gets no tokens from now on, or got none after a second."""
        return self.of(Kind.PRINCIPAL, principal, self.end() if after is None else after)

    def counts_still(self, ended: float) -> bool:
        """Return whether tokens may be alive that were issued before this time, so that verifiers have to be told."""
        return self._reach.now() <= ended + SETTLE + self._reach.longest() + MARGIN

    async def append(self, *revocations: Revocation, confirmed: bool = False, share: float = 1.0) -> bool:
        """Append revocations. ``confirmed``: as durable; otherwise a write that follows has to confirm them.
        ``share``: the share of the log up to which they may fill it, of kinds that have no smaller one.

        Returns whether there was room for all of them. If there was none, the caller completes its own change first,
        and raises ``RevocationsFull`` then. Raises ``StoreUnavailable``, ``OutcomeUnknown``.
        """
        now = self._reach.now()
        arguments: list[str] = []
        for one in revocations:
            life = max(1, math.ceil(one.expires - now))
            most = int(self._most * min(share, SHARES.get(one.kind, 1.0)))
            name = name_of(one.kind, one.name)
            if len(name.encode()) > LONGEST_NAME:
                raise ValueError("no name of this service is so long")
            arguments += (name, str(one.valid_after), str(one.expires), str(life), str(most))
        places = [self._place + hashlib.sha256(name.encode()).hexdigest() for name in arguments[::5]]
        keys = (KEY, self._turn, *places)
        channel = self._store.prefix + KEY
        durable = confirmed or not self.confirms_together
        answers = await self._store.run(scripts.REVOKE, keys, channel, *arguments, durable=durable)
        if not isinstance(answers, list) or len(answers) != len(revocations):
            raise OutcomeUnknown(detail=f"{KEY}: not an answer about each revocation")
        return not any(answer.startswith(b"-") for answer in answers)

    async def after(self, position: str, most_bytes: int = PAGE_BYTES) -> streams.Page:
        """Return the entries after a position, some at a time. Raises ``StoreUnavailable``, ``CorruptRecord``."""
        return await streams.after(self._store, KEY, position, most_entries=PAGE, most_bytes=most_bytes)

    def notices(self) -> AsyncGenerator[Notice, None]:
        """Yield whenever there may be new entries, beginning once the subscription stands."""
        return self._store.listen(KEY)
