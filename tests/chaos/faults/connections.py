"""Connections between replicas and their store are reset (RST), by the proxies that stand between."""

import asyncio
import time
from typing import Final

from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.ledger import Effect

IDLE: Final = "idle store connections reset"
BUSY: Final = "busy store connection reset"
NOTICED: Final = 1.0  # seconds in which each of the connections is used again


async def reset_idle(scene: Scene) -> None:
    """Reset every connection of a replica that waits for no answer: those that listen for changes too."""
    await _reset(scene, IDLE, "idle")


async def reset_busy(scene: Scene) -> None:
    """Reset one connection of a replica that waits for an answer."""
    await _reset(scene, BUSY, "busy")


async def _reset(scene: Scene, kind: str, which: str) -> None:
    there = scene.proxied()
    if not there:
        return
    replica = scene.random.choice(there)
    async with scene.fault(kind, Effect.RESET, replica) as fault:
        count = await scene.reset(replica, which)
        fault.lifted = time.time()
        scene.ledger.resets[kind] += count
        if not count:
            raise RuntimeError("there was no such connection")
        await asyncio.sleep(NOTICED)


KINDS = (Kind(IDLE, reset_idle, on_store=True), Kind(BUSY, reset_busy, on_store=True))
