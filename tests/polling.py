"""Waits for what another process, thread or task does. The pauses leave the processor to it, and judge nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE = 20.0  # seconds
PAUSE = 0.02  # seconds


async def pause() -> None:
    """Leave the processor to others between two looks."""
    await asyncio.sleep(PAUSE)


def wait_until(condition: Any, seconds: float = PATIENCE) -> None:
    """Look until a condition holds; bounded."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(PAUSE)


async def until(condition: Callable[[], Awaitable[object]], seconds: float = PATIENCE) -> None:
    """The same for a look that has to be awaited."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await pause()
