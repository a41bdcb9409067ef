"""Notices: messages on a channel."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio as driver

from tokenmint.storage.connections import translated
from tokenmint.storage.urls import StoreUrl

LISTEN_LIMIT: Final = 5.0  # seconds for one read of a subscription


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for a subscriber. ``payload`` is None after a (re)connection: messages may have been missed."""

    payload: bytes | None


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
                    while not out_of_date(subscription.connection):
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


def out_of_date(connection: Any) -> bool:
    """Return whether a connection was made with files that have been renewed since."""
    return connection is not None and bool(connection.out_of_date())


def _heed_cancellation() -> None:
    """Raise the running task's cancellation if the driver has swallowed it, together with its time-out."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
