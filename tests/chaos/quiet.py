"""Holds changes back while the store is made to forget, so that it is known what is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Quiet:
    """Many may change things at a time; none does while somebody holds it."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()
        self._changing = 0
        self._held = False

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Wait until nobody holds it, then make changes in the block."""
        async with self._condition:
            await self._condition.wait_for(lambda: not self._held)
            self._changing += 1
        try:
            yield
        finally:
            async with self._condition:
                self._changing -= 1
                self._condition.notify_all()

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Wait until what is being changed is done; nothing else is changed during the block."""
        async with self._condition:
            await self._condition.wait_for(lambda: not self._held)
            self._held = True
            await self._condition.wait_for(lambda: not self._changing)
        try:
            yield
        finally:
            async with self._condition:
                self._held = False
                self._condition.notify_all()
