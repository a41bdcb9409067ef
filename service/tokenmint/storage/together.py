"""Reads for calls that wait at the same time, in one round trip.

A read begins after each of its calls has asked, so no call gets a value that is older than its question. While a read
is on its way, the next one waits for further calls, but only for a moment.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from tokenmint.base.errors import StoreUnavailable
from tokenmint.storage.reading import Answer
from tokenmint.storage.redis import Store

BATCH: Final = 64  # calls in one round trip
LINGER: Final = 0.002  # seconds that a call waits for others while a read is in progress


class ReadsTogether:
    """Reads values of a store.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Sequence[str], asyncio.Future[list[Answer]]]] = []
        self._reads: set[asyncio.Task[None]] = set()
        self._departure: asyncio.Handle | None = None

    async def get_many(self, keys: Sequence[str]) -> list[Answer]:
        """Return the values under ``keys``. Returns and raises as ``Store.get_many``."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Answer]] = loop.create_future()
        self._waiting.append((keys, answer))
        if len(self._waiting) == 1:
            self._departure = loop.call_later(LINGER, self._send) if self._reads else loop.call_soon(self._send)
        return await answer

    def _send(self) -> None:
        if self._departure is not None:
            self._departure.cancel()
            self._departure = None
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), BATCH):
            task = asyncio.get_running_loop().create_task(self._read(waiting[start : start + BATCH]))
            self._reads.add(task)
            task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._reads.discard(task)
        if not task.cancelled():
            task.exception()  # each waiter got the error already
        if self._waiting and not self._reads:
            self._send()

    async def _read(self, waiting: Sequence[tuple[Sequence[str], "asyncio.Future[list[Answer]]"]]) -> None:
        """Read the values of calls, and answer each; an error of the store is the answer of all."""
        asked = [(keys, answer) for keys, answer in waiting if not answer.done()]
        names = list(dict.fromkeys(key for keys, _ in asked for key in keys))
        try:
            values = dict(zip(names, await self._store.get_many(names), strict=True)) if names else {}
        except BaseException as error:
            failure = error if isinstance(error, Exception) else StoreUnavailable(detail="the read was given up")
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(failure)
            if not isinstance(error, Exception):
                raise
            return
        for keys, answer in asked:
            if not answer.done():
                answer.set_result([values[key] for key in keys])
