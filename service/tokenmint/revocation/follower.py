"""This process's copy of the log of revocations. It feeds every watcher, without a read of the store for each.

The copy only grows until entries expire, also if the store loses changes: an entry that was seen once is kept. A reader
keeps a cursor into it. So a slow reader costs nothing but its cursor: it takes the entries when it has time for them,
and those that were superseded meanwhile it never sees.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import DependencyUnavailable
from tokenmint.revocation.bulk import BulkRevocations
from tokenmint.revocation.entries import Kind, Revocation, digest, name_of, parse
from tokenmint.revocation.log import RevocationLog
from tokenmint.storage import streams

POLL: Final = 0.5  # seconds between looks at the log, in case a notice was lost
PRUNE: Final = 30.0  # seconds between searches for expired entries
STALE: Final = 30.0  # seconds without a confirmed look after which this process does not serve
_CANNOT_FOLLOW: Final = "this replica can't follow revocations: try another one"
_serial = attrgetter("serial")


@dataclass(frozen=True, slots=True)
class Held:
    """A revocation that is held, with its places."""

    serial: int
    """Its place in this copy: later entries have larger ones."""
    epoch: int
    position: tuple[int, int]
    """Its place in the log, within an epoch: a time in which the store lost nothing."""
    revocation: Revocation
    digest: bytes


@dataclass(frozen=True, slots=True)
class World:
    """The facts from elsewhere that the copy needs.

    Args:
        now: the time by the store's clock, Unix seconds.
        epoch: the number of losses of the store so far.
        lost: whether a loss is not accepted yet, so that the log may lack entries.
        revoked_keys: the ids of revoked signing keys, each with the end of its tokens. Strangers may make some for as
            long as a verifier keeps a key set with the key.
        clock_problem: a message for operators while one of the clocks is wrong, or "".
    """

    now: Callable[[], float]
    epoch: Callable[[], int]
    lost: Callable[[], bool]
    revoked_keys: Callable[[], Mapping[str, float]]
    clock_problem: Callable[[], str]


class Revocations:
    """Follows the log.

    Args:
        log: the log.
        world: the facts from elsewhere.
        clock: measures ages.
    """

    def __init__(self, log: RevocationLog, world: World, clock: Clock) -> None:
        self._log = log
        self._world = world
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._order: list[Held] = []
        self._serial = 0
        self._epoch = 0
        self._position = streams.BEGINNING
        self._confirmed = float("-inf")
        self._prune_at = clock.monotonic() + PRUNE
        self._changed = asyncio.Event()
        self._reading = asyncio.Lock()
        self.bulk = BulkRevocations()
        """Those by client, audience and provider."""

    def __len__(self) -> int:
        return len(self._held)

    def confirmed_ago(self) -> float:
        """Return the seconds since this copy was last known to be complete; infinite: never."""
        return self._clock.monotonic() - self._confirmed

    def time(self) -> float | None:
        """Return the time by which entries expire, Unix seconds; None while one of the clocks is wrong."""
        return None if self._world.clock_problem() else self._world.now()

    def problem(self) -> str:
        """Return a message for operators if this copy may lack revocations for too long, or ""."""
        ago = self.confirmed_ago()
        if ago == float("inf"):
            return "the log of revocations was not read yet"
        return f"the log of revocations was not read for {ago:.0f} s" if ago > STALE else ""

    def require(self) -> None:
        """Raise ``DependencyUnavailable`` if this copy may lack revocations for too long, e.g. a provider's."""
        if problem := self.problem():
            raise DependencyUnavailable(_CANNOT_FOLLOW, detail=problem)

    @property
    def position(self) -> str:
        """The position up to which this copy has read the log; it also names the epoch."""
        return f"{self._epoch}.{self._position}"

    def valid_after(self, kind: Kind, name: str) -> int | None:
        """Return the second up to which tokens of that name are revoked; None: they are not."""
        held = self._held.get(name_of(kind, name))
        return held.revocation.valid_after if held is not None else None

    def after(self, cursor: int, most: int) -> tuple[list[Held], int, bool]:
        """Return up to ``most`` entries after a cursor, the next cursor, and whether there are further ones."""
        start = bisect_right(self._order, cursor, key=_serial)
        page = self._order[start : start + most]
        current = [held for held in page if self._held.get(_name(held)) is held]
        following = page[-1].serial if page else cursor
        return current, following, start + len(page) < len(self._order)

    async def changed(self, cursor: int) -> None:
        """Wait until there are entries after a cursor."""
        while self._serial <= cursor:
            await self._changed.wait()

    # --- following -----------------------------------------------------------------------------------------------

    def follow(self, background: Background) -> None:
        """Follow the log without end: by its notices, and by looking twice a second."""
        background.start("revocation notices", self._listen, longest=POLL)
        background.every("revocations", POLL, self.refresh, longest=POLL)

    async def _listen(self, unit: Unit) -> None:
        async with aclosing(self._log.notices()) as notices:
            async for notice in notices:
                # After a new connection, perhaps to another server, everything is read again.
                await self.refresh(anew=notice.payload is None)
                unit.works()

    async def refresh(self, *, anew: bool = False) -> None:
        """Read the new entries of the log; ``anew``: all of them. Raises ``StoreUnavailable``, ``CorruptRecord``."""
        async with self._reading:
            epoch = self._world.epoch()
            if epoch != self._epoch or anew:
                self._epoch, self._position = epoch, streams.BEGINNING
            while True:
                asked = self._clock.monotonic()
                page = await self._log.after(self._position)
                for position, raw in page.entries:
                    self._take(position, raw)
                self._position = page.following
                if not page.more:
                    break
            for key_id, end in self._world.revoked_keys().items():
                self._hold(Revocation(Kind.KEY, key_id, 0, int(end)), streams.BEGINNING)
            if not self._world.lost():
                self._confirmed = max(self._confirmed, asked)
            self._prune()

    def _take(self, position: str, raw: bytes) -> None:
        revocation = parse(raw)
        if revocation is not None:
            self._hold(revocation, position)

    def _hold(self, new: Revocation, position: str) -> None:
        name = name_of(new.kind, new.name)
        held = self._held.get(name)
        if self._has_expired(new):
            return
        if held is not None:
            before = held.revocation
            if before.valid_after >= new.valid_after and before.expires >= new.expires:
                return
            after, expires = max(before.valid_after, new.valid_after), max(before.expires, new.expires)
            new = Revocation(new.kind, new.name, after, expires)
        self._serial += 1
        place = parts_of(position)
        made = Held(self._serial, self._epoch, place, new, digest(new.kind, new.name))
        self._held[name] = made
        self._order.append(made)
        self.bulk.note(new)
        self._changed.set()
        self._changed = asyncio.Event()

    def _has_expired(self, revocation: Revocation) -> bool:
        """Return whether a revocation has certainly expired: one that is dropped is not read again."""
        now = self.time()
        return now is not None and revocation.expires <= now

    def _prune(self) -> None:
        """Drop expired entries, and the places of superseded ones."""
        if self._clock.monotonic() < self._prune_at:
            return
        self._prune_at = self._clock.monotonic() + PRUNE
        kept = []
        for held in self._order:
            name = _name(held)
            if self._held.get(name) is not held:
                continue
            if self._has_expired(held.revocation):
                del self._held[name]
                self.bulk.forget(held.revocation)
            else:
                kept.append(held)
        self._order = kept


def _name(held: Held) -> str:
    return name_of(held.revocation.kind, held.revocation.name)


def parts_of(position: str) -> tuple[int, int]:
    """Return the two numbers of a position."""
    milliseconds, _, number = position.partition("-")
    return int(milliseconds), int(number)
