"""One run: a store, a fleet, what is done to them, and who watches."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Final

import grpc.aio
from tests.chaos import replicas, stores
from tests.chaos.denied import TRIERS, Denials
from tests.chaos.faults.scene import Scene
from tests.chaos.faults.schedule import Faults, kinds_of
from tests.chaos.ledger import Ledger
from tests.chaos.load import CHANNELS, Load, serving
from tests.chaos.measure import measure
from tests.chaos.plan import SCHEDULE, Plan, configure
from tests.chaos.proxy import Proxies
from tests.chaos.quiet import Quiet
from tests.chaos.recorder import note_stalls, record
from tests.chaos.verifiers import Verifiers
from tests.chaos.versions.version import THIS
from tests.chaos.watching.watching import Watching
from tests.issuer import Issuer, ec_key
from tests.issuer import serving as issuing

from tokenmint.base.errors import TokenmintError

PROXIES: Final = 2
"""For all replicas but one, which reaches the store itself and sees how that dies."""
SETTLE: Final = 4.0  # seconds for R, the way back and the workers that are being started
REVOKE_EVERY: Final = 12.0  # seconds
MEASURE_LIMIT: Final = 90.0  # seconds
RECORD_LIMIT: Final = 30.0  # seconds for the last look at the store


async def run(plan: Plan, directory: Path, library: Path | None, ledger: Ledger, languages: list[str]) -> None:
    """Run one topology and write down what was seen.

    Without libfaketime (``library``) no clock is moved. Verifiers of these ``languages`` follow revocations.
    """
    dice, quiet = Random(f"load {plan.seed}"), Quiet()
    issuer = Issuer(key=ec_key(), algorithm="ES256")
    faults_dice = Random(f"faults {plan.seed}")
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(issuing(issuer))
        topology = await stack.enter_async_context(stores.running(plan.topology, directory / "store", faults_dice))
        proxies = await stack.enter_async_context(_proxies(topology))
        urls = [topology.url, *(f"redis://127.0.0.1:{port}" for port in proxies.ports)]
        config = configure(directory, issuer.url, topology.min_replicas)
        versions = (THIS, plan.other) if plan.other else (THIS,)
        running = replicas.running(directory, config, urls, ledger, library, versions[-1])
        fleet = await stack.enter_async_context(running)
        denials = Denials(fleet, ledger, issuer, dice, quiet)
        scene = Scene(
            fleet, topology, proxies, ledger, denials, quiet, faults_dice, directory, config, issuer, versions
        )
        kinds = kinds_of(topology, clocks=library is not None, two_versions=len(versions) > 1)
        faults = Faults(scene, kinds)
        verifiers = Verifiers(fleet, ledger, dice)
        load = Load(fleet, ledger, issuer, dice, verifiers.add, quiet)
        watching = Watching(fleet, issuer, plan.seed, quiet, ledger.seen)
        await stack.enter_async_context(watching.running(languages, directory / "verifiers"))
        ledger.began = time.time()
        try:
            await _under_load(plan, scene, faults, load, verifiers, watching)
        finally:
            for replica in fleet:
                ledger.outages += [(start, end, replica.number) for start, end in replica.outages]
                if replica.down_since is not None:
                    ledger.outages.append((replica.down_since, time.time(), replica.number))


@contextlib.asynccontextmanager
async def _proxies(topology: stores.Topology) -> AsyncIterator[Proxies]:
    proxies = Proxies()
    try:
        if topology.one_server:
            await proxies.start(topology.servers[0].port, PROXIES)
        yield proxies
    finally:
        await proxies.stop()


async def _under_load(
    plan: Plan, scene: Scene, faults: Faults, load: Load, verifiers: Verifiers, watching: Watching
) -> None:
    calm, over, unused, ledger = asyncio.Event(), asyncio.Event(), asyncio.Event(), scene.ledger
    async with asyncio.TaskGroup() as group:
        recorder = group.create_task(record(scene.topology.url, ledger, unused))
        using = [
            group.create_task(note_stalls(ledger, over)),
            group.create_task(verifiers.run(over)),
            group.create_task(watching.run(calm, over)),
            *(
                group.create_task(load.exchanges(replica, turn, over))
                for replica in scene.fleet
                for turn in range(CHANNELS)
            ),
            *(group.create_task(scene.denials.keep_trying(over)) for _ in range(TRIERS)),
        ]
        changing = [
            group.create_task(load.operate(calm, REVOKE_EVERY)),
            group.create_task(scene.denials.keep_making(calm)),
        ]
        work = faults.run_once(plan.kinds, calm) if plan.kinds else faults.run(calm)
        breaking = group.create_task(work)
        await _until_done(plan, scene, faults)
        calm.set()
        await asyncio.gather(*changing, breaking)
        await _conclude(scene, load, watching)
        over.set()
        await asyncio.gather(*using)
        unused.set()
        async with asyncio.timeout(RECORD_LIMIT):
            await recorder


async def _until_done(plan: Plan, scene: Scene, faults: Faults) -> None:
    """Wait until every kind of fault had its turn and there were as many rotations, or it takes too long."""
    deadline, problems = time.monotonic() + plan.limit, scene.ledger.problems
    while not faults.rounds or len(scene.ledger.activations()) < plan.rotations:
        if time.monotonic() > deadline:
            rotations = len(scene.ledger.activations())
            problems.append(f"{rotations} of {plan.rotations} rotations and {faults.rounds} rounds in {plan.limit} s")
            return
        if all(replica.gone for replica in scene.fleet):
            problems.append("every replica has ended by itself")
            return
        await asyncio.sleep(0.5)


async def _conclude(scene: Scene, load: Load, watching: Watching) -> None:
    """Measure in calm, and look at what is there in the end, whether or not it could be measured."""
    ledger = scene.ledger
    there: list[replicas.Replica] = []
    try:
        await scene.usable()
        await asyncio.sleep(SETTLE)
        await watching.settle()
        there = serving(scene.fleet)
        if there:
            with contextlib.suppress(TimeoutError):  # told as a revocation that was not measured
                async with asyncio.timeout(MEASURE_LIMIT):
                    await measure(there, load, ledger)
    except (grpc.aio.AioRpcError, TokenmintError, TimeoutError, ValueError, IndexError) as error:
        ledger.problems.append(f"it could not be measured in the end: {type(error).__name__}")
    try:
        await asyncio.sleep(SCHEDULE.replica_lag)
        ledger.final = await load.final_ring(scene.topology.url)
        ledger.lost_profiles = await load.lost_profiles() if there else []
    except (grpc.aio.AioRpcError, TokenmintError) as error:
        ledger.problems.append(f"it could not be looked at in the end: {type(error).__name__}")
