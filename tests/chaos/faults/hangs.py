"""A worker hangs (SIGSTOP): for a moment, or until its supervisor replaces it."""

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Final

import grpc.aio
from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.ledger import Effect
from tests.chaos.load import channel
from tests.chaos.plan import HANG_NOTICED, HANG_SLACK
from tests.chaos.replicas import Replica

from tokenmint.v1 import key_set_service_pb2 as sets_pb
from tokenmint.v1.key_set_service_pb2_grpc import KeySetServiceStub

if TYPE_CHECKING:
    from tokenmint.v1.key_set_service_pb2_grpc import KeySetServiceAsyncStub

REPLACED: Final = f"a worker that hangs is replaced within {HANG_NOTICED:.0f} s"
FREED: Final = "a worker that hangs keeps no client for ever"
CLIENTS: Final = 8  # connections of clients without a deadline: the kernel gives some of them to the worker
FREED_LIMIT: Final = 2.0  # seconds after the worker was ended
MOMENT: Final = (1.0, 4.0)  # seconds


async def hang(scene: Scene) -> None:
    """Stop a worker for good, and wait for its supervisor to replace it. One that still starts has more time."""
    replica = scene.choose()
    if replica is None or not (workers := replica.serving()):
        return
    scene.taken.add(replica.number)
    pid = scene.random.choice(workers)
    try:
        async with scene.fault("worker hung", Effect.HUNG, replica) as fault:
            replica.end_worker(pid, signal.SIGSTOP)
            clients = [asyncio.create_task(_client(replica)) for _ in range(CLIENTS)]
            if not await _gone(replica, pid):
                scene.ledger.breaches.append((REPLACED, f"replica {replica.number}: worker {pid} was still there"))
                replica.end_worker(pid)
            fault.lifted = time.time()
            _, late = await asyncio.wait(clients, timeout=FREED_LIMIT)
            if late:
                scene.ledger.breaches.append((FREED, f"replica {replica.number}: {len(late)} clients"))
            for client in late:
                client.cancel()
            scene.taken.discard(replica.number)
    finally:
        scene.taken.discard(replica.number)


async def _gone(replica: Replica, pid: int) -> bool:
    deadline = time.monotonic() + HANG_NOTICED + HANG_SLACK
    while pid in replica.workers():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True


async def _client(replica: Replica) -> None:
    """Call without a deadline."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        async with channel(replica.listen["grpc"]) as connection:
            stub: KeySetServiceAsyncStub = KeySetServiceStub(connection)
            await stub.GetKeySet(sets_pb.GetKeySetRequest())


async def pause(scene: Scene) -> None:
    """Stop a worker for a moment; then it goes on, and may believe that no time has passed."""
    replica = scene.choose()
    if replica is None or not (workers := replica.workers()):
        return
    pid = scene.random.choice(workers)
    async with scene.fault("worker stopped for a moment", Effect.HUNG, replica) as fault:
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(scene.random.uniform(*MOMENT))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            fault.lifted = time.time()


HANG = Kind("worker hung", hang)
KINDS = (Kind("worker stopped for a moment", pause),)
