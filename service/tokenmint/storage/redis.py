"""The store: keys and values in Redis (or Valkey).

Values are bytes under prefixed keys. A change is a compare-and-swap of one whole value, so related facts live in one
value, and no script needs to know a schema. If the server can, it confirms each promised write as durable; an
unconfirmed write is :class:`OutcomeUnknown`. Only this package knows the driver's errors.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import redis.asyncio as driver
import structlog
from redis.exceptions import InvalidResponse

from tokenmint.base.errors import CorruptRecord, OutcomeUnknown, StoreUnavailable
from tokenmint.storage import durability, listening, reading, scripts, urls
from tokenmint.storage.confirmed import ConfirmedWrites, each_made
from tokenmint.storage.feed import NOTHING, Feed
from tokenmint.storage.listening import Notice
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.reading import Answer, Reading
from tokenmint.storage.replies import glob_escape, members_of, number, taken, value_of
from tokenmint.storage.server import Server, packed, seconds
from tokenmint.storage.tracking import Changes, Tracking, reports_of

log = structlog.get_logger(__name__)

USUAL: Final = StoreOptions()
NODES_AT_ONCE: Final = 16  # changes that are sent to a Cluster's nodes at a time
T = TypeVar("T")
Change: TypeAlias = tuple[str, bytes | None, bytes | None]
"""A change among several: the key, its expected value (None: absent), and its new one (None: delete it)."""


class Store:
    """Keys and values with confirmed compare-and-swap. Made by :meth:`open`, ended by :meth:`close`."""

    def __init__(self, url: urls.StoreUrl, prefix: str, options: StoreOptions) -> None:
        self.prefix = prefix
        self.url = url
        self.options = options
        self.server = Server(url, options)
        self._writes = ConfirmedWrites(self.server, options)
        self._fence: _Fence | None = None
        self._feed = NOTHING

    @classmethod
    async def open(cls, url: str, *, prefix: str = "tm:", options: StoreOptions = USUAL) -> "Store":
        """Connect and check that the server keeps its data.

        Raises:
            ConfigurationError: the URL is not valid, the server evicts keys, or refuses the credentials.
            StoreUnavailable: the server can't be reached.
        """
        store = cls(urls.parse(url), prefix, options)
        try:
            store._writes.confirms_log = await store.server.check()
        except BaseException:
            await store.close()
            raise
        if not store.confirms_log:
            log.warning(
                "the store does not confirm writes to disk", version=store.server.version, durability=store.durability
            )
        return store

    # --- reading -------------------------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes | None:
        """Return the value under ``key`` (without prefix), or None. Raises ``CorruptRecord`` for another type."""
        with self.server.translated(writes=False, record=self.prefix + key):
            async with asyncio.timeout(self.options.read_timeout):
                return value_of(await self.server.client.get(self.prefix + key))

    def expect(self, key: str, numbers: range, noticed: Callable[[], object]) -> None:
        """Trust :meth:`current`, :meth:`get_many`, :meth:`add` only while the number under ``key`` is in ``numbers``.

        A smaller number proves that the store lost changes; a far larger one, that another process has detected a loss.
        Then a missing value proves nothing, and ``noticed`` is called. Not in a Cluster: each node can lose changes
        alone, and the number is on one of them.
        """
        if not self.server.clustered:
            self._fence = _Fence(self.prefix + key, numbers, noticed)

    def note_changes(self, feed: Feed) -> None:
        """Note changes in streams from now on; not in a Cluster, where no step spans its nodes."""
        self._feed = NOTHING if self.server.clustered else feed

    async def current(self, key: str) -> bytes | None:
        """Return the value under ``key``, or None, from a store that lost nothing as far as :meth:`expect` can tell."""
        fence = self._fence  # the range when the command leaves: the number may grow before the answer
        if fence is None:
            return await self.get(key)
        command = packed(("GET", self.prefix + key)) + packed(("MGET", fence.key))  # which refuses no type
        with self.server.translated(writes=False, record=self.prefix + key):
            async with asyncio.timeout(self.options.read_timeout):
                try:
                    value, beat = await self.server.ask(command, 2)
                except driver.ConnectionError:  # a pooled connection may be dead; retry on another one
                    value, beat = await self.server.ask(command, 2)
            value = value_of(value)
        self._check_fence(fence, beat)
        return value

    def _check_fence(self, fence: "_Fence", beat: object, *, wrote: bool = False) -> None:
        if number(beat[0] if isinstance(beat, list) and beat else None) not in fence.numbers:
            fence.noticed()
            failure = OutcomeUnknown if wrote else StoreUnavailable
            raise failure(detail=f"{self.url.describe()} lost changes: its data is older than before")

    async def get_many(self, keys: Sequence[str], *, fenced: bool = True) -> list[Answer]:
        """Return the values under ``keys``, as :meth:`read_many`."""
        return (await self.read_many(keys, fenced=fenced)).values

    async def read_many(self, keys: Sequence[str], *, fenced: bool = True) -> Reading:
        """Return the values under ``keys`` (without prefix), in one round trip to each server that has some of them.

        ``fenced``: of a store that lost nothing, as far as :meth:`expect` can tell. For a refused key, its error is the
        result: ``CorruptRecord`` for a value of another type. Raises ``StoreUnavailable``.
        """
        if self.server.clustered:
            full = [self.prefix + key for key in keys]
            one = lambda index: self._get_or_error(keys[index])  # noqa: E731
            return await reading.read_nodes(self.server, full, one, self.options.read_timeout)
        fence = self._fence if fenced else None
        asked = [self.prefix + key for key in keys] + ([fence.key] if fence is not None else [])
        command = packed(("MGET", *asked))
        values: list[Answer]
        with self.server.translated(writes=False):
            async with asyncio.timeout(self.options.read_timeout):
                try:
                    [values], node = await self.server.ask_and_tell(command)
                except driver.ConnectionError:  # a pooled connection may be dead; retry on another one
                    [values], node = await self.server.ask_and_tell(command)
                if len(values) != len(asked):
                    raise InvalidResponse("the number of values differs from the number of keys")
                values = [value_of(value) for value in values]
        if fence is not None:
            self._check_fence(fence, [values.pop()])
        nodes = [node] * len(keys)
        # MGET returns nil for wrong-typed keys; reading that as "no profile" could admit a user, so check again.
        absent = [index for index, value in enumerate(values) if value is None]
        if len(absent) > 1:
            with self.server.translated(writes=False):
                async with asyncio.timeout(self.options.read_timeout):
                    count = ("EXISTS", *(self.prefix + keys[index] for index in absent))
                    [existing] = await self.server.ask(packed(count))
            absent = absent if existing else []
        for index in absent:
            values[index] = await self._get_or_error(keys[index])
            if values[index] is not None:  # perhaps of another server than the other values
                nodes[index] = reading.UNKNOWN
        return Reading(values, nodes)

    async def _get_or_error(self, key: str) -> Answer:
        try:
            return await self.get(key)
        except (StoreUnavailable, CorruptRecord) as error:
            return error

    async def scan(self, pattern: str, cursor: str, count: int) -> tuple[str, list[str]]:
        """Return the next cursor ("" at the end) and some keys (without prefix) that match the pattern ``pattern``."""
        match = glob_escape(self.prefix) + pattern
        with self.server.translated(writes=False):
            next_cursor, keys = await self.server.scan(match, cursor, count)
            return next_cursor, [key.decode().removeprefix(self.prefix) for key in keys]

    async def time(self) -> float:
        """Return the server's clock, Unix seconds: the one clock that all replicas share."""
        with self.server.translated(writes=False):
            async with asyncio.timeout(self.options.read_timeout):
                return await self.server.time()

    async def clock_of(self, key: str) -> float:
        """Return the clock of the server that holds ``key``, in Unix seconds. Raises ``StoreUnavailable``."""
        return await self._evaluate("return redis.call('TIME')", key, read=seconds)

    async def ping(self) -> None:
        """Raise ``StoreUnavailable`` unless the server answers."""
        await self.time()

    # --- writing -------------------------------------------------------------------------------------------------

    async def swap(
        self,
        key: str,
        expected: bytes | None,
        new: bytes,
        *,
        channel: str = "",
        notice: str = "",
        durable: bool = True,
        ttl: float | None = None,
        until: float | None = None,
    ) -> bool:
        """Set ``key`` to ``new`` if its value is ``expected`` (None: absent), for ``ttl`` seconds, and confirm it.

        With ``channel`` (without prefix) the same step publishes ``notice``. After ``until``, by the key's
        :meth:`clock_of`, it sets nothing. Returns whether it was set.

        Raises:
            StoreUnavailable: nothing was changed; ``CorruptRecord``: nor then, as the value is of another type.
            OutcomeUnknown: it may or may not have been changed, or is not yet durable.
        """
        if not new:
            raise ValueError("an empty value stands for an absent one")
        full_channel = self.prefix + channel if channel else ""
        life = str(max(1, round(ttl * 1000))) if ttl is not None else ""
        limit = f"{until:.6f}" if until is not None else ""
        streams, noted = self._feed.one(self.prefix, key, new)
        keys = (str(1 + len(streams)), self.prefix + key, *streams)
        values: tuple[str | bytes, ...] = (expected or b"", new, full_channel, notice, life, limit, *noted)
        reply = await self._write(key, ("EVAL", scripts.SWAP, *keys, *values), durable=durable)
        return bool(reply)

    async def swap_many(self, changes: Sequence[Change], *, durable: bool = True, noted: bool = True) -> list[bool]:
        """Make each change (key, expected, new) as :meth:`swap` does, all with one confirmation; None deletes the key.
        Only what is ``noted`` goes into the streams of :meth:`note_changes`.

        Returns which were made. In a Cluster each change is confirmed by its own node. Raises: as :meth:`swap`, where
        some may have been made.
        """
        if not changes:
            return []
        if not self.server.clustered:
            return await self._swap_together(changes, self._feed if noted else NOTHING, durable=durable)
        made: list[bool] = []
        for start in range(0, len(changes), NODES_AT_ONCE):
            some = (self._swap_together([one], NOTHING, durable=True) for one in changes[start : start + NODES_AT_ONCE])
            made += [answer[0] for answer in await asyncio.gather(*some)]
        return made

    async def _swap_together(self, changes: Sequence[Change], feed: Feed, *, durable: bool) -> list[bool]:
        streams, notes = feed.many(self.prefix, [(key, new) for key, _, new in changes])
        keys = [*(self.prefix + key for key, _, _ in changes), *streams]
        values = [value or b"" for _, expected, new in changes for value in (expected, new)]
        command: tuple[str | bytes, ...] = ("EVAL", scripts.SWAP_MANY, str(len(keys)), *keys, *values, *notes)
        replies = await self._write(changes[0][0], command, durable=durable)
        with self.server.translated(writes=True, counted=False):
            return each_made(replies, len(changes))

    async def confirm(self, key: str) -> bool:
        """Confirm the value that ``key`` has, which an earlier attempt may have left unconfirmed. Returns whether it
        has one. Raises: as :meth:`swap`.
        """
        return bool(await self._write(key, ("EVAL", scripts.CONFIRM, "1", self.prefix + key)))

    async def add(self, key: str, value: bytes, *, ttl: float) -> bytes | None:
        """Set ``key`` for ``ttl`` seconds unless it has a value, and confirm it. Returns the value it had, or None.

        Raises: as :meth:`swap`. Of a store that lost changes, as :meth:`expect` tells, ``StoreUnavailable`` where the
        key has a value, and ``OutcomeUnknown`` where it was set: it is there, and may be gone once the loss is mended.
        """
        fence = self._fence
        command = ("SET", self.prefix + key, value, "NX", "GET", "PX", str(max(1, round(ttl * 1000))))
        if fence is None:
            reply: bytes | None = await self._write(key, command)
            return reply
        # The number comes first: otherwise another process that repairs a loss meanwhile could hide it.
        beat, reply = await self._writes.send(self.prefix + key, ("MGET", fence.key), command)
        self._check_fence(fence, beat, wrote=reply is None)
        return reply

    async def count(self, key: str, by: int) -> int:
        """Add ``by`` to the number under ``key``, and confirm it. Returns the sum.

        Raises: as :meth:`swap`, and ``CorruptRecord`` if it is no number.
        """
        total = await self._write(key, ("EVAL", scripts.COUNT, "1", self.prefix + key, str(by)))
        if total is None:
            raise CorruptRecord(detail=f"{self.prefix}{key}: not a number")
        return int(total)

    async def append(
        self, key: str, entries: Sequence[bytes], *, most_entries: int, most_bytes: int, durable: bool
    ) -> None:
        """Append to the stream ``key``, which keeps about ``most_entries`` and ``most_bytes``, and drops the oldest.

        Raises: as :meth:`swap`.
        """
        limits = (str(most_entries), str(most_bytes))
        await self._write(key, ("EVAL", scripts.APPEND, "1", self.prefix + key, *limits, *entries), durable=durable)

    async def run(self, script: str, keys: Sequence[str], *arguments: str | bytes, durable: bool) -> Any:
        """Run a script that writes ``keys``, which are all in one slot, and confirm it. Returns its answer.

        Raises: as :meth:`swap`.
        """
        names = (self.prefix + key for key in keys)
        return await self._write(keys[0], ("EVAL", script, str(len(keys)), *names, *arguments), durable=durable)

    async def take(self, key: str, *, rate: float, burst: int, least: int, most: int) -> tuple[int, float]:
        """Take ``least`` to ``most`` tokens from the bucket ``key``, which holds ``burst`` and gains ``rate`` a second.

        Returns the number taken, and 0; or 0, and the seconds until the least is available. Not confirmed: a lost
        bucket counts as a full one.

        Raises:
            StoreUnavailable: the bucket can't be reached.
        """
        return await self._evaluate(scripts.TAKE, key, repr(rate), burst, least, most, read=taken)

    async def join(self, key: str, member: str, value: str, *, ttl: float) -> None:
        """Count ``member`` with ``value`` in the group ``key`` for ``ttl`` seconds. Not confirmed, because it is
        repeated.

        Raises:
            StoreUnavailable: it may or may not count.
        """
        await self._evaluate(scripts.JOIN, key, member, round(ttl * 1000), value, read=lambda _: None)

    async def touch(self, key: str, *, ttl: float) -> None:
        """Write ``key``, for ``ttl`` seconds, so that :meth:`track` reports it. The write is not confirmed; its report
        is enough.

        Raises:
            StoreUnavailable: it may or may not be written.
        """
        with self.server.translated(writes=False):
            async with asyncio.timeout(self.options.read_timeout):
                await self.server.client.set(self.prefix + key, b"1", px=round(ttl * 1000))

    async def members(self, key: str) -> dict[str, str]:
        """Return the live members of the group ``key``, with their values. Raises ``StoreUnavailable``."""
        return await self._evaluate(scripts.MEMBERS, key, read=members_of)

    async def lease(self, key: str, holder: str, *, ttl: float, above: int) -> int:
        """Take or renew the lease ``key`` for ``ttl`` seconds. Returns its fencing token, or 0 if it is taken.

        The token is greater than every earlier holder's, and than ``above``. So a write with a smaller token comes from
        an outdated holder.

        Raises:
            StoreUnavailable: the lease may or may not be held.
        """
        return await self._evaluate(scripts.LEASE, key, holder, round(ttl * 1000), above, read=int)

    async def _evaluate(self, script: str, key: str, *arguments: str | int, read: Callable[[Any], T]) -> T:
        """Run a script and ``read`` its answer. An answer of another form counts as a store failure."""
        with self.server.translated(writes=False):
            async with asyncio.timeout(self.options.read_timeout):
                return read(await self.server.client.eval(script, 1, self.prefix + key, *arguments))

    async def _write(self, key: str, *writes: tuple[str | bytes, ...], durable: bool = True) -> Any:
        return (await self._writes.send(self.prefix + key, *writes, durable=durable))[0]

    # --- listening -----------------------------------------------------------------------------------------------

    def listen(self, channel: str) -> AsyncGenerator[Notice, None]:
        """Yield the messages on ``channel`` (without prefix). Close the generator when done (``aclosing``).

        Begins with an empty notice after the subscription. Raises ``StoreUnavailable`` if the connection breaks.
        """
        return listening.listen(self.server.listening_client, self.prefix + channel, self.url)

    def track(self, prefixes: Sequence[str], heartbeat: float) -> AsyncGenerator[Changes, None]:
        """Yield the changed keys that begin with ``prefixes`` (without the store's own prefix).

        Begins when every later change is certain to be reported. Each server yields at least every ``heartbeat``
        seconds, without keys if nothing changed. Close the generator when done. In a Cluster each primary reports by
        itself, and begins and ends alone.

        Raises ``StoreUnavailable`` if the connection breaks or is silent; later changes are then not reported.
        """
        limit = self.options.read_timeout
        return reports_of(self.server, Tracking(self.url, self.prefix, prefixes, heartbeat, limit))

    # --- life ----------------------------------------------------------------------------------------------------

    @property
    def confirms_log(self) -> bool:
        """Whether the server confirms that a change is in its append-only file."""
        return self._writes.confirms_log

    @property
    def durability(self) -> str:
        """The guarantee of a confirmed write on this server, in words for the operator."""
        return durability.durability(self.server.appendfsync, self.options.min_replicas, confirms_log=self.confirms_log)

    @property
    def weakness(self) -> str:
        """The ways in which writes are less durable or slower than they could be, for the operator; "" if in none."""
        return durability.weakness(self.server.appendfsync, self.options.min_replicas, confirms_log=self.confirms_log)

    async def close(self) -> None:
        """Close every connection, and ignore those that can't be closed."""
        await self.server.close()


@dataclass(frozen=True, slots=True)
class _Fence:
    """The number that proves that the store lost nothing, and the callback for a number that does not match."""

    key: str
    numbers: range
    noticed: Callable[[], object]
