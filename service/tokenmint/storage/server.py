"""The server behind the store: a single one, the primary that sentinels name, or a Cluster.

This module knows connections, commands and answers, but not the meaning of keys and values.
"""

import asyncio
import contextlib
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import hiredis
import redis.asyncio as driver
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from tokenmint.base.errors import ConfigurationError, DependencyUnavailable, StoreUnavailable
from tokenmint.base.foreign_text import clipped, quoted
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.base.state_metrics import SECONDS, Durations
from tokenmint.base.trace_context import OutgoingRequest, current_trace
from tokenmint.storage import durability, urls
from tokenmint.storage.connections import cluster_client, sentinel_pool, server_pool, translated
from tokenmint.storage.files import StoreFiles
from tokenmint.storage.options import StoreOptions


class Server:
    """Connections to the server of ``url``, and the commands that the driver itself serves badly."""

    def __init__(self, url: urls.StoreUrl, options: StoreOptions) -> None:
        self.url = url
        self.options = options
        self.version = ""
        self.appendfsync = ""
        """When its append-only file is synced, as :meth:`check` found: always or everysec; "" if it does not tell."""
        self.durations = {"read": Durations(), "write": Durations()}
        """The durations of operations since the start: of confirmed changes, and of all others."""
        self.errors: Counter[str] = Counter()
        """The number of failed operations since the start, by reason."""
        self._files = StoreFiles(url, options)
        self.pool: driver.ConnectionPool | None = None
        self._cluster: RedisCluster | None = None
        self._sentinel: Sentinel | None = None
        self._unanswering: str | None = None
        """The node of a Cluster that did not answer a write in time: it is asked last which nodes there are."""
        if url.kind == "cluster":
            self._cluster = cluster_client(url, options, self._files)
        elif url.kind == "sentinel":
            self._sentinel, self.pool = sentinel_pool(url, options, self._files)
        else:
            self.pool = server_pool(url, options, self._files)
        # All calls share one client, because to make one takes longer than a read.
        self.client: Any = self._cluster if self._cluster is not None else driver.Redis(connection_pool=self.pool)

    @property
    def files(self) -> list[RenewedFiles[Any]]:
        """The files for connections. A change takes effect after the background has looked at the files."""
        return self._files.every()

    @property
    def clustered(self) -> bool:
        """Whether the keys are spread over several nodes."""
        return self._cluster is not None

    async def ask(self, commands: bytes, count: int = 1) -> list[Any]:
        """Send ``count`` packed commands and return their answers. The driver's own calls cost three times as much."""
        return (await self.ask_and_tell(commands, count))[0]

    async def ask_and_tell(self, commands: bytes, count: int = 1) -> tuple[list[Any], str]:
        """Return the answers, as :meth:`ask`, and the server that answered (:func:`place_of`)."""
        pool: Any = self.pool
        connection = await pool.get_connection()
        try:
            answers, place = await _exchanged(connection, commands, count), place_of(connection)
        finally:
            await pool.release(connection)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers, place

    async def ask_node(self, node: Any, commands: bytes, count: int) -> list[Any]:
        """Send ``count`` packed commands to a node of a Cluster and return their answers, some of them errors."""
        connection = node.acquire_connection()
        try:
            await connection.connect()
            return await _exchanged(connection, commands, count)
        finally:
            node.release(connection)

    async def primaries(self) -> list[Any]:
        """Return the nodes of a Cluster that take writes. Raises ``StoreUnavailable``."""
        cluster: Any = self._cluster
        with self.translated(writes=False, counted=False):
            async with asyncio.timeout(self.options.read_timeout):
                await cluster.initialize()
            return list(cluster.get_primaries())

    async def nodes_of_keys(self) -> Callable[[str], Any]:
        """Return a function that returns the node of a key of a Cluster; None if no node is known to have its slot."""
        cluster: Any = self._cluster
        await cluster.initialize()

        def node_of(key: str) -> Any:
            with contextlib.suppress(RedisClusterException, IndexError, KeyError):
                return cluster.get_node_from_key(key)
            return None

        return node_of

    def look_for_nodes(self) -> None:
        """Let the next call ask which nodes the Cluster has, as the driver does where it notices a change by itself."""
        if self._cluster is not None:
            self._cluster._initialize = True  # noqa: SLF001  # the driver has no other way

    async def scan(self, match: str, cursor: str, count: int) -> tuple[str, list[bytes]]:
        """Return the next cursor ("" at the end) and some keys that match the pattern ``match``."""
        if self._cluster is not None:
            return await self._scan_cluster(match, cursor, count)
        position, keys = await self.client.scan(int(cursor or "0"), match=match, count=count)
        return (str(position) if int(position) else ""), keys

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
        """Return the server's clock, Unix seconds; in a Cluster, the clock of the first node by name."""
        if self._cluster is not None:
            await self._cluster.initialize()
            node = min(self._cluster.get_primaries(), key=lambda node: str(node.name))
            return seconds(await node.execute_command("TIME"))
        return seconds(await self.client.time())

    async def roundtrip(self, key: str, commands: list[tuple[str | bytes, ...]], *, follow: bool = False) -> list[Any]:
        """Send all commands on one connection: a confirmation covers only the writes of its own connection."""
        joined = b"".join(map(packed, commands))
        with self.translated(writes=True, follow=follow, record=key):  # also errors while the connection is given back
            async with contextlib.AsyncExitStack() as stack:
                with self.translated(writes=False, counted=False):
                    async with asyncio.timeout(self.options.read_timeout):
                        connection = await self._checkout(key, stack)
                async with asyncio.timeout(self.options.write_timeout):
                    try:
                        await connection.send_packed_command(joined)
                        replies = [await _reply(connection) for _ in commands]
                    except BaseException:
                        self._unanswering = place_of(connection)
                        # An unread reply must not meet the next user of the connection (redis-py CVE-2023-28858).
                        await connection.disconnect(nowait=True)
                        raise
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise reply
                return replies

    @contextlib.contextmanager
    def translated(
        self, *, writes: bool, starting: bool = False, follow: bool = False, record: str = "", counted: bool = True
    ) -> Iterator[None]:
        """As :func:`translated`. If a node of a cluster is unreachable, the next call asks for the nodes again.

        ``counted``: the block counts as one operation in the metrics; otherwise it is a part of another operation.
        """
        started, failure = time.perf_counter(), ""
        try:
            with translated(self.url, writes=writes, starting=starting, follow=follow, record=record):
                try:
                    yield
                except (driver.ConnectionError, driver.TimeoutError, OSError, TimeoutError):
                    self.look_for_nodes()
                    raise
        except DependencyUnavailable as error:
            failure = error.reason
            if counted:
                self.errors[error.reason] += 1
            raise
        finally:
            if counted:
                operation, ended = "write" if writes else "read", time.perf_counter()
                kept = self.durations[operation]
                kept.classes[bisect_left(SECONDS, ended - started)] += 1
                kept.total += ended - started
                trace = current_trace()
                if trace is not None and trace.recorded:
                    about: dict[str, str | int] = {"db.system.name": "redis", "db.operation.name": operation}
                    trace.note(OutgoingRequest(f"store {operation}", about, trace.new_id(), started, ended, failure))

    async def _checkout(self, key: str, stack: contextlib.AsyncExitStack) -> Any:
        if self._cluster is not None:
            await self._cluster.initialize(last_failed_node_name=self._unanswering)
            node: Any = self._cluster.get_node_from_key(key)
            connection = node.acquire_connection()
            stack.callback(node.release, connection)
            try:
                await connection.connect()
            except BaseException:
                self._unanswering = str(node.name)
                raise
            return connection
        pool: Any = self.pool
        connection = await pool.get_connection()
        stack.push_async_callback(pool.release, connection)
        return connection

    async def listening_client(self) -> tuple[driver.Redis, driver.ConnectionPool | None]:
        """Return a client, and its pool if the caller has to close it."""
        if self._cluster is None:
            return driver.Redis(connection_pool=self.pool), None
        with self.translated(writes=False):
            await self._cluster.initialize()
            node = self._cluster.get_random_node()
        host_url = replace(self.url, kind="server", hosts=((str(node.host), int(node.port)),))
        pool: driver.ConnectionPool = server_pool(host_url, self.options, self._files)
        return driver.Redis(connection_pool=pool), pool

    async def check(self) -> bool:
        """Return whether the server can confirm that a write is in its append-only file.

        Raises:
            ConfigurationError: it evicts keys, never confirms a write, or refuses the credentials.
            StoreUnavailable: it can't be reached, or is loading its data.
        """
        facts: dict[str, Any] = {}
        with self.translated(writes=False, starting=True):
            async with asyncio.timeout(max(1.0, self.options.read_timeout)):
                for section in ("memory", "persistence", "server"):
                    facts |= await self._info(section)
        if int(facts.get("loading", 0)):  # while loading, it reports its append-only file as disabled
            raise StoreUnavailable(detail=f"{self.url.describe()} is loading its data")
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise ConfigurationError(
                f"redis.url: the server's maxmemory-policy is {quoted(policy)}, which may drop keys, revocations and "
                "profiles: set it to noeviction, or use a server of its own for tokenmint"
            )
        version = str(facts.get("valkey_version") or facts.get("redis_version") or "0")
        knows_waitaof = tuple(int(part) for part in version.split(".")[:2]) >= (7, 2)
        self.version = clipped(version)
        confirms = bool(int(facts.get("aof_enabled", 0))) and knows_waitaof
        self.appendfsync = await self._appendfsync() if confirms else ""
        durability.check(self.appendfsync)
        return confirms

    async def _appendfsync(self) -> str:
        """Return the setting; "" of a server that does not tell: CONFIG needs a permission, which services deny."""
        with contextlib.suppress(RedisError, RedisClusterException, OSError, TimeoutError, ValueError, AttributeError):
            async with asyncio.timeout(self.options.read_timeout):
                reply: Any
                if self._cluster is not None:
                    node = self._cluster.get_primaries()[0]
                    reply = await self._cluster.config_get("appendfsync", target_nodes=node)
                else:
                    reply = await self.client.config_get("appendfsync")
            values: list[Any] = list(reply.values())
            value = values[0] if values else ""
            return clipped(value.decode(errors="replace") if isinstance(value, bytes) else str(value))
        return ""

    async def _info(self, section: str) -> dict[str, Any]:
        if self._cluster is not None:
            await self._cluster.initialize()
            node = self._cluster.get_primaries()[0]
            reply: dict[str, Any] = await self._cluster.info(section, target_nodes=node)
            return reply
        facts: dict[str, Any] = await self.client.info(section)
        return facts

    async def close(self) -> None:
        """Close every connection, and ignore those that can't be closed."""
        closing = [sentinel.aclose() for sentinel in self._sentinel.sentinels] if self._sentinel is not None else []
        if self._cluster is not None:  # its own aclose() skips connections that it would have remade
            nodes = self._cluster.nodes_manager
            closing += [self._cluster.aclose(), nodes.aclose(), nodes.aclose("startup_nodes")]
        if self.pool is not None:
            closing.append(self.pool.disconnect())
        await asyncio.gather(*closing, return_exceptions=True)


def seconds(reply: Any) -> float:
    """Return the answer to TIME as Unix seconds."""
    whole, micros = reply
    return int(whole) + int(micros) / 1e6


def packed(command: tuple[str | bytes, ...]) -> bytes:
    """Return a command in its wire form."""
    words: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub takes a single word
    return words


def place_of(connection: Any) -> str:
    """Return the server to which a connection leads, by the address that was dialled."""
    path = getattr(connection, "path", None)
    return str(path) if path is not None else f"{connection.host}:{connection.port}"


async def _exchanged(connection: Any, commands: bytes, count: int) -> list[Any]:
    """Send ``count`` packed commands and return their answers, errors among them."""
    try:
        await connection.send_packed_command(commands)
        return [await _reply(connection) for _ in range(count)]
    except BaseException:
        await connection.disconnect(nowait=True)  # an unread answer must not meet the next command
        raise


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error  # an answer like any other: the next ones still have to be read
