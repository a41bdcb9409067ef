"""The near cache: this process's copy of the store's profiles and identities, with the conditions for its use.

The store reports every change on a connection of its own (server-assisted invalidation). A cached value is used

- only while that connection is alive: a heartbeat shows that all changes until a second ago were reported;
- only while it reports what other connections write: a key of this process, which is written every second, was
  reported not more than 5 s ago. After a failover, or behind a proxy, the two may lead to different servers;
- for at most a minute after it was requested, regardless of reports;
- only if no change of its key was reported while it was on its way: a late reply never overwrites an invalidation.

When the connection breaks, the cache is emptied, and the store is asked each time until it reports changes again.
Concurrent misses are fetched together in one round trip.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from itertools import islice
from typing import Final

from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.storage.redis import Store

MAX_AGE: Final = 60.0  # seconds for which a value is used after it was requested
HEARTBEAT: Final = 1.0  # seconds without a report of the store after which no value is used
PROOF: Final = 5.0  # seconds without a report of this process's own key after which no value is used
PROOF_INTERVAL: Final = 1.0  # seconds between writes of that key
PROOF_LIFE: Final = 30.0  # seconds for which the store keeps it
RETRY: Final = 0.5  # seconds at most between attempts to follow changes
BATCH: Final = 500  # keys in one round trip
LONGEST: Final = 64 * 1024  # bytes of a cached value
PROFILE: Final = 1280  # bytes for which a profile of usual length counts, with its identity
OVERHEAD: Final = 250  # bytes of an entry beyond its texts: its objects, its place in the table, a reader's result
FAILURE_LIFE: Final = 1.0  # seconds for which a noted failure is passed on to the next reader
FAILURES: Final = 1024  # noted failures
LINGER: Final = 0.002  # seconds that a key waits for others while a read is in progress
_NEVER: Final = float("-inf")


class Entry:
    """A value as read; None if the key was missing."""

    __slots__ = ("asked", "memo", "raw")

    def __init__(self, raw: bytes | None, asked: float) -> None:
        self.raw = raw
        self.asked = asked
        self.memo: object = None
        """The last result of a reader for these bytes, kept for its next call and dropped with the bytes."""


def size_of(key: str, raw: bytes | None) -> int:
    """Return the bytes for which an entry counts. A reader's result may repeat the value."""
    return OVERHEAD + len(key) + 2 * len(raw or b"")


class _Flight:
    """A read in progress and its waiters. Each waiter has its own future, so that one can be cancelled alone."""

    __slots__ = ("overtaken", "waiting")

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[bytes | None]] = []
        self.overtaken = False


