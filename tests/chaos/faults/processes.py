"""Processes are killed, or asked to stop."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from tests.chaos.engine import until
from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.ledger import Effect
from tests.chaos.replicas import START_LIMIT, STOPS, Replica

RESTARTED: Final = "replica restarted in order"
LEASE_HOLDER: Final = "lease holder killed"


async def kill_worker(scene: Scene) -> None:
    """Kill -9 a worker."""
    replica = scene.choose()
    if replica is not None and (workers := replica.workers()):
        await kill_process("worker killed", scene, replica, scene.random.choice(workers))


async def kill_lease_holder(scene: Scene) -> None:
    """Kill -9 the worker that advances the ring."""
    if (found := await scene.lease_holder()) is not None:
        await kill_process(LEASE_HOLDER, scene, *found)


async def kill_replica(scene: Scene) -> None:
    """Kill -9 a supervisor and its workers; start them again."""
    replica = scene.choose()
    if replica is not None:
        async with scene.fault("replica killed", Effect.KILLED, replica) as fault:
            replica.kill()
            await restarted(replica)
            fault.lifted = time.time()


async def stop_replica(scene: Scene) -> None:
    """Stop a replica in order, and start it again."""
    replica = scene.choose()
    if replica is not None:
        await restart_in_order(scene, replica)


async def restart_in_order(scene: Scene, replica: Replica, kind: str = RESTARTED) -> None:
    """Stop a replica with SIGTERM and have it started again."""
    async with scene.fault(kind, Effect.KILLED, replica) as fault:
        if await replica.stop_in_order() is None:
            scene.ledger.breaches.append((STOPS, f"replica {replica.number}"))
        await restarted(replica)
        fault.lifted = time.time()


async def restarted(replica: Replica) -> None:
    """Wait until a replica that was ended serves again, or has ended by itself."""

    async def there() -> bool:
        return replica.gone or replica.down_since is None

    await until(there, f"replica {replica.number} serves again", START_LIMIT + 10)


async def kill_process(kind: str, scene: Scene, replica: Replica, pid: int) -> None:
    """Kill -9 one worker."""
    async with scene.fault(kind, Effect.KILLED, replica) as fault:
        replica.end_worker(pid)
        await until(_listening(replica, pid), "a worker of the replica listens")  # at once: the other does
        fault.lifted = time.time()


def _listening(replica: Replica, but: int) -> Callable[[], Awaitable[bool]]:
    async def listening() -> bool:
        return replica.gone or any(pid != but for pid in replica.serving())

    return listening


KINDS = (
    Kind("worker killed", kill_worker),
    Kind(LEASE_HOLDER, kill_lease_holder),
    Kind("replica killed", kill_replica),
    Kind(RESTARTED, stop_replica),
)
