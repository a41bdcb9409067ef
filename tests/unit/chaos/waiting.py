"""Waiting for what other processes do."""

import asyncio
from collections.abc import Callable
from typing import Final

LIMIT: Final = 30.0  # seconds for what happens in milliseconds


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; bounded."""
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110  # of files and processes
            await asyncio.sleep(0.01)
