"""Clients of other projects, unchanged, against real services of tokenmint on loopback: a table client by flow.

Before it stands the table of every kind of JWT at every place that takes one.

`make test-sts` runs it. PyJWT verifies each token with the published keys, and its claims are compared. A toolchain
that is missing is named, and fails the lane where TOKENMINT_REQUIRE_LANES is set.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.sts import clients, gateways, jwts, ours, scenarios
from tests.sts.clients import say
from tests.sts.table import Outcome, print_table
from tests.sts.world import World, world

PARTS = (*clients.ROWS, "scenarios", "gateways", "jwts")


def main() -> int:
    """Return 0 where everything is as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; default: all")
    parts = parser.parse_args().parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    built = clients.build_all([name for name in clients.ROWS if name in parts])
    say(f"built after {time.monotonic() - began:.0f} s")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="tms") as temporary:
        outcomes += of_world(Path(temporary), parts, built)
        if "jwts" in parts:
            outcomes += jwts.outcomes(Path(temporary))
    say(f"ended after {time.monotonic() - began:.0f} s")
    return 1 if print_table(outcomes) else 0


def of_world(directory: Path, parts: Sequence[str], built: Mapping[str, str]) -> list[Outcome]:
    """Play the parts that need the services of the lane. ``built``: by language, why a driver is not there."""
    outcomes: list[Outcome] = []
    if not set(parts) - {"jwts"}:
        return outcomes
    with world(directory) as live:
        if "scenarios" in parts:
            outcomes += scenarios.outcomes(live)
        if "gateways" in parts:
            outcomes += gateways.outcomes(live.directory)
        outcomes += of_clients(live, built)
    return outcomes


def of_clients(live: World, built: Mapping[str, str]) -> list[Outcome]:
    """Run the drivers that are built; ``built``: by language, why one is not."""
    outcomes: list[Outcome] = []
    with clients.servers(live):
        for language, fault in built.items():
            if not fault:
                outcomes += clients.run(language, live)
                outcomes += ours.outcomes(live) if language == "python" else []
                continue
            print(f"{language}: {fault}")
            if clients.required() or fault.startswith("FAILED"):
                outcomes.append(Outcome(language, "the driver is built", fault))
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
