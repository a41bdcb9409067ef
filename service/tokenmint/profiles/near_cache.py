"""The near cache: this process's copy of the store's profiles and identities, with the conditions for its use.

The store reports every change on a connection of its own (server-assisted invalidation), in a Cluster each primary
(`Lane`). A cached value is used

- only while that connection is alive: a heartbeat shows that all changes until a second ago were reported;
- only while it reports what other connections write: a key of this process, which is written every second, was
  reported not more than 5 s ago. After a failover, or behind a proxy, the two may lead to different servers;
- only if it was read from the server that reports, and, in a Cluster, while that server claims the key's slot;
- for at most a minute after it was requested, regardless of reports;
- only if no change of its key was reported while it was on its way: a late reply never overwrites an invalidation.

When the connection breaks, its server's values are dropped, and the store is asked each time until it reports changes
again. Concurrent misses are fetched together.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from itertools import islice
from typing import Final

from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.profiles.near_entries import NEVER, Entry, Lane, Noted, Place, place_of, size_of
from tokenmint.storage.redis import Store
from tokenmint.storage.slots import Slots
from tokenmint.storage.tracking import Changes

MAX_AGE: Final = 60.0  # seconds for which a value is used after it was requested
HEARTBEAT: Final = 1.0  # seconds without a report of the store after which no value is used
PROOF: Final = 5.0  # seconds without a report of this process's own key after which no value is used
PROOF_INTERVAL: Final = 1.0  # seconds between writes of that key
UNREPORTED: Final = 6  # writes of that key without a report after which another connection is made
PROOF_LIFE: Final = 30.0  # seconds for which the store keeps it
RETRY: Final = 0.5  # seconds at most between attempts to follow changes
BATCH: Final = 500  # keys in one round trip
LONGEST: Final = 64 * 1024  # bytes of a cached value
PROFILE: Final = 1280  # bytes for which a profile of usual length counts, with its identity
FAILURE_LIFE: Final = 1.0  # seconds for which a noted failure is passed on to the next reader
FAILURES: Final = 1024  # noted failures
LINGER: Final = 0.002  # seconds that a key waits for others while a read is in progress


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
        self._limit = size
        self._size = 0
        self._clock = clock
        self._entries: dict[Place, Entry] = {}
        self._flights: dict[str, _Flight] = {}
        self._pending: list[tuple[str, _Flight]] = []
        self._departure: asyncio.Handle | None = None
        self._lanes: dict[str, Lane] = {}
        """By server, those that report changes now."""
        self._failing: dict[str, StoreUnavailable] = {}
        """The servers of several that should report, and do not."""
        self._batches: set[asyncio.Task[None]] = set()
        self._proofs: set[asyncio.Task[None]] = set()
        self._failures: dict[str, tuple[StoreUnavailable | CorruptRecord, float]] = {}
        self.hits = self.misses = 0  # reads from memory and from the store, since the start

    @property
    def enabled(self) -> bool:
        """Whether values are cached at all."""
        return self._limit > 0

    @property
    def live(self) -> bool:
        """Whether the values of every server may be used now."""
        now = self._clock.monotonic()
        lanes = self._lanes.values()
        return bool(lanes) and not self._failing and all(now <= lane.usable_until for lane in lanes)

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
        return self.peek_at(place_of(key), now)

    def peek_at(self, place: Place, now: float) -> Entry | None:
        """Return the entry that :meth:`peek` returns for a key in this ``place``."""
        entry = self._entries.get(place)
        if entry is None:
            return None
        reading = entry.reading
        if now > reading.lane.usable_until or now - reading.asked > MAX_AGE:
            return None
        self.hits += 1
        return entry

    def note(self, place: Place, entry: Entry, memo: object) -> None:
        """Keep a reader's result with the entry that it read, unless another one has taken its place."""
        if self._entries.get(place) is entry:
            self._entries[place] = Noted(entry, memo)  # the order of entries stays

    def forget(self, key: str) -> None:
        """Drop the value of ``key``, because it has changed or is about to."""
        self._drop(place_of(key))
        flight = self._flights.pop(key, None)  # later callers must not get its result
        if flight is not None:
            flight.overtaken = True

    def flush(self) -> None:
        """Drop everything."""
        for node in list(self._lanes):
            self._end(node)
        self._overtake()
        self._entries.clear()
        self._size = 0

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
        values, nodes = await self._store.read_many([key for key, _ in flights])
        for (key, flight), raw, node in zip(flights, values, nodes, strict=True):
            self._land(key, flight)
            if isinstance(raw, StoreUnavailable | CorruptRecord):
                self._drop(place_of(key))
                for answer in flight.waiting:
                    if not answer.done():
                        answer.set_exception(raw)
                continue
            lane = self._lanes.get(node)
            if lane is not None and not flight.overtaken and self._limit and lane.complete_until > NEVER:
                self._remember(key, raw, asked, lane)
            for answer in flight.waiting:
                if not answer.done():
                    answer.set_result(raw)

    def _land(self, key: str, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _remember(self, key: str, raw: bytes | None, asked: float, lane: Lane) -> None:
        place = place_of(key)
        self._drop(place)
        if (raw is not None and len(raw) > LONGEST) or (lane.slots is not None and not lane.slots.serve(key)):
            return
        self._entries[place] = Entry(raw, lane.reading_at(asked))  # at the end: entries are in the order of requests
        self._size += size_of(place, raw)
        while self._size > self._limit:
            # Several at once: removing a dictionary's first item repeatedly scans all removed slots each time.
            for oldest in list(islice(self._entries, 1 + len(self._entries) // 100)):
                self._drop(oldest)

    def _drop(self, place: Place) -> None:
        entry = self._entries.pop(place, None)
        if entry is not None:
            self._size -= size_of(place, entry.raw)

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
                    self._note(change)
                    if self._failing:
                        if change.lost is not None:
                            unit.fails(change.lost)
                    elif change.complete_since is not None:
                        unit.works()
        finally:
            for proof in self._proofs:
                proof.cancel()
            self._failing.clear()
            self.flush()

    def _note(self, change: Changes) -> None:
        """Heed a report. Raises ``StoreUnavailable`` if another server than the reporting one is written to."""
        node = change.node
        if change.lost is not None or change.over:
            self._end(node)
            self._failing.pop(node, None)
            if change.lost is not None:
                self._failing[node] = change.lost
            return
        now = self._clock.monotonic()
        lane = self._lanes.get(node)
        if change.keys is None or (lane is not None and change.slots not in (None, lane.slots)):
            # Everything may have changed, or its slots did: a value may be another server's now.
            self._end(node)
            lane = None
        for key in change.keys or ():
            if lane is not None and key == lane.own and lane.unproven is not None:
                lane.proven_at, lane.unproven, lane.unreported = lane.unproven, None, 0
            elif not key.startswith(self._own):
                self.forget(key)
        if change.complete_since is not None:
            if lane is None:
                lane = self._begin(node, change.slots)
            lane.complete_until = max(lane.complete_until, now - change.complete_since)
            self._failing.pop(node, None)
        if lane is None:
            return
        lane.usable_until = min(lane.complete_until + HEARTBEAT, lane.proven_at + PROOF)
        if lane.slots is None and lane.unreported > UNREPORTED:
            # A new connection leads to the server that is written to. In a Cluster, the slots tell which one that is.
            where = self._store.url.describe()
            raise StoreUnavailable(detail=f"{where}: a server reports changes, and another one takes them")

    def _begin(self, node: str, slots: Slots | None) -> Lane:
        self._overtake()  # reads in progress may have started before changes were followed
        own = self._own if slots is None else slots.name_within(self._own)
        lane = self._lanes[node] = Lane(own, slots)
        proof = self._loop().create_task(self._prove_lane(lane))
        self._proofs.add(proof)
        proof.add_done_callback(self._proved)
        return lane

    def _proved(self, proof: asyncio.Task[None]) -> None:
        self._proofs.discard(proof)
        if not proof.cancelled():
            proof.exception()  # it is tried again, and that failure is reported

    def _end(self, node: str) -> None:
        """Use no value of a server any more. Its values are dropped as they are met, or age."""
        lane = self._lanes.pop(node, None)
        if lane is not None:
            lane.usable_until = NEVER
            self._overtake()
        if not self._lanes:
            self._entries.clear()
            self._size = 0

    def _overtake(self) -> None:
        for flight in self._flights.values():
            flight.overtaken = True
        self._flights.clear()

    async def _prove(self) -> None:
        """Write this process's keys. Their reports prove that they come from the servers that receive the writes."""
        self._drop_aged()
        lanes = list(self._lanes.values())
        outcomes = await asyncio.gather(*map(self._prove_lane, lanes), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _prove_lane(self, lane: Lane) -> None:
        if lane.own is None:
            return
        if lane.unproven is None:
            lane.unproven = self._clock.monotonic()
        await self._store.touch(lane.own, ttl=PROOF_LIFE)
        lane.unreported += 1

    def _drop_aged(self) -> None:
        """Drop the values that are too old to be used."""
        now = self._clock.monotonic()
        aged = []
        for place, entry in self._entries.items():  # the oldest first, so that the scan ends early
            if now - entry.reading.asked <= MAX_AGE:
                break
            aged.append(place)
        for place in aged:
            self._drop(place)


def _given_up() -> StoreUnavailable:
    return StoreUnavailable(detail="the service is stopping")
