"""Calls that block, and may never return: each in a thread of its own that nothing waits for.

The event loop's own threads are few and everybody's: a few calls that hang keep all others from them, signatures among
them, and neither the loop nor the interpreter ends before they have returned.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Busy(Exception):
    """Nothing was called: too many calls have not returned, or the system has no further thread."""


class Threads:
    """Threads for calls that depend on one thing outside of the process: a disk, a name server, a provider.

    Args:
        name: of the threads.
        most: how many calls may not have returned at a time.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self.running = 0
        """Calls that have not returned, those that nobody waits for any more included."""

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call ``function`` in a thread. A caller that is cancelled waits no more; the call goes on.

        Raises ``Busy``, and what ``function`` raises.
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
                outcome.set_result(result)  # type: ignore[arg-type]  # there is a result where there is no error

        def call() -> None:
            result, error = None, None
            try:
                result = function(*arguments)
            except BaseException as raised:  # noqa: BLE001  # it is the caller's
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(end, result, error)

        self.running += 1
        try:
            threading.Thread(target=call, name=self._name, daemon=True).start()
        except RuntimeError:
            self.running -= 1
            raise Busy("no further thread can be started") from None
        return await outcome
