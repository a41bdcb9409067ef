"""A fleet of real processes under faults: `make chaos`. Prints what was done and what came of it.

Exits with 1 where a promise of docs/keys.md did not hold, or a process of the service ended by itself, with the first
breaches of each. With --resets and --restarts it does these alone, in this number. With --beside replicas run this
version and another one in turn.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.chaos import clocks, report, stores
from tests.chaos.faults.connections import IDLE
from tests.chaos.faults.stores import RESTART
from tests.chaos.faults.versions import OTHER
from tests.chaos.judge import judge
from tests.chaos.ledger import Ledger
from tests.chaos.plan import Plan
from tests.chaos.regions import run as regions
from tests.chaos.regions.plan import PACES
from tests.chaos.run import run
from tests.chaos.versions.version import Version, other, refused_configuration
from tests.clients import building

SHARES: Final = {"server": 0.5, "sentinel": 0.25, "cluster": 0.25}
"""The part of the rotations that each topology is given where all have their turn."""
ROUND: Final = 180.0  # seconds for every kind of fault to have its turn, on a busy machine
DRILL: Final = 15.0  # seconds for one of the faults that were asked for by number
REPLACING: Final = 150.0  # seconds for replicas to be replaced by ones of another version, and for keys of both


def main() -> int:
    """Run what the arguments say."""
    options = _options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    if options.topology == regions.TOPOLOGY:
        return int(regions.main(seed, options.cuts, options.keep))
    library, failed = clocks.find_library(), False
    if library is None:
        print(f"make chaos: {clocks.MISSING}", file=sys.stderr)
        failed = bool(os.environ.get(clocks.REQUIRE_LANES))
    missing: list[str] = []
    languages = [name for name in building.LANGUAGES if building.build_if_older(name, missing)]
    for reason in missing:
        print(f"make chaos: {reason}", file=sys.stderr)
    failed = failed or bool(missing)
    with tempfile.TemporaryDirectory(prefix="tokenmint-chaos-") as temporary:
        beside = other(options.beside) if options.beside else None
        if beside is not None and (refused := refused_configuration(beside, Path(temporary))):
            print(f"BROKEN         a configuration of the other version starts this one: {refused}")
            failed = True
        for plan in _plans(options, seed, beside):
            directory = (options.keep or Path(temporary)) / plan.topology
            directory.mkdir(parents=True)
            ledger = Ledger()
            try:
                asyncio.run(run(plan, directory, library, ledger, languages))
            except KeyboardInterrupt:
                ledger.problems.append("it was interrupted")
            verdict = judge(ledger)
            report.show(plan, ledger, verdict)
            failed = failed or bool(verdict.beyond_pace() if options.pace == "report" else verdict.broken)
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--rotations", type=int, default=200, help="rotations in all")
    parser.add_argument("--seed", type=int, default=None, help="repeats the choices of an earlier run, not its timing")
    parser.add_argument("--topology", choices=["all", *stores.TOPOLOGIES, regions.TOPOLOGY], default="all")
    parser.add_argument(
        "--cuts", choices=list(PACES), default="short", help="of links between regions: seconds, or minutes"
    )
    parser.add_argument("--resets", type=int, default=0, help="reset idle store connections so often, and nothing else")
    parser.add_argument("--restarts", type=int, default=0, help="kill -9 and restart the store so often, likewise")
    parser.add_argument(
        "--pace", choices=["judge", "report"], default="judge",
        help="report: tell what was late, and fail for the rest alone: for a machine that is shared",
    )  # fmt: skip
    parser.add_argument(
        "--beside", default="", help="a commit: the fleet starts with it, and runs both versions in turn"
    )
    parser.add_argument("--kinds", default="", help="do these faults alone, in this order; by name, with ; between")
    parser.add_argument("--keep", type=Path, default=None, help="leave the logs in this folder")
    options = parser.parse_args()
    if options.beside and options.topology == regions.TOPOLOGY:
        parser.error("--beside is for one region: leave out --topology regions")
    return options


def _plans(options: argparse.Namespace, seed: int, beside: Version | None) -> list[Plan]:
    named = [name.strip() for name in options.kinds.split(";") if name.strip()]
    kinds = (*named, *[IDLE] * options.resets, *[RESTART] * options.restarts)
    replacing = 0.0
    if beside is not None:
        replacing = REPLACING * max(1, kinds.count(OTHER))
        kinds = (OTHER, *kinds) if kinds and not named else kinds  # the others find a fleet of two versions
    if kinds:
        topology = "server" if options.topology == "all" else options.topology
        limit = 60 + DRILL * len(kinds) + replacing
        return [Plan(topology, 0, seed, limit=limit, kinds=kinds, other=beside)]
    shares = SHARES if options.topology == "all" else {options.topology: 1.0}
    plans = []
    for topology, share in shares.items():
        rotations = max(1, round(options.rotations * share))
        limit = 60 + ROUND + replacing + 6.0 * rotations
        plans.append(Plan(topology, rotations, seed, limit=limit, other=beside))
    return plans


if __name__ == "__main__":
    sys.exit(main())
