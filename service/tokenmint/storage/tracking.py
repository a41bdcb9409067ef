"""Changed keys, as the store's servers report them (server-assisted client-side caching).

Each server that takes writes reports on a connection of its own: the single server, the primary that the sentinels
name, or each primary of a Cluster.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

import redis.asyncio as driver
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tokenmint.base.errors import StoreUnavailable
from tokenmint.base.tasks import end
from tokenmint.storage.connections import translated
from tokenmint.storage.listening import out_of_date
from tokenmint.storage.server import Server, place_of
from tokenmint.storage.slots import Slots, own_slots
from tokenmint.storage.urls import StoreUrl

QUESTIONS: Final = 0.25  # seconds between questions to a server that reports: it may have nothing to report
LOOK: Final = 0.5  # seconds between looks at a Cluster's primaries, and before a lost one is tried again
LONGEST_PAUSE: Final = 5.0  # seconds to which that grows for one that stays away
_WAITING: Final = 100  # reports that wait for the reader


@dataclass(frozen=True, slots=True)
class Changes:
    """One report of :meth:`Store.track`."""

    keys: Sequence[str] | None
    """The keys that changed, without prefix. None: any key of this server may have changed."""
    complete_since: float | None
    """Every change that is at least so many seconds old has been reported; None if that is unknown."""
    node: str = ""
    """The server that reports, as :class:`Reading` names it."""
    slots: Slots | None = None
    """The slots that it serves now; None outside a Cluster, and if that is unknown."""
    lost: StoreUnavailable | None = None
    """The reason why this server, alone of several, reports nothing more."""
    over: bool = False
    """Whether this server is no primary any more."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """The changes that are tracked, and how.

    Args:
        url: the store's URL, for errors.
        own: the store's own prefix.
        prefixes: the beginnings of the keys, after that prefix.
        heartbeat: the longest silence, in seconds.
        limit: seconds for the beginning.
        clustered: whether each server tells its slots, too.
    """

    url: StoreUrl
    own: str
    prefixes: Sequence[str]
    heartbeat: float
    limit: float
    clustered: bool = False

    async def on(self, connection: Any) -> AsyncGenerator[Changes, None]:
        """Yield the changed keys that the server of ``connection`` reports. As :meth:`Store.track`."""
        changed: list[Sequence[bytes] | None] = []
        asked: deque[float] = deque()
        loop = asyncio.get_running_loop()
        question = ("CLUSTER", "NODES") if self.clustered else ("PING",)

        async def note(message: Sequence[Any]) -> None:
            changed.append(message[1])

        async def ask() -> None:
            # After a loss the driver would open another connection, which nobody would close, and which would report no
            # changes. The reader tells of the loss.
            with suppress(RedisError, OSError, TimeoutError):
                while connection.is_connected:
                    asked.append(loop.time())
                    await connection.send_command(*question)
                    await asyncio.sleep(QUESTIONS)

        command = ["CLIENT", "TRACKING", "ON", "BCAST"]
        for prefix in self.prefixes:
            command += ["PREFIX", self.own + prefix]
        asking: asyncio.Task[None] | None = None
        try:
            with translated(self.url, writes=False):
                async with asyncio.timeout(self.limit):
                    await connection.connect()
                    connection._parser.set_invalidation_push_handler(note)  # noqa: SLF001  # the driver has no other way
                    await connection.send_command(*command)
                    await connection.read_response()
            node = place_of(connection)
            asking = loop.create_task(ask())
            while True:
                with translated(self.url, writes=False):
                    if out_of_date(connection):
                        raise driver.ConnectionError("its certificates were renewed")
                    async with asyncio.timeout(self.heartbeat):
                        answer = await connection.read_response(True, timeout=inf, push_request=True)
                    told, changed = changed, []
                    complete_since, slots = None, None
                    if isinstance(answer, bytes):  # otherwise a report came
                        complete_since = loop.time() - asked.popleft()
                        slots = own_slots(answer, self.own) if self.clustered else None
                yield Changes(_names(told, self.own), complete_since, node, slots)
        finally:
            if asking is not None:
                await end([asking])
            await connection.disconnect(nowait=True)


def reports_of(server: Server, tracking: Tracking) -> AsyncGenerator[Changes, None]:
    """Yield the reports of each server of the store. As :meth:`Store.track`."""
    if server.clustered:
        return ClusterTracking(server, replace(tracking, clustered=True)).reports()
    pool: Any = server.pool
    return tracking.on(_tracking_connection(pool.connection_class, pool.connection_kwargs))


def _tracking_connection(kind: Callable[..., Any], kwargs: Mapping[str, Any]) -> Any:
    """Return a connection for :meth:`Tracking.on`: RESP3, and never connected again by the driver."""
    return kind(**{**kwargs, "protocol": 3, "retry": Retry(NoBackoff(), 0)})


class ClusterTracking:
    """Tracks the changes on each primary of a Cluster, while the primaries come and go.

    The loss of one is a report, and the others go on.
    """

    def __init__(self, server: Server, tracking: Tracking) -> None:
        self._server = server
        self._tracking = tracking
        self._reports: asyncio.Queue[tuple[float, Changes]] = asyncio.Queue(_WAITING)
        self._lanes: dict[str, asyncio.Task[None]] = {}

    async def reports(self) -> AsyncGenerator[Changes, None]:
        """Yield the reports of all primaries. Raises ``StoreUnavailable`` if no node tells which they are."""
        loop = asyncio.get_running_loop()
        looking = loop.create_task(self._look())
        try:
            while True:
                next_report = loop.create_task(self._reports.get())
                try:
                    await asyncio.wait((next_report, looking), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    next_report.cancel()
                if looking.done():
                    looking.result()
                    raise StoreUnavailable(detail=f"{self._tracking.url.describe()}: its primaries are not known")
                made_at, changes = next_report.result()
                if changes.complete_since is not None:  # it has waited since
                    changes = replace(changes, complete_since=changes.complete_since + loop.time() - made_at)
                yield changes
        finally:
            await end([looking])
            await end(self._lanes.values())

    async def _look(self) -> None:
        """Track each primary that the driver knows, and no other node."""
        while True:
            for lane in self._lanes.values():
                if lane.done():  # it never ends by itself
                    lane.result()
            primaries = {str(node.name): node for node in await self._server.primaries()}
            for name in [name for name in self._lanes if name not in primaries]:
                await end([self._lanes[name]])
                del self._lanes[name]
                await self._report(Changes((), None, name, over=True))
            for name in primaries.keys() - self._lanes.keys():
                self._lanes[name] = asyncio.get_running_loop().create_task(self._track(name, primaries[name]))
            await asyncio.sleep(LOOK)

    async def _track(self, name: str, node: Any) -> None:
        served, pause = False, LOOK
        while True:
            try:
                connection = _tracking_connection(node.connection_class, node.connection_kwargs)
                async with aclosing(self._tracking.on(connection)) as reports:
                    async for changes in reports:
                        pause = LOOK
                        if changes.slots is not None:
                            if served and not changes.slots.ranges:
                                self._server.look_for_nodes()  # another node took over
                            served = bool(changes.slots.ranges)
                        await self._report(replace(changes, node=name))
            except StoreUnavailable as error:
                self._server.look_for_nodes()
                await self._report(Changes((), None, name, lost=error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)  # the driver's look takes much of the processor

    async def _report(self, changes: Changes) -> None:
        made_at = asyncio.get_running_loop().time()
        await self._reports.put((made_at, changes))


def _names(told: Sequence[Sequence[bytes] | None], own: str) -> list[str] | None:
    """Return the keys of invalidation messages, without the prefix ``own``; None if any key may have changed."""
    found: list[str] = []
    for names in told:
        if names is None:  # FLUSHALL
            return None
        found += [name.decode(errors="replace").removeprefix(own) for name in names]
    return found
