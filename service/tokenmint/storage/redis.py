"""The store: a thin owner of the Redis (or Valkey) connections.

Values are bytes under prefixed keys. A change is a compare-and-swap of one whole value, so related facts live in one
value and no schema has to be known to a script. What an answer promises is confirmed as durable where the server can
say so; what was not confirmed is :class:`OutcomeUnknown`. Every driver error is translated in this package.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, TypeVar

import hiredis
import redis.asyncio as driver
import structlog
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import InvalidResponse, MovedError, ResponseError

from tokenmint.base.errors import ConfigurationError, OutcomeUnknown, StoreUnavailable
from tokenmint.base.foreign_text import clipped, quoted
from tokenmint.storage import listening, scripts, urls
from tokenmint.storage.connections import StoreOptions, cluster_client, sentinel_pool, server_pool, translated
from tokenmint.storage.listening import Changes, Notice

log = structlog.get_logger(__name__)

USUAL: Final = StoreOptions()
T = TypeVar("T")
Answer: TypeAlias = bytes | StoreUnavailable | None
"""What is under one of several keys: a value, nothing, or what can't be read."""


class Store:
    """Keys and values with confirmed compare-and-swap. Made by :meth:`open`, ended by :meth:`close`."""

    def __init__(self, url: urls.StoreUrl, prefix: str, options: StoreOptions) -> None:
        self.prefix = prefix
        self.url = url
        self.options = options
        self._confirms_log = False
        self._fence: _Fence | None = None
        self._cluster: RedisCluster | None = None
        self._pool: driver.ConnectionPool | None = None
        self._sentinel: Sentinel | None = None
        if url.kind == "cluster":
            self._cluster = cluster_client(url, options)
        elif url.kind == "sentinel":
            self._sentinel, self._pool = sentinel_pool(url, options)
        else:
            self._pool = server_pool(url, options)
        # One for all calls: making one takes longer than a read does.
        self._client: Any = self._cluster if self._cluster is not None else driver.Redis(connection_pool=self._pool)

    @classmethod
    async def open(cls, url: str, *, prefix: str = "tm:", options: StoreOptions = USUAL) -> "Store":
        """Connect and check that the server keeps what it is given.

        Raises:
            ConfigurationError: the URL is none, the server evicts keys, or refuses the credentials.
            StoreUnavailable: the server can't be reached.
        """
        store = cls(urls.parse(url), prefix, options)
        try:
            await store._check_server()
        except BaseException:
            await store.close()
            raise
        return store

    # --- reading -------------------------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes | None:
        """Return the value under ``key`` (without prefix), or None."""
        with self._translated(writes=False):
            async with asyncio.timeout(self.options.read_timeout):
                return _value(await self._client.get(self.prefix + key))

    def expect(self, key: str, numbers: range, noticed: Callable[[], object]) -> None:
        """Believe :meth:`current`, :meth:`get_many`, :meth:`add` only while the number under ``key`` is in ``numbers``.

        A smaller one proves that the store lost changes, a far larger one that another process has noticed it: nothing
        may be concluded from what the store lacks, and ``noticed`` is called. Not in a Cluster: its nodes lose each for
        itself, and the number is on one of them.
        """
        if self._cluster is None:
            self._fence = _Fence(self.prefix + key, numbers, noticed)

    async def current(self, key: str) -> bytes | None:
        """Return the value under ``key``, or None, of a store that has lost nothing, as far as :meth:`expect` tells."""
        fence = self._fence  # as it is when the command leaves: the number may grow until the answer comes
        if fence is None:
            return await self.get(key)
        command = _packed(("GET", self.prefix + key)) + _packed(("GET", fence.key))
        with self._translated(writes=False):
            async with asyncio.timeout(self.options.read_timeout):
                try:
                    value, beat = await self._ask(command, 2)
                except driver.ConnectionError:  # a pooled connection may be dead; once more, on another one
                    value, beat = await self._ask(command, 2)
            value, beat = _value(value), _value(beat)
        self._check_fence(fence, beat)
        return value

    def _check_fence(self, fence: "_Fence", beat: object) -> None:
        if not isinstance(beat, bytes) or not beat.isdigit() or int(beat) not in fence.numbers:
            fence.noticed()
            raise StoreUnavailable(detail=f"{self.url.describe()} lost changes: it is older than it was")

    async def get_many(self, keys: Sequence[str]) -> list[Answer]:
        """Return the values under ``keys`` (without prefix), in one round trip where they are on one server.

        A key that is refused (a value of another type) has its error in its place. Raises ``StoreUnavailable``.
        """
        if self._cluster is not None:
            return list(await asyncio.gather(*(self._get_or_error(key) for key in keys)))
        fence = self._fence
        asked = [self.prefix + key for key in keys] + ([fence.key] if fence is not None else [])
        command = _packed(("MGET", *asked))
        values: list[Answer]
        with self._translated(writes=False):
            async with asyncio.timeout(self.options.read_timeout):
                try:
                    [values] = await self._ask(command)
                except driver.ConnectionError:  # a pooled connection may be dead; once more, on another one
                    [values] = await self._ask(command)
                if len(values) != len(asked):
                    raise InvalidResponse("another number of values than of keys")
                values = [_value(value) for value in values]
        if fence is not None:
            self._check_fence(fence, values.pop())
        # MGET takes a value of another type for none, and who has no profile may be let in where a policy says so.
        absent = [index for index, value in enumerate(values) if value is None]
        if len(absent) == 1:
            values[absent[0]] = await self._get_or_error(keys[absent[0]])
        elif absent:
            with self._translated(writes=False):
                async with asyncio.timeout(self.options.read_timeout):
                    [existing] = await self._ask(_packed(("EXISTS", *(self.prefix + keys[index] for index in absent))))
            for index in absent if existing else ():
                values[index] = await self._get_or_error(keys[index])
        return values

    async def _get_or_error(self, key: str) -> Answer:
        try:
            return await self.get(key)
        except StoreUnavailable as error:
            return error

    async def _ask(self, commands: bytes, count: int = 1) -> list[Any]:
        """Send ``count`` packed commands and return their answers: the driver's own way costs three times as much."""
        pool: Any = self._pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(commands)
            answers = [await _reply(connection) for _ in range(count)]
        except BaseException:
            await connection.disconnect(nowait=True)  # an unread answer must not meet the next command
            raise
        finally:
            await pool.release(connection)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    async def scan(self, pattern: str, cursor: str, count: int) -> tuple[str, list[str]]:
        """Return the next cursor ("" at the end) and some keys (without prefix) that match the glob ``pattern``."""
        match = _glob_escape(self.prefix) + pattern
        with self._translated(writes=False):
            if self._cluster is not None:
                next_cursor, keys = await self._scan_cluster(match, cursor, count)
            else:
                position, keys = await self._client.scan(int(cursor or "0"), match=match, count=count)
                next_cursor = str(position) if int(position) else ""
            return next_cursor, [key.decode().removeprefix(self.prefix) for key in keys]

    async def _scan_cluster(self, match: str, cursor: str, count: int) -> tuple[str, list[bytes]]:
        cluster: Any = self._cluster
        await cluster.initialize()
        nodes = sorted(cluster.get_primaries(), key=lambda node: str(node.name))
        index, _, position = (cursor or "0:0").partition(":")
        if int(index) >= len(nodes):
            return "", []
        node: ClusterNode = nodes[int(index)]
        reply = await node.execute_command("SCAN", int(position), "MATCH", match, "COUNT", count)
        next_position, keys = reply
        if int(next_position):
            return f"{index}:{int(next_position)}", keys
        following = int(index) + 1
        return (f"{following}:0" if following < len(nodes) else ""), keys

    async def time(self) -> float:
        """Return the server's clock, Unix seconds: the one clock that all replicas share."""
        with self._translated(writes=False):
            async with asyncio.timeout(self.options.read_timeout):
                if self._cluster is not None:
                    await self._cluster.initialize()
                    node = min(self._cluster.get_primaries(), key=lambda node: str(node.name))
                    return _seconds(await node.execute_command("TIME"))
                return _seconds(await self._client.time())

    async def clock_of(self, key: str) -> float:
        """Return the clock of the server that ``key`` is on, Unix seconds. Raises ``StoreUnavailable``."""
        return await self._evaluate("return redis.call('TIME')", key, read=_seconds)

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
        """Set ``key`` to ``new`` where its value is ``expected`` (None: absent), for ``ttl`` seconds, and confirm it.

        With ``channel`` (without prefix) subscribers hear ``notice`` in the same step. After ``until``, by
        :meth:`clock_of` the key, nothing is set any more. Returns whether it was set.

        Raises:
            StoreUnavailable: nothing was changed.
            OutcomeUnknown: it may or may not have been changed, or is not yet durable.
        """
        if not new:
            raise ValueError("an empty value stands for an absent one")
        full_channel = self.prefix + channel if channel else ""
        life = str(max(1, round(ttl * 1000))) if ttl is not None else ""
        limit = f"{until:.6f}" if until is not None else ""
        reply = await self._write(
            key,
            ("EVAL", scripts.SWAP, "1", self.prefix + key, expected or b"", new, full_channel, notice, life, limit),
            durable=durable,
        )
        return bool(reply)

    async def add(self, key: str, value: bytes, *, ttl: float) -> bytes | None:
        """Set ``key`` for ``ttl`` seconds unless it has a value, and confirm it. Returns the value it had, or None.

        Raises: as :meth:`swap`, and ``StoreUnavailable`` of a store that lost changes, as :meth:`expect` tells.
        """
        fence = self._fence
        command = ("SET", self.prefix + key, value, "NX", "GET", "PX", str(max(1, round(ttl * 1000))))
        if fence is None:
            reply: bytes | None = await self._write(key, command)
            return reply
        # The number first: what another process makes of a loss meanwhile must not hide it.
        beat, reply = await self._write_all(key, ("GET", fence.key), command)
        self._check_fence(fence, beat)
        return reply

    async def count(self, key: str, by: int) -> int:
        """Add ``by`` to the number under ``key``, and confirm it. Returns the sum.

        Raises: as :meth:`swap`.
        """
        return int(await self._write(key, ("INCRBY", self.prefix + key, str(by))))

    async def append(
        self, key: str, entries: Sequence[bytes], *, most_entries: int, most_bytes: int, durable: bool
    ) -> None:
        """Append to the stream ``key``, which keeps about ``most_entries`` and ``most_bytes``: the oldest go.

        Raises: as :meth:`swap`.
        """
        limits = (str(most_entries), str(most_bytes))
        await self._write(key, ("EVAL", scripts.APPEND, "1", self.prefix + key, *limits, *entries), durable=durable)

    async def take(self, key: str, *, rate: float, burst: int, least: int, most: int) -> tuple[int, float]:
        """Take ``least`` to ``most`` tokens from the bucket ``key``, which holds ``burst`` and gains ``rate`` a second.

        Returns how many were taken, and 0; or 0, and the seconds after which the least could be. Not confirmed: a
        bucket that is lost is a full one.

        Raises:
            StoreUnavailable: the bucket can't be reached.
        """
        return await self._evaluate(scripts.TAKE, key, repr(rate), burst, least, most, read=_taken)

    async def join(self, key: str, member: str, value: str, *, ttl: float) -> None:
        """Count ``member`` with ``value`` in the group ``key`` for ``ttl`` seconds. Not confirmed: it is said again.

        Raises:
            StoreUnavailable: it may or may not count.
        """
        await self._evaluate(scripts.JOIN, key, member, round(ttl * 1000), value, read=lambda _: None)

    async def members(self, key: str) -> dict[str, str]:
        """Return who counts in the group ``key`` now, with their values. Raises ``StoreUnavailable``."""
        return await self._evaluate(scripts.MEMBERS, key, read=_members)

    async def lease(self, key: str, holder: str, *, ttl: float, above: int) -> int:
        """Take or renew the lease ``key`` for ``ttl`` seconds. Returns its fencing token, or 0 where another holds it.

        The token is greater than that of every holder before, and than ``above``: what is written under a smaller one
        comes from a holder that was overtaken.

        Raises:
            StoreUnavailable: the lease may or may not be held.
        """
        return await self._evaluate(scripts.LEASE, key, holder, round(ttl * 1000), above, read=int)

    async def _evaluate(self, script: str, key: str, *arguments: str | int, read: Callable[[Any], T]) -> T:
        """Run a script and ``read`` its answer: one that is not what the script returns is the store's failure."""
        with self._translated(writes=False):
            async with asyncio.timeout(self.options.read_timeout):
                return read(await self._client.eval(script, 1, self.prefix + key, *arguments))

    async def _write(self, key: str, *writes: tuple[str | bytes, ...], durable: bool = True) -> Any:
        return (await self._write_all(key, *writes, durable=durable))[0]

    async def _write_all(self, key: str, *writes: tuple[str | bytes, ...], durable: bool = True) -> list[Any]:
        commands = list(writes)
        milliseconds = str(round(self.options.write_timeout * 800))
        if not durable:
            pass
        elif self._confirms_log:
            commands.append(("WAITAOF", "1", str(self.options.min_replicas), milliseconds))
        elif self.options.min_replicas:
            commands.append(("WAIT", str(self.options.min_replicas), milliseconds))
        try:
            replies = await self._roundtrip(self.prefix + key, commands, follow=self._cluster is not None)
        except MovedError:
            await self.get(key)  # follows the redirection and learns the slot's new place
            try:
                replies = await self._roundtrip(self.prefix + key, commands)
            except MovedError:  # the cluster is on its way from one place to another
                raise StoreUnavailable(detail=f"{self.url.describe()}: MovedError") from None
        if len(replies) > len(writes):
            self._check_confirmed(replies[-1])
        return replies[: len(writes)]

    def _check_confirmed(self, reply: Any) -> None:
        with self._translated(writes=True):
            logged, replicas = map(int, reply if isinstance(reply, list) else (1, reply))
        if logged < 1 or replicas < self.options.min_replicas:
            raise OutcomeUnknown(
                detail=f"confirmed by {logged} local log(s) and {replicas} of {self.options.min_replicas} replica(s)"
            )

    async def _roundtrip(self, key: str, commands: list[tuple[str | bytes, ...]], *, follow: bool = False) -> list[Any]:
        """Send all commands on one connection: a confirmation speaks of its own connection's writes only."""
        packed = b"".join(map(_packed, commands))
        with self._translated(writes=True, follow=follow):  # also what giving the connection back raises
            async with contextlib.AsyncExitStack() as stack:
                with self._translated(writes=False):
                    async with asyncio.timeout(self.options.read_timeout):
                        connection = await self._checkout(key, stack)
                async with asyncio.timeout(self.options.write_timeout):
                    try:
                        await connection.send_packed_command(packed)
                        replies = [await _reply(connection) for _ in commands]
                    except BaseException:
                        # An unread reply must not meet the next user of the connection (redis-py CVE-2023-28858).
                        await connection.disconnect(nowait=True)
                        raise
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise reply
                return replies

    @contextlib.contextmanager
    def _translated(self, *, writes: bool, starting: bool = False, follow: bool = False) -> Iterator[None]:
        """As :func:`translated`. A cluster whose node is away is asked for its nodes again, before what comes next."""
        with translated(self.url, writes=writes, starting=starting, follow=follow):
            try:
                yield
            except (driver.ConnectionError, driver.TimeoutError, OSError, TimeoutError):
                if self._cluster is not None:
                    self._cluster._initialize = True  # noqa: SLF001  # as it does where it notices by itself
                raise

    async def _checkout(self, key: str, stack: contextlib.AsyncExitStack) -> Any:
        if self._cluster is not None:
            await self._cluster.initialize()
            node: Any = self._cluster.get_node_from_key(key)
            connection = node.acquire_connection()
            stack.callback(node.release, connection)
            await connection.connect()
            return connection
        pool: Any = self._pool
        connection = await pool.get_connection()
        stack.push_async_callback(pool.release, connection)
        return connection

    # --- listening -----------------------------------------------------------------------------------------------

    def listen(self, channel: str) -> AsyncGenerator[Notice, None]:
        """Yield what is published on ``channel`` (without prefix). Close the generator when done (``aclosing``).

        Begins with an empty notice once subscribed. Raises ``StoreUnavailable`` where the connection breaks.
        """
        return listening.listen(self._listening_client, self.prefix + channel, self.url)

    async def _listening_client(self) -> tuple[driver.Redis, driver.ConnectionPool | None]:
        """Return a client, and its pool where that is the caller's to close."""
        if self._cluster is None:
            return driver.Redis(connection_pool=self._pool), None
        with self._translated(writes=False):
            await self._cluster.initialize()
            node = self._cluster.get_random_node()
        host_url = replace(self.url, kind="server", hosts=((str(node.host), int(node.port)),))
        pool: driver.ConnectionPool = server_pool(host_url, self.options)
        return driver.Redis(connection_pool=pool), pool

    @property
    def tracks(self) -> bool:
        """Whether changes of keys can be followed with :meth:`track`: with one server only."""
        return self.url.kind not in ("cluster", "sentinel")

    def track(self, prefixes: Sequence[str], heartbeat: float) -> AsyncGenerator[Changes, None]:
        """Yield what changes under keys that begin with ``prefixes`` (without the store's own prefix).

        Begins once everything that changes will be told of, and yields without keys, too, at least every ``heartbeat``
        seconds. Close the generator when done.

        Raises ``StoreUnavailable`` where the connection breaks or is silent: what changes from then on is not told.
        """
        pool: Any = self._pool
        return listening.track(pool, self.prefix, prefixes, heartbeat, self.url, self.options.read_timeout)

    # --- life ----------------------------------------------------------------------------------------------------

    @property
    def durability(self) -> str:
        """What a confirmed write means on this server, in words for the operator."""
        replicas = f" and by {self.options.min_replicas} replica(s)" if self.options.min_replicas else ""
        if self._confirms_log:
            return "confirmed as synced to the append-only file" + replicas
        return "held in memory" + replicas + "; the server does not confirm that it is on disk"

    async def _check_server(self) -> None:
        facts: dict[str, Any] = {}
        with self._translated(writes=False, starting=True):
            async with asyncio.timeout(max(1.0, self.options.read_timeout)):
                for section in ("memory", "persistence", "server"):
                    facts |= await self._info(section)
        if int(facts.get("loading", 0)):  # it calls its append-only file disabled then, and would never be asked again
            raise StoreUnavailable(detail=f"{self.url.describe()} is loading its data")
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise ConfigurationError(
                f"redis.url: the server's maxmemory-policy is {quoted(policy)}, which may drop keys, revocations and "
                "profiles: set it to noeviction, or use a server of its own for tokenmint"
            )
        version = str(facts.get("valkey_version") or facts.get("redis_version") or "0")
        knows_waitaof = tuple(int(part) for part in version.split(".")[:2]) >= (7, 2)
        self._confirms_log = bool(int(facts.get("aof_enabled", 0))) and knows_waitaof
        if not self._confirms_log:
            log.warning(
                "the store does not confirm writes to disk", version=clipped(version), durability=self.durability
            )

    async def _info(self, section: str) -> dict[str, Any]:
        if self._cluster is not None:
            await self._cluster.initialize()
            node = self._cluster.get_primaries()[0]
            reply: dict[str, Any] = await self._cluster.info(section, target_nodes=node)
            return reply
        facts: dict[str, Any] = await self._client.info(section)
        return facts

    def _read_client(self) -> Any:
        return self._client

    async def close(self) -> None:
        """Close every connection; one that can't be closed is gone already."""
        closing = [sentinel.aclose() for sentinel in self._sentinel.sentinels] if self._sentinel is not None else []
        if self._cluster is not None:  # its own aclose() passes over connections that it would have made anew
            nodes = self._cluster.nodes_manager
            closing += [self._cluster.aclose(), nodes.aclose(), nodes.aclose("startup_nodes")]
        if self._pool is not None:
            closing.append(self._pool.disconnect())
        await asyncio.gather(*closing, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Fence:
    """The number that proves that the store lost nothing, and the call for a number that does not."""

    key: str
    numbers: range
    noticed: Callable[[], object]


def _value(reply: Any) -> bytes | None:
    if reply is not None and not isinstance(reply, bytes):
        raise InvalidResponse("no value")
    return reply


def _seconds(reply: Any) -> float:
    seconds, micros = reply
    return int(seconds) + int(micros) / 1e6


def _taken(reply: Any) -> tuple[int, float]:
    given, wait = reply
    return int(given), float(wait)


def _members(reply: Any) -> dict[str, str]:
    texts = [item.decode() for item in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _packed(command: tuple[str | bytes, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub takes one word alone
    return packed


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error  # an answer like any other: the ones behind it still have to be read


def _glob_escape(text: str) -> str:
    return "".join("\\" + char if char in "*?[]\\" else char for char in text)
