"""Blocking calls that may never return, each in a thread that nothing waits for.

The event loop's executor has few threads, which all parts share. A few hanging calls would block all others there, such
as signatures, and neither the loop nor the interpreter would end before they return.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Busy(Exception):
    """No call was made: too many have not returned, or the system has no more threads."""


class Threads:
    """Threads for calls that depend on one external resource: a disk, a name server, a provider.

    Args:
        name: the name of the threads.
        most: the largest number of calls that have not returned.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self.running = 0
        """Calls that have not returned, including those that nothing waits for."""

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call ``function`` in a thread. A cancelled caller stops waiting; the call continues.

        Raises ``Busy``, and the errors of ``function``.
        """
        if self.running >= self._most:
            raise Busy(f"{self.running} calls have not returned")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()

        def end(result: T | None, error: BaseException | None) -> None:
            self.running -= 1
            if outcome.cancelled():
                return
            if error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(result)  # type: ignore[arg-type]  # there is a result if there is no error

        def call() -> None:
            result, error = None, None
            try:
                result = function(*arguments)
            except BaseException as raised:  # noqa: BLE001  # the caller handles it
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(end, result, error)

        self.running += 1
        try:
            threading.Thread(target=call, name=self._name, daemon=True).start()
        except RuntimeError:
            self.running -= 1
            raise Busy("no more threads can be started") from None
        return await outcome
