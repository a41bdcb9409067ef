"""The store is made to forget: an old copy of its file is put back, or it is emptied. Then an operator accepts that."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import httpx2
from tests.chaos.faults.processes import restart_in_order
from tests.chaos.faults.scene import Kind, Scene
from tests.chaos.ledger import Effect, Fault, Loss
from tests.chaos.plan import ACCEPT_STORE, LOSS_NOTICED
from tests.chaos.replicas import Replica, plain_environment

OLD_FILE: Final = "old file put back"
FLUSHED: Final = "store emptied (FLUSHALL)"
AGE: Final = (1.5, 3.0)  # seconds that the copy is old, at least
CHANGED_LIMIT: Final = 20.0  # seconds for the ring to change, so that its generation tells of the loss
REFUSING: Final = 3.0  # seconds for which nobody who is denied may get a token before the loss is accepted
SERVES_AGAIN: Final = 6.0  # seconds after the operator accepted; then the replica is restarted, as the runbook says
UNREADY: Final = "no replica is ready on a store that has lost changes, until an operator accepts that"
ACCEPTED: Final = "`keys accept-store` accepts a store that has lost changes"
RECOVERS: Final = "a replica serves again once the loss was accepted"


async def put_back_old_file(scene: Scene) -> None:
    """Put back a copy of the store's file from some seconds ago."""
    copy = scene.directory / f"old-{len(scene.ledger.losses)}"
    since, generation = time.time(), scene.ledger.generation
    await scene.topology.copy(copy)
    await asyncio.sleep(scene.random.uniform(*AGE))
    while scene.ledger.generation <= generation and time.time() < since + CHANGED_LIMIT:  # noqa: ASYNC110  # from a store
        await asyncio.sleep(0.05)
    await _lose(scene, OLD_FILE, since, lambda: scene.topology.go_back(copy))


async def flush(scene: Scene) -> None:
    """Empty the store."""
    await _lose(scene, FLUSHED, 0.0, scene.topology.flush)


async def _lose(scene: Scene, kind: str, since: float, forget: Callable[[], Awaitable[None]]) -> None:
    async with scene.quiet.held():
        await scene.denials.make_each()
        loss = Loss(since, time.time())
        async with scene.fault(kind, Effect.WENT_BACK) as fault:
            scene.ledger.losses.append(loss)
            await forget()
            fault.lifted = time.time()
            await asyncio.sleep(LOSS_NOTICED + REFUSING)
            for replica in scene.fleet:
                if replica.down_since is None and await _ready(replica):
                    scene.ledger.breaches.append((UNREADY, f"{kind}: replica {replica.number}"))
            loss.accepted = time.time()
            scene.denials.forget(since)
            await asyncio.gather(*(_accept(scene, replica) for replica in scene.fleet))
            for replica in scene.fleet:
                await _serves_again(scene, replica, fault)
            await scene.usable()


async def _accept(scene: Scene, replica: Replica) -> None:
    """Accept the loss on a replica's machine."""
    process = await asyncio.create_subprocess_exec(
        replica.version.python, "-m", "tokenmint", *ACCEPT_STORE, "--config", str(scene.config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
        cwd=replica.directory,
        env=plain_environment()
        | {"TOKENMINT_REDIS__URL": scene.topology.url, "TOKENMINT_DATA_DIR": str(replica.data)},
    )  # fmt: skip
    said, _ = await process.communicate()
    if process.returncode:
        text = said.decode(errors="replace")[-300:]
        scene.ledger.breaches.append((ACCEPTED, f"replica {replica.number}: exit status {process.returncode}: {text}"))


async def _serves_again(scene: Scene, replica: Replica, fault: Fault) -> None:
    deadline = time.monotonic() + SERVES_AGAIN
    while not await _back(replica):
        if time.monotonic() > deadline:
            await restart_in_order(scene, replica)
            if not await _back(replica):
                scene.ledger.breaches.append((RECOVERS, f"{fault.kind}: replica {replica.number}"))
            return
        await asyncio.sleep(0.1)


async def _back(replica: Replica) -> bool:
    """Whether a replica is ready, or has ended by itself, which is told elsewhere."""
    return replica.gone or await _ready(replica)


async def _ready(replica: Replica) -> bool:
    try:
        async with httpx2.AsyncClient(timeout=2.0) as http:
            answer = await http.get(f"http://{replica.listen['ops']}/readyz")
    except httpx2.HTTPError:
        return False
    return bool(answer.status_code == 200)


KINDS = (Kind(OLD_FILE, put_back_old_file, on_store=True), Kind(FLUSHED, flush, on_store=True))
