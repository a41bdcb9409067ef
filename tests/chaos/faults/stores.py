"""The store is killed, stopped, failed over: what its topology offers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.ledger import Effect
from tests.chaos.stores import Topology

RESTART: Final = "store killed and restarted"
AFTER: Final = 3.0  # seconds more after the store was touched: R and the way back


def kinds(topology: Topology) -> tuple[Kind, ...]:
    """Return what can be done to a store."""
    return tuple(Kind(name, _doing(name, do), on_store=True) for name, do in topology.faults().items())


def _doing(name: str, do: Callable[[], Awaitable[None]]) -> Callable[[Scene], Coroutine[Any, Any, None]]:
    async def doing(scene: Scene) -> None:
        async with scene.fault(name, Effect.AWAY) as fault:
            await do()
            await scene.usable()
            fault.lifted = time.time()
        await asyncio.sleep(AFTER)

    return doing
