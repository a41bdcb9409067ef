"""The reader of a replica's log stops, or goes away. No call may fail for that."""

import asyncio
import time
from typing import Final

from tests.chaos.faults.processes import restart_in_order
from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.ledger import Effect

STOPPED: Final = "log not read"
CLOSED: Final = "log closed"
UNREAD: Final = (4.0, 7.0)  # seconds: the pipe is full after one


async def stop_reading(scene: Scene) -> None:
    """Read nothing for a while: the pipe fills, and writing to it blocks."""
    replica = scene.choose()
    if replica is None:
        return
    async with scene.fault(STOPPED, Effect.LOG, replica) as fault:
        replica.log.pause()
        await asyncio.sleep(scene.random.uniform(*UNREAD))
        replica.log.resume()
        fault.lifted = time.time()


async def close_for_good(scene: Scene) -> None:
    """Close the pipe: writing to it fails (EPIPE) until the replica is restarted, which is done in order."""
    replica = scene.choose()
    if replica is None:
        return
    async with scene.fault(CLOSED, Effect.LOG, replica) as fault:
        replica.log.close()
        await asyncio.sleep(scene.random.uniform(*UNREAD))
        fault.lifted = time.time()
    if not replica.gone:
        await restart_in_order(scene, replica)


KINDS = (Kind(STOPPED, stop_reading), Kind(CLOSED, close_for_good))
