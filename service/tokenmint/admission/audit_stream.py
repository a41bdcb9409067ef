"""Writing a stream of the audit trail: events that wait for it, and the shards that it is spread over.

A batch goes to one shard, the next batch to the next shard. A shard that fails is left out for a while, and its batch
goes to another one: the stream fails if all shards do. An event whose shard did not confirm it in time may be in two of
them then, as it may be in one stream twice.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import structlog

from tokenmint.base.errors import CorruptRecord, StoreUnavailable, TokenmintError
from tokenmint.storage import merging, scripts, streams
from tokenmint.storage.redis import Store
from tokenmint.storage.shards import place_of

log = structlog.get_logger(__name__)

BATCH: Final = 200  # events written to the store together
BATCH_BYTES: Final = 256 * 1024
REST: Final = 5.0  # seconds for which a shard that failed is left out, while others work; doubles up to ...
LONGEST_REST: Final = 60.0
PATIENCE: Final = 10.0  # seconds after which a batch is tried with no further shard
LAST_ATTEMPT: Final = 0.25  # seconds for which a batch waits for one of several shards while the process stops
DROPPED_AT_ONCE: Final = 500  # outdated entries of a shard
ROUNDS: Final = 20  # of a shard, each time


@dataclass(frozen=True, slots=True)
class Size:
    """The limits of a stream: in the store, for all of its shards together, and of the events that wait for it."""

    events: int
    size: int
    """In bytes."""
    waiting_events: int
    waiting_bytes: int


@dataclass(slots=True)
class _Shard:
    key: str
    failure: str = ""
    """The reason why the last batch did not reach it; "" otherwise."""
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0


class AuditStream:
    """A stream and the events that wait for it.

    Args:
        keys: its shards, one or more.
        size: its limits. Each shard has an equal part of those in the store.
        monotonic: a clock.
    """

    def __init__(self, keys: Sequence[str], size: Size, monotonic: Callable[[], float]) -> None:
        self._shards = [_Shard(key) for key in keys]
        self._limits = {"most_entries": -(-size.events // len(keys)), "most_bytes": -(-size.size // len(keys))}
        self._size = size
        self._monotonic = monotonic
        self._turn = 0
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self.dropped = 0
        self.failure = ""
        """The reason why no shard took the last queued batch; "" otherwise."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, line: bytes) -> bool:
        """Queue an event. Returns False without room: queued events are never displaced."""
        size = self._size
        if len(self._waiting) >= size.waiting_events or self._bytes + len(line) > size.waiting_bytes:
            self.dropped += 1
            return False
        self._waiting.append(line)
        self._bytes += len(line)
        return True

    @property
    def has_room(self) -> bool:
        """Whether half of the queue is free, so that a call that starts now still finds a place at its end."""
        size = self._size
        return 2 * len(self._waiting) < size.waiting_events and 2 * self._bytes < size.waiting_bytes

    @property
    def failing_shards(self) -> str:
        """The shards that fail while others work, for operators; "" if none does."""
        failing = [shard for shard in self._shards if shard.failure]
        if not failing or len(failing) == len(self._shards):
            return ""
        counted = f"{len(failing)} of {len(self._shards)} shards accept no events, which go to others"
        return f"{counted} ({failing[0].failure})"

    async def write(self, store: Store, lines: list[bytes], *, durable: bool, longest: float | None = None) -> None:
        """Append events to a shard, which has ``longest`` seconds if there are others.

        Raises as ``Store.append``, if no shard takes them.
        """
        started = self._monotonic()
        order = self._in_turn(started)
        for tried, shard in enumerate(order, start=1):
            try:
                async with asyncio.timeout(longest if len(order) > 1 else None):
                    await store.append(shard.key, lines, durable=durable, **self._limits)
            except TimeoutError:
                self._fails(shard, f"no answer in {longest} s")
                if tried == len(order):
                    raise StoreUnavailable(detail=shard.failure) from None
            except (StoreUnavailable, CorruptRecord) as error:
                self._fails(shard, error.detail or error.message)
                if tried == len(order) or self._monotonic() - started > PATIENCE:
                    raise
            except Exception as error:
                self._fails(shard, type(error).__name__)
                raise
            else:
                if shard.failure:
                    self._works(shard)
                return

    def _in_turn(self, now: float) -> list[_Shard]:
        """Return all shards: the next one in turn first, and at the end those that failed a moment ago."""
        if len(self._shards) == 1:
            return self._shards
        turn, self._turn = self._turn, (self._turn + 1) % len(self._shards)
        order = self._shards[turn:] + self._shards[:turn]
        return sorted(order, key=lambda shard: now < shard.rests_until)

    def _fails(self, shard: _Shard, reason: str) -> None:
        if not shard.failure and len(self._shards) > 1:
            log.warning("a shard of the audit stream accepts no events", shard=shard.key, error=reason)
        rest = min(REST * 2.0 ** min(shard.failures, 10), LONGEST_REST)  # an attempt may last as long as its time-out
        shard.failure, shard.failures, shard.rests_until = reason, shard.failures + 1, self._monotonic() + rest

    def _works(self, shard: _Shard) -> None:
        shard.failure, shard.failures, shard.rests_until = "", 0, 0.0
        if len(self._shards) > 1:
            log.info("a shard of the audit stream accepts events again", shard=shard.key)

    async def flush(self, store: Store, *, longest: float | None = None) -> None:
        """Append the queued events; ``longest`` is as in :meth:`write`.

        Raises as ``Store.append``; events that were not appended stay queued.
        """
        try:
            while self._waiting:
                batch = self._batch()
                await self.write(store, batch, durable=False, longest=longest)
                for line in batch:
                    if self._waiting and self._waiting[0] is line:
                        self._waiting.popleft()
                        self._bytes -= len(line)
        except Exception as error:
            ours = error.detail or error.message if isinstance(error, TokenmintError) else ""
            self.failure = ours or type(error).__name__
            raise
        self.failure = ""

    def _batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        for line in islice(self._waiting, BATCH):
            if batch and size + len(line) > BATCH_BYTES:
                break
            batch.append(line)
            size += len(line)
        return batch

    async def drop_outdated(self, store: Store, every_key: Sequence[str]) -> None:
        """Drop entries of shards that are not in use, as far as newer ones would have displaced them.

        Once each shard in use holds its part of the limits, newer events have displaced what is older than the oldest
        entry of each. That goes from the other shards too. A shard that lost its older entries to a replica with a
        smaller part is not full. Raises ``StoreUnavailable``, ``OutcomeUnknown``, ``CorruptRecord``.
        """
        used = [shard.key for shard in self._shards]
        others = [key for key in every_key if key not in used]
        left = [others[index] for index in await merging.present(store, others)]
        if not left:
            return
        oldest: list[str] = []
        for key in used:
            held = await streams.held(store, key)
            if held is None or not self._is_full(held):
                return
            oldest.append(held.oldest)
        place = min(oldest, key=place_of)
        for key in left:
            for _ in range(ROUNDS):
                gone = await store.run(scripts.DROP_BEFORE, [key], place, str(DROPPED_AT_ONCE), durable=False)
                if int(gone) < DROPPED_AT_ONCE:
                    break

    def _is_full(self, held: streams.Held) -> bool:
        return held.entries >= self._limits["most_entries"] or held.size >= self._limits["most_bytes"]
