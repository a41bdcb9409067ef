"""Ending tasks that run for ever."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_PATIENCE: Final = 0.5  # seconds


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel ``tasks`` and wait until they are over; what they failed with is theirs.

    A cancellation may be swallowed on the way through a library (redis-py's reads do it now and then): whoever goes on
    is cancelled again.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_PATIENCE)
