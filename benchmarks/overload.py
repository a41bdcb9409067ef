"""`make bench-overload`: the answers of a service that is asked for more than it can do.

Finds the capacity of a transport (a closed loop), and then offers 0.5, 1, 2 and 4 times as much (an open loop: a call
has its deadline from when it is due). Counts the answers, and those that were good for each second of CPU that the
server used. The ratio to that at capacity is judged, since others may use the machine meanwhile. Settings are the
service's own defaults.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import contenders, world
from benchmarks.contenders import Contender
from benchmarks.load import OTHER_CORE, SERVER_CORE, load

FACTORS: Final = (0.5, 1.0, 2.0, 4.0)
TRANSPORTS: Final = ("grpcio", "native")
DEADLINE: Final = 1.0  # seconds
AIM: Final = 0.7  # answered well per CPU second at four times the capacity, of that at the capacity
WARM_UP: Final = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Row:
    """The outcomes of the offered calls."""

    factor: float
    offered: int
    answered: int
    refused: int
    late: int
    other: int
    p99_ms: float
    cpu: float

    @property
    def goodput(self) -> float:
        """Calls answered well for each second of the server's CPU time."""
        return self.answered / self.cpu if self.cpu else 0.0


def row(factor: float, answer: dict[str, Any]) -> Row:
    """Return the row of what the generator says."""
    counts = {name: int(answer[name]) for name in ("calls", "refused", "late", "errors")}
    return Row(
        factor, sum(counts.values()), counts["calls"], counts["refused"], counts["late"], counts["errors"],
        answer["p99_ms"], answer["cpu"],
    )  # fmt: skip


def measure(
    transport: str, where: world.World, seconds: float, connections: int, settings: str, factors: tuple[float, ...]
) -> list[Row]:
    """Find what a transport can do, offer it too little and too much, and print each row."""
    who = Contender(f"{transport}, overload", transport=transport, limits=settings)
    rows: list[Row] = []
    with contenders.running(who, where, str(SERVER_CORE)) as target:
        closed = load(target, where, seconds=seconds, streams=64)
        capacity = closed["calls"] / closed["seconds"]
        used = closed["tokens_used"]
        print(f"\n{transport}: {capacity:.0f} calls/s, {closed['calls'] / closed['cpu']:.0f} per CPU second")
        print("  times  offered       OK  refused     late    other   p99 ms   OK per CPU s", flush=True)
        for factor in factors:
            answer = load(
                target, where, mode="offer", seconds=seconds, rate=capacity * factor, deadline=DEADLINE, warmup=WARM_UP,
                connections=connections, **{"from": used},
            )  # fmt: skip
            used += answer["tokens_used"]
            one = row(factor, answer)
            rows.append(one)
            print(
                f"  {factor:5}  {one.offered:7}  {one.answered:7}  {one.refused:7}  {one.late:7}  {one.other:7}  "
                f"{one.p99_ms:7.0f}  {one.goodput:13.0f}"
                + (f"   the first: {answer['first_error']}" if one.other else ""),
                flush=True,
            )
    return rows


def main() -> int:
    """Measure each transport, and say whether the aim was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument(
        "--connections", type=int, default=4, help="over which the calls are spread, as in `make bench`"
    )
    parser.add_argument("--transport", choices=TRANSPORTS, action="append")
    parser.add_argument("--factor", type=float, action="append", help="of the capacity that is offered")
    parser.add_argument("--settings", type=Path, help="further lines of the configuration")
    options = parser.parse_args()
    settings = options.settings.read_text() if options.settings else ""
    reached = True
    world.pin(OTHER_CORE)
    with world.world(OTHER_CORE, cold=False) as where:
        for _ in range(options.rounds):
            for transport in options.transport or TRANSPORTS:
                rows = measure(
                    transport, where, options.seconds, options.connections, settings, tuple(options.factor or FACTORS)
                )
                by_factor = {one.factor: one.goodput for one in rows}
                if {1.0, 4.0} <= by_factor.keys():
                    ratio = by_factor[4.0] / by_factor[1.0] if by_factor[1.0] else 0.0
                    reached = reached and ratio >= AIM
                    print(f"  4 times, of 1 time (>= {AIM}): {ratio:.2f}", flush=True)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
