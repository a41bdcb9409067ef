"""Notices of changes: messages on a channel, and changed keys (server-assisted invalidation)."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import redis.asyncio as driver
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tokenmint.storage.connections import translated
from tokenmint.storage.urls import StoreUrl

LISTEN_LIMIT: Final = 5.0  # seconds for one read of a subscription


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for a subscriber. ``payload`` is None after a (re)connection: messages may have been missed."""

    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Changes:
    """One report of :meth:`Store.track`."""

    keys: Sequence[str] | None
    """The keys that changed, without prefix. None: any key may have changed."""
    complete_since: float | None
    """Every change that is at least so many seconds old has been reported; None if that is unknown."""


async def listen(
    connect: Callable[[], Awaitable[tuple[driver.Redis, driver.ConnectionPool | None]]], channel: str, url: StoreUrl
) -> AsyncGenerator[Notice, None]:
    """Yield the messages on ``channel``. As :meth:`Store.listen`.

    Args:
        connect: returns a client, and its pool if the pool has to be closed at the end.
        channel: its full name.
        url: the store's URL, for errors.
    """
    client, own_pool = await connect()
    try:
        with translated(url, writes=False):  # also errors while it is closed
            while True:
                async with client.pubsub() as subscription:
                    await subscription.subscribe(channel)
                    while not _out_of_date(subscription.connection):
                        try:
                            async with asyncio.timeout(LISTEN_LIMIT):
                                message = await subscription.get_message(ignore_subscribe_messages=False, timeout=1.0)
                        finally:
                            _heed_cancellation()
                        if message is None:
                            await subscription.ping()  # detects a dead connection, which would stay silent forever
                        elif message["type"] == "subscribe":
                            yield Notice(None)
                        elif message["type"] == "message":
                            yield Notice(message["data"])
    finally:
        if own_pool is not None:
            await own_pool.disconnect()


async def track(
    pool: driver.ConnectionPool, own: str, prefixes: Sequence[str], heartbeat: float, url: StoreUrl, limit: float
) -> AsyncGenerator[Changes, None]:
    """Yield the changed keys under ``prefixes``. As :meth:`Store.track`.

    Uses a separate connection, with RESP3 (CLIENT TRACKING, BCAST).

    Args:
        pool: a pool whose connections serve as the pattern.
        own: the store's own prefix.
        prefixes: the beginnings of the keys, after that prefix.
        heartbeat: seconds.
        url: the store's URL, for errors.
        limit: seconds for the beginning.
    """
    kwargs: dict[str, Any] = {**pool.connection_kwargs, "protocol": 3, "retry": Retry(NoBackoff(), 0)}
    connection: Any = pool.connection_class(**kwargs)
    changed: list[Sequence[bytes] | None] = []
    asked: deque[float] = deque()
    loop = asyncio.get_running_loop()

    async def note(message: Sequence[Any]) -> None:
        changed.append(message[1])

    async def ping() -> None:
        # After a loss the driver would open another connection, which nobody would close, and which would report no
        # changes.
        while connection.is_connected:
            asked.append(loop.time())
            await connection.send_command("PING")
            await asyncio.sleep(heartbeat / 4)

    command = ["CLIENT", "TRACKING", "ON", "BCAST"]
    for prefix in prefixes:
        command += ["PREFIX", own + prefix]
    pinging: asyncio.Task[None] | None = None
    try:
        with translated(url, writes=False):
            async with asyncio.timeout(limit):
                await connection.connect()
                connection._parser.set_invalidation_push_handler(note)  # noqa: SLF001  # the driver has no other way
                await connection.send_command(*command)
                await connection.read_response()
        pinging = loop.create_task(ping())
        while True:
            with translated(url, writes=False):
                if _out_of_date(connection):
                    raise driver.ConnectionError("its certificates were renewed")
                async with asyncio.timeout(heartbeat):
                    answer = await connection.read_response(True, timeout=inf, push_request=True)
                told, changed = changed, []
                complete_since = loop.time() - asked.popleft() if answer == b"PONG" else None
            yield Changes(_names(told, own), complete_since)
    finally:
        if pinging is not None:
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)
        await connection.disconnect(nowait=True)


def _names(told: Sequence[Sequence[bytes] | None], own: str) -> list[str] | None:
    """Return the keys of invalidation messages, without the prefix ``own``; None if any key may have changed."""
    found: list[str] = []
    for names in told:
        if names is None:  # FLUSHALL
            return None
        found += [name.decode(errors="replace").removeprefix(own) for name in names]
    return found


def _out_of_date(connection: Any) -> bool:
    """Return whether a connection was made with files that have been renewed since."""
    return connection is not None and bool(connection.out_of_date())


def _heed_cancellation() -> None:
    """Raise the running task's cancellation if the driver has swallowed it, together with its time-out."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