class NearCache:
    """Reads keys of the store, from memory if the conditions allow it.

    Args:
        store: the store.
        prefixes: the prefixes of the keys.
        size: the bytes of all cached values, as :func:`size_of` counts them; 0 disables the cache.
        clock: measures ages.
        own: the name of this process, which no other process has.
    """

    def __init__(self, store: Store, prefixes: Sequence[str], size: int, clock: Clock, own: str = "") -> None:
        self._store = store
        self._own = f"near:{own}"
        self._prefixes = (*prefixes, self._own)
        self._limit = size if store.tracks else 0
        self._size = 0
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._flights: dict[str, _Flight] = {}
        self._pending: list[tuple[str, _Flight]] = []
        self._departure: asyncio.Handle | None = None
        self._complete_until = _NEVER
        """The time until which every change was reported."""
        self._unproven: float | None = None
        """The time at which this process's key was first written after its last report."""
        self._proven_at = _NEVER
        """The time of the last write of that key that was reported."""
        self._usable_until = _NEVER
        self._batches: set[asyncio.Task[None]] = set()
        self._failures: dict[str, tuple[StoreUnavailable | CorruptRecord, float]] = {}
        self.hits = self.misses = 0  # reads from memory and from the store, since the start

    @property
    def enabled(self) -> bool:
        """Whether values are cached at all."""
        return self._limit > 0

    @property
    def live(self) -> bool:
        """Whether cached values may be used now."""
        return self._clock.monotonic() <= self._usable_until

    @property
    def size(self) -> int:
        """The bytes of all cached values."""
        return self._size

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: str) -> bytes | None:
        """Return the value under ``key``, or None. Raises ``StoreUnavailable``, ``CorruptRecord``."""
        entry = self.peek(key, self._clock.monotonic())
        if entry is not None:
            return entry.raw
        self.misses += 1
        if self._failures and (noted := self._failures.pop(key, None)) and self._clock.monotonic() <= noted[1]:
            raise noted[0]
        flight = self._flights.get(key)
        if flight is None:
            flight = self._depart(key)
        answer: asyncio.Future[bytes | None] = self._loop().create_future()
        flight.waiting.append(answer)
        return await answer

    def note_failure(self, key: str, error: StoreUnavailable | CorruptRecord) -> None:
        """Pass the failure of a read on to the next reader of ``key``, which would otherwise wait in vain too."""
        self._failures[key] = error, self._clock.monotonic() + FAILURE_LIFE
        if len(self._failures) > FAILURES:
            del self._failures[next(iter(self._failures))]

    def peek(self, key: str, now: float) -> Entry | None:
        """Return the cached entry of ``key`` if it may be used at ``now`` (monotonic), or None. Never waits."""
        entry = self._entries.get(key)
        if entry is None or now > self._usable_until or now - entry.asked > MAX_AGE:
            return None
        self.hits += 1
        return entry

    def forget(self, key: str) -> None:
        """Drop the value of ``key``, because it has changed or is about to."""
        self._drop(key)
        flight = self._flights.pop(key, None)  # later callers must not get its result
        if flight is not None:
            flight.overtaken = True

    def flush(self) -> None:
        """Drop everything."""
        self._complete_until = self._usable_until = _NEVER
        self._entries.clear()
        self._size = 0
        for flight in self._flights.values():
            flight.overtaken = True
        self._flights.clear()

    @staticmethod
    def _loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    # --- asking the store ----------------------------------------------------------------------------------------

    def _depart(self, key: str) -> _Flight:
        flight = self._flights[key] = _Flight()
        self._pending.append((key, flight))
        if self._departure is None:
            # The read waits for the keys of the other callers of this turn. While a batch is on its way, it waits for
            # further keys, up to LINGER seconds.
            loop = self._loop()
            self._departure = loop.call_later(LINGER, self._send) if self._batches else loop.call_soon(self._send)
        return flight

    def _send(self) -> None:
        if self._departure is not None:
            self._departure.cancel()
            self._departure = None
        pending, self._pending = self._pending, []
        for start in range(0, len(pending), BATCH):
            task = self._loop().create_task(self._read(pending[start : start + BATCH]))
            self._batches.add(task)
            task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        if not task.cancelled():
            task.exception()  # each waiter got the error already
        if self._pending and not self._batches:
            self._send()

    async def _read(self, flights: list[tuple[str, _Flight]]) -> None:
        """Fetch keys and resolve their waiters; an error is passed to each waiter too."""
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
            if isinstance(raw, StoreUnavailable | CorruptRecord):
                self._drop(key)
                for answer in flight.waiting:
                    if not answer.done():
                        answer.set_exception(raw)
                continue
            if not flight.overtaken and self._limit and self._complete_until > _NEVER:
                self._remember(key, raw, asked)
            for answer in flight.waiting:
                if not answer.done():
                    answer.set_result(raw)

    def _land(self, key: str, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _remember(self, key: str, raw: bytes | None, asked: float) -> None:
        self._drop(key)
        if raw is not None and len(raw) > LONGEST:
            return
        self._entries[key] = Entry(raw, asked)  # at the end: entries are in the order of requests
        self._size += size_of(key, raw)
        while self._size > self._limit:
            # Several at once: removing a dictionary's first item repeatedly scans all removed slots each time.
            for oldest in list(islice(self._entries, 1 + len(self._entries) // 100)):
                self._drop(oldest)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= size_of(key, entry.raw)

    # --- following changes ---------------------------------------------------------------------------------------

    def follow(self, background: Background) -> None:
        """Follow changes, without end."""
        if not self.enabled:
            return
        # The pause is in real time, like that of the connection.
        background.start("near cache notices", self._follow, longest=RETRY, sleep=asyncio.sleep)
        background.every("near cache proof", PROOF_INTERVAL, self._prove, longest=RETRY)

    async def _follow(self, unit: Unit) -> None:
        try:
            async with aclosing(self._store.track(self._prefixes, HEARTBEAT)) as changes:
                async for change in changes:
                    if change.keys is None:
                        self.flush()
                    else:
                        for key in change.keys:
                            self._changed(key)
                    if change.complete_since is not None:
                        if self._complete_until == _NEVER:
                            self.flush()  # reads in progress may have started before changes were followed
                            await self._prove()
                        complete_until = self._clock.monotonic() - change.complete_since
                        self._complete_until = max(self._complete_until, complete_until)
                        unit.works()
                    self._usable_until = min(self._complete_until + HEARTBEAT, self._proven_at + PROOF)
        finally:
            self.flush()

    def _changed(self, key: str) -> None:
        if key != self._own:
            self.forget(key)
        elif self._unproven is not None:
            self._proven_at, self._unproven = self._unproven, None

    async def _prove(self) -> None:
        """Write this process's key. Its report proves that reports come from the server that receives the writes."""
        self._drop_aged()
        if self._unproven is None:
            self._unproven = self._clock.monotonic()
        await self._store.touch(self._own, ttl=PROOF_LIFE)

    def _drop_aged(self) -> None:
        """Drop the values that are too old to be used."""
        now = self._clock.monotonic()
        aged = []
        for key, entry in self._entries.items():  # the oldest first, so that the scan ends early
            if now - entry.asked <= MAX_AGE:
                break
            aged.append(key)
        for key in aged:
            self._drop(key)


def _given_up() -> StoreUnavailable:
    return StoreUnavailable(detail="the service is stopping")
