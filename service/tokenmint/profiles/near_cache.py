"""What this process remembers of the store's profiles and identities, and the fences around it.

The store tells of every change (server-assisted invalidation), on a connection of its own. A value is used

- only while that connection lives: everything that changed until a second ago has been told of (a heartbeat);
- for at most 5 s after it was asked for, whatever was told; what is in use is asked for again, in batches, before that;
- only where nothing was told of its key while it was on its way: a late reply never overwrites an invalidation.

When the connection breaks everything is forgotten, and the store is asked each time until it tells of changes again.
What is missing is asked for together: one round trip for everything that is wanted at the same time.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from itertools import islice
from typing import Final

from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import StoreUnavailable
from tokenmint.storage.redis import Store

MAX_AGE: Final = 5.0  # seconds that a value is used after it was asked for
REFRESH_AGE: Final = 3.0  # seconds after which one that is in use is asked for again
REFRESH_INTERVAL: Final = 0.5
HEARTBEAT: Final = 1.0  # seconds without news of changes after which nothing is used
RETRY: Final = 0.5  # seconds at most between attempts to be told of changes
BATCH: Final = 500  # keys in one round trip
REFRESH_BATCH: Final = 100  # keys that are asked for again in one; between them calls get their turn
LONGEST: Final = 64 * 1024  # bytes of a value that is remembered
LINGER: Final = 0.002  # seconds that a key waits for others while a read is on its way


class Entry:
    """A value as it was read; None: there is none."""

    __slots__ = ("asked", "memo", "raw", "used")

    def __init__(self, raw: bytes | None, asked: float) -> None:
        self.raw = raw
        self.asked = asked
        self.used = False
        """Whether it was used since it was asked for: what was wanted once may never be again."""
        self.memo: object = None
        """What a reader made of these bytes, for the next time; gone when the bytes are others."""


class _Flight:
    """A read that is on its way, and who waits for it: each in a future of its own, for one may give up."""

    __slots__ = ("overtaken", "waiting")

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[bytes | None]] = []
        self.overtaken = False


class NearCache:
    """Reads keys of the store, from memory where the fences allow it.

    Args:
        store: the store.
        prefixes: what the keys begin with.
        size: how many values are remembered; 0: none.
        clock: for ages.
    """

    def __init__(self, store: Store, prefixes: Sequence[str], size: int, clock: Clock) -> None:
        self._store = store
        self._prefixes = prefixes
        self._size = size if store.tracks else 0
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._flights: dict[str, _Flight] = {}
        self._wanted: list[tuple[str, _Flight]] = []
        self._departure: asyncio.Handle | None = None
        self._told_until = float("-inf")
        self._batches: set[asyncio.Task[None]] = set()

    @property
    def enabled(self) -> bool:
        """Whether anything is ever remembered."""
        return self._size > 0

    @property
    def live(self) -> bool:
        """Whether what is remembered may be used now."""
        return self._clock.monotonic() - self._told_until <= HEARTBEAT

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: str) -> bytes | None:
        """Return the value under ``key``, or None. Raises ``StoreUnavailable``."""
        entry = self.peek(key, self._clock.monotonic())
        if entry is not None:
            return entry.raw
        flight = self._flights.get(key)
        if flight is None:
            flight = self._depart(key)
        answer: asyncio.Future[bytes | None] = self._loop().create_future()
        flight.waiting.append(answer)
        return await answer

    def peek(self, key: str, now: float) -> Entry | None:
        """Return what is remembered under ``key`` where it may be used at ``now`` (monotonic), or None. Never waits."""
        entry = self._entries.get(key)
        if entry is None or now - self._told_until > HEARTBEAT or now - entry.asked > MAX_AGE:
            return None
        entry.used = True
        return entry

    def forget(self, key: str) -> None:
        """Drop what is known of ``key``: it has changed, or is about to."""
        self._entries.pop(key, None)
        flight = self._flights.pop(key, None)  # who asks from now on must not be answered by it
        if flight is not None:
            flight.overtaken = True

    def flush(self) -> None:
        """Drop everything."""
        self._told_until = float("-inf")
        self._entries.clear()
        for flight in self._flights.values():
            flight.overtaken = True
        self._flights.clear()

    @staticmethod
    def _loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    # --- asking the store ----------------------------------------------------------------------------------------

    def _depart(self, key: str) -> _Flight:
        flight = self._flights[key] = _Flight()
        self._wanted.append((key, flight))
        if self._departure is None:
            # After everybody else who wants something now, and with those who come while others are on their way.
            loop = self._loop()
            self._departure = loop.call_later(LINGER, self._send) if self._batches else loop.call_soon(self._send)
        return flight

    def _send(self) -> None:
        if self._departure is not None:
            self._departure.cancel()
            self._departure = None
        wanted, self._wanted = self._wanted, []
        for start in range(0, len(wanted), BATCH):
            task = self._loop().create_task(self._read(wanted[start : start + BATCH]))
            self._batches.add(task)
            task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        if not task.cancelled():
            task.exception()  # each caller of its keys was told of it
        if self._wanted and not self._batches:
            self._send()

    async def _read(self, flights: list[tuple[str, _Flight]]) -> None:
        """Ask for keys, and answer their callers: what it raises, each of them is told too."""
        try:
            await self._read_and_remember(flights)
        except BaseException as error:
            for key, flight in flights:
                self._land(key, flight)
                for answer in flight.waiting:
                    if not answer.done():
                        answer.set_exception(error if isinstance(error, Exception) else _given_up())
            raise

    async def _read_and_remember(self, flights: list[tuple[str, _Flight]]) -> None:
        asked = self._clock.monotonic()
        values = await self._store.get_many([key for key, _ in flights])
        for (key, flight), raw in zip(flights, values, strict=True):
            self._land(key, flight)
            if isinstance(raw, StoreUnavailable):
                self._entries.pop(key, None)
                for answer in flight.waiting:
                    if not answer.done():
                        answer.set_exception(raw)
                continue
            if not flight.overtaken and self._size and self._told_until > float("-inf"):
                self._remember(key, raw, asked)
            for answer in flight.waiting:
                if not answer.done():
                    answer.set_result(raw)

    def _land(self, key: str, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _remember(self, key: str, raw: bytes | None, asked: float) -> None:
        if raw is not None and len(raw) > LONGEST:
            self._entries.pop(key, None)
            return
        entry = self._entries.pop(key, None)  # to the end: they are in the order in which they were asked for
        if entry is None:
            entry = Entry(raw, asked)
        elif entry.raw != raw:
            entry.raw = raw
            entry.memo = None
        entry.asked = asked
        self._entries[key] = entry
        if len(self._entries) > self._size:
            # Many at once: taking a dictionary's first item one by one passes all that were taken before.
            for oldest in list(islice(self._entries, 1 + self._size // 100)):
                del self._entries[oldest]

    # --- following changes ---------------------------------------------------------------------------------------

    def follow(self, background: Background) -> None:
        """Follow the changes and keep what is in use fresh, for ever."""
        if not self.enabled:
            return
        # The pause is one of real time, as the connection's own.
        background.start("near cache notices", self._follow, longest=RETRY, sleep=asyncio.sleep)
        background.every("near cache refresh", REFRESH_INTERVAL, self._refresh, longest=RETRY)

    async def _follow(self, unit: Unit) -> None:
        try:
            async with aclosing(self._store.track(self._prefixes, HEARTBEAT)) as changes:
                async for change in changes:
                    if change.keys is None:
                        self.flush()
                    else:
                        for key in change.keys:
                            self.forget(key)
                    if change.complete_since is not None:
                        if self._told_until == float("-inf"):
                            self.flush()  # what is on its way may have left before changes were told of
                        told = self._clock.monotonic() - change.complete_since
                        self._told_until = max(self._told_until, told)
                        unit.works()
        finally:
            self.flush()

    async def _refresh(self) -> None:
        """Ask again, in batches, for what is in use; let go of what is not."""
        now = self._clock.monotonic()
        due = self._due(now)
        for start in range(0, len(due), REFRESH_BATCH):
            flights: list[tuple[str, _Flight]] = []
            for key in due[start : start + REFRESH_BATCH]:
                entry = self._entries.get(key)
                if entry is None:
                    continue
                if entry.used and key not in self._flights:
                    entry.used = False
                    flight = self._flights[key] = _Flight()
                    flights.append((key, flight))
                elif now - entry.asked > MAX_AGE:
                    del self._entries[key]
            if flights:
                await self._read(flights)

    def _due(self, now: float) -> list[str]:
        due = []
        for key, entry in self._entries.items():  # the oldest first: nobody waits while all are looked through
            if now - entry.asked < REFRESH_AGE:
                break
            due.append(key)
        return due


def _given_up() -> StoreUnavailable:
    return StoreUnavailable(detail="the service stops")
