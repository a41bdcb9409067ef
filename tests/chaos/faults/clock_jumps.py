"""Wall clocks of replicas jump, and are corrected: one ahead, which holds the lease where that is known; one behind."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Final

from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.ledger import Effect
from tests.chaos.plan import SCHEDULE
from tests.chaos.replicas import Replica

MINUTES: Final = "clocks moved by 10 minutes"
DAY: Final = "clocks moved by a day"
JUMPS: Final = {MINUTES: 600.0, DAY: 86400.0}
WRONG: Final = (3.0, 5.0)  # seconds
ROTATES: Final = "rotation goes on after a clock was corrected"
ROTATES_WITHIN: Final = 3 * SCHEDULE.rotation_interval


async def _jump(scene: Scene, kind: str) -> None:
    found = await scene.lease_holder()
    ahead = found[0] if found is not None and found[0].down_since is None else scene.choose()
    movable = [
        one for one in scene.fleet if one.down_since is None and one.number not in scene.taken and one is not ahead
    ]
    behind = scene.random.choice(movable) if movable else None
    moved = [(replica, sign) for replica, sign in ((ahead, 1), (behind, -1)) if replica is not None]
    async with AsyncExitStack() as stack:
        faults = []
        for replica, sign in moved:
            direction = "ahead" if sign > 0 else "behind"
            lasting = scene.fault(f"{kind}, {direction}", Effect.CLOCK, replica)
            faults.append(await stack.enter_async_context(lasting))
            _set(replica, sign * JUMPS[kind])
        await asyncio.sleep(scene.random.uniform(*WRONG))
        for replica, _ in moved:
            _set(replica, 0.0)
        for fault in faults:
            fault.lifted = time.time()
    await _rotates(scene, kind)


def _set(replica: Replica, offset: float) -> None:
    assert replica.clock is not None
    replica.clock.set(offset)


async def _rotates(scene: Scene, kind: str) -> None:
    """Wait for a key to begin to sign, as the store says."""
    corrected = time.time()
    while not any((key.seen_active or 0.0) > corrected for key in scene.ledger.keys.values()):
        if time.time() > corrected + ROTATES_WITHIN:
            scene.ledger.breaches.append((ROTATES, f"{kind}: no key began to sign within {ROTATES_WITHIN:.1f} s"))
            return
        await asyncio.sleep(0.1)


async def by_minutes(scene: Scene) -> None:
    """Move them by 10 minutes."""
    await _jump(scene, MINUTES)


async def by_a_day(scene: Scene) -> None:
    """Move them by a day."""
    await _jump(scene, DAY)


KINDS = (Kind(MINUTES, by_minutes), Kind(DAY, by_a_day))
