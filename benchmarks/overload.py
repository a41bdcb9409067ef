"""`make bench-overload`: the answers of a service that is asked for more than it can do.

Finds the capacity of a transport (a closed loop), and then offers 0.5, 1, 2 and 4 times as much (an open loop: a call
has its deadline from when it is due). Counts the answers, and those that were good for each second of CPU that the
server used. What is judged is the ratio of 4 times to 1 time, the median of the rounds. Since others may use the
machine meanwhile, each round measures both twice, in turns. Settings are the service's own defaults.
"""

import argparse
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import contenders, world
from benchmarks.contenders import Contender
from benchmarks.load import OTHER_CORE, SERVER_CORE, load

FACTORS: Final = (0.5, 1.0, 4.0, 4.0, 1.0, 2.0)
"""In an order in which a machine that grows slower or faster does not change the ratio of 4 to 1."""
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
        load(target, where, seconds=WARM_UP, streams=64)
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


def goodput_at(factor: float, rows: list[Row]) -> float:
    """Return the calls answered well per CPU second, of all rows in which that many times the capacity were offered."""
    chosen = [one for one in rows if one.factor == factor]
    return sum(one.answered for one in chosen) / sum(one.cpu for one in chosen)


def main() -> int:
    """Measure each transport, and say whether the aim was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument(
        "--connections", type=int, default=4, help="over which the calls are spread, as in `make bench`"
    )
    parser.add_argument("--transport", choices=TRANSPORTS, action="append")
    parser.add_argument("--factor", type=float, action="append", help="of the capacity that is offered")
    parser.add_argument("--settings", type=Path, help="further lines of the configuration")
    options = parser.parse_args()
    settings = options.settings.read_text() if options.settings else ""
    ratios: dict[str, list[float]] = {}
    world.pin(OTHER_CORE)
    with world.world(OTHER_CORE, cold=False) as where:
        for _ in range(options.rounds):
            for transport in options.transport or TRANSPORTS:
                rows = measure(
                    transport, where, options.seconds, options.connections, settings, tuple(options.factor or FACTORS)
                )
                if {1.0, 4.0} <= {one.factor for one in rows}:
                    ratios.setdefault(transport, []).append(goodput_at(4.0, rows) / goodput_at(1.0, rows))
                    print(f"  4 times, of 1 time: {ratios[transport][-1]:.2f}", flush=True)
    medians = {transport: statistics.median(found) for transport, found in ratios.items()}
    for transport, median in medians.items():
        print(f"\n{transport}: 4 times, of 1 time (>= {AIM}): median {median:.2f} of {len(ratios[transport])} rounds")
    return 0 if all(median >= AIM for median in medians.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
