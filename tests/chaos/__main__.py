"""A fleet of real processes under faults: `make chaos`. Prints what was done and what came of it.

Exits with 1 where a promise of docs/keys.md did not hold, with the first breaches of each.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.chaos import replicas, report, stores
from tests.chaos.faults import Faults, record
from tests.chaos.judge import judge
from tests.chaos.ledger import Ledger
from tests.chaos.load import CHANNELS, Load
from tests.chaos.measure import measure
from tests.chaos.plan import SCHEDULE, Plan, configure
from tests.chaos.replicas import Replica
from tests.chaos.verifiers import Verifiers
from tests.issuer import Issuer, ec_key, serving

SHARES: Final = {"server": 0.5, "sentinel": 0.25, "cluster": 0.25}
"""What part of the rotations each topology is given where all have their turn."""
SETTLE: Final = 4.0  # seconds for R, the way back and the workers that are being started
REVOKE_EVERY: Final = 12.0  # seconds


async def run(plan: Plan, directory: Path) -> Ledger:
    """Run one topology and return what was seen."""
    ledger, dice = Ledger(), random.Random(plan.seed)
    issuer = Issuer(key=ec_key(), algorithm="ES256")
    with serving(issuer):
        async with stores.running(plan.topology, directory / "store", dice) as topology:
            config = configure(directory, issuer.url, topology.min_replicas)
            async with replicas.running(directory, config, topology.url) as fleet:
                ledger.began = time.time()
                verifiers = Verifiers(fleet, ledger, dice)
                load = Load(fleet, ledger, issuer, dice, verifiers.add)
                await _under_load(plan, fleet, topology, ledger, load, verifiers)
                for replica in fleet:
                    ledger.outages += [(start, end, replica.number) for start, end in replica.outages]
                    if replica.down_since is not None:
                        ledger.outages.append((replica.down_since, time.time(), replica.number))
    return ledger


async def _under_load(
    plan: Plan, fleet: list[Replica], topology: stores.Topology, ledger: Ledger, load: Load, verifiers: Verifiers
) -> None:
    calm, over = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(record(topology, ledger, over))
        group.create_task(verifiers.run(over))
        for replica in fleet:
            for turn in range(CHANNELS):
                group.create_task(load.exchanges(replica, turn, over))
        operator = group.create_task(load.operate(calm, REVOKE_EVERY))
        breaking = group.create_task(Faults(fleet, topology, ledger, load.random).run(calm))
        deadline = time.monotonic() + plan.limit
        while len(ledger.activations()) < plan.rotations and time.monotonic() < deadline:  # noqa: ASYNC110  # from a store
            await asyncio.sleep(0.5)
        if len(ledger.activations()) < plan.rotations:
            ledger.problems.append(f"{len(ledger.activations())} of {plan.rotations} rotations in {plan.limit:.0f} s")
        calm.set()
        await asyncio.gather(operator, breaking)
        await stores.until(topology.usable, "the store takes writes")
        await asyncio.sleep(SETTLE)
        await measure(fleet, load, ledger)
        await asyncio.sleep(SCHEDULE.replica_lag)
        ledger.final = await load.final_ring(topology.url)
        ledger.lost_profiles = await load.lost_profiles()
        over.set()


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--rotations", type=int, default=200, help="rotations in all")
    parser.add_argument("--seed", type=int, default=None, help="repeats the choices of an earlier run, not its timing")
    parser.add_argument("--topology", choices=["all", *stores.TOPOLOGIES], default="all")
    parser.add_argument("--keep", type=Path, default=None, help="leave the logs in this folder")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    shares = SHARES if options.topology == "all" else {options.topology: 1.0}
    failed = False
    for topology, share in shares.items():
        rotations = max(1, round(options.rotations * share))
        plan = Plan(topology, rotations, seed, limit=60 + 6.0 * rotations)
        with tempfile.TemporaryDirectory(prefix="tokenmint-chaos-") as temporary:
            directory = (options.keep or Path(temporary)) / topology
            directory.mkdir(parents=True)
            ledger = asyncio.run(run(plan, directory))
        verdict = judge(ledger)
        report.show(plan, ledger, verdict)
        failed = failed or bool(verdict.broken)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
