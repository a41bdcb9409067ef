"""`make bench`: every contender alone on one core; the load generator, the store and the provider on the other.

Contenders take turns within each round, so that other work of the machine meets all of them alike. Figures are CPU time
of a server's processes for each call, and their ratios within a round; medians of the rounds are reported. A refusal
that no row expects fails the run.
"""

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import grpc

from benchmarks import beside, contenders, load, machine, report, rows, world
from benchmarks.contenders import Contender, Running
from benchmarks.rows import Row
from tokenmint.v1 import key_admin_service_pb2 as pb
from tokenmint.v1 import key_admin_service_pb2_grpc as pb_grpc

SETTLE: Final = 1.5  # seconds of load before a contender's first row: what compiles at run time has done so then
QUICK: Final = {"rounds": 3, "seconds": 1.2}
USUAL: Final = {"rounds": 5, "seconds": 2.0}
Figures = dict[str, Any]


class Stage:
    """The contenders that serve: each is started when its first row comes, and stays.

    Args:
        where: the world.
        python: the interpreter of the commit beside this one.
        stack: what ends them.
    """

    def __init__(self, where: world.World, python: Path | None, stack: contextlib.ExitStack) -> None:
        self.where = where
        self._python = python
        self._stack = stack
        self._running: dict[str, Running] = {}
        self._used: dict[str, int] = {}

    def running(self, who: Contender) -> Running:
        """Return a contender that serves."""
        if who.name not in self._running:
            cores = str(load.SERVER_CORE) if who.workers == 1 else f"{load.SERVER_CORE},{load.OTHER_CORE}"
            python = str(self._python) if who.beside else sys.executable
            started = contenders.running(who, self.where, cores, python)
            self._running[who.name] = self._stack.enter_context(started)
            if who is not rows.STREAMING:
                self.offer(who, seconds=SETTLE, warmup=0.0)
        return self._running[who.name]

    def fill(self, who: Contender, times: int) -> None:
        """Let every principal come so many times, so that a server's caches hold what they will."""
        calls = 0
        while calls < times * world.PRINCIPALS:
            calls += int(self.offer(who, seconds=1.0, warmup=0.0)["calls"])

    def offer(self, who: Contender, **options: object) -> load.Answer:
        """Put load on a contender with tokens that it has not seen for long."""
        answer = load.load(self.running(who), self.where, **{"from": self._used.get(who.name, 0)} | options)
        self._used[who.name] = (self._used.get(who.name, 0) + int(answer["tokens_used"])) % (8 * world.PRINCIPALS)
        return answer


def measure(stage: Stage, row: Row, seconds: float, results: Sequence[Figures], number: int) -> Figures:
    """Measure one row in one round."""
    figures: Figures = {"round": number, "scenario": row.scenario, "contender": row.who.name}
    if row.mode == "watch":
        return figures | _watchers(stage, row)
    options: dict[str, object] = {
        "mode": row.mode, "audience": row.audience, "connections": row.connections,
        "streams": row.streams, "seconds": seconds, "warmup": row.warmup,
    }  # fmt: skip
    if row.half_of:
        full = [one for one in results if (one["round"], one["scenario"]) == (number, row.half_of)]
        options["rate"] = next(one["calls_per_second"] for one in full if one["contender"] == row.who.name) / 2
    if row.principals != world.MANY:
        options["tokens"] = world.tokens_of(row.principals)
    if row.principals == world.ONCE:
        options |= {"from": 0, "once": True}
    if row.filled:
        stage.fill(row.who, row.filled)
    answer = stage.offer(row.who, **options)
    calls = max(1, answer["calls"])
    shares = sorted(answer["cpu_each"].values(), reverse=True)
    figures |= {
        "calls": answer["calls"],
        "calls_per_second": round(answer["calls"] / answer["seconds"], 1),
        "tokens_per_second": round(answer["tokens"] / answer["seconds"], 1),
        "cpu_us": round(answer["cpu"] / calls * 1e6, 1),
        "store_us": round(answer["store_cpu"] / calls * 1e6, 1),
        "waits": round(answer["waits"] / calls, 2),
        "interruptions": round(answer["interruptions"] / calls, 3),
        "p50_ms": round(answer["p50_ms"], 2),
        "p99_ms": round(answer["p99_ms"], 2),
        "refused": answer["refused"] + answer["late"] + answer["errors"],
    }
    if row.who.workers > 1:
        figures["busiest_share"] = round(shares[0] / max(sum(shares), 0.01), 3)
    if figures["refused"]:
        figures["first_refusal"] = answer["first_error"][:200]
    if row.half_of:
        figures["slowest"] = answer["slowest"]
    return figures


def _watchers(stage: Stage, row: Row) -> Figures:
    target = stage.running(row.who)

    def rotate() -> None:
        with grpc.insecure_channel(target.listen["admin"]) as channel:
            pb_grpc.KeyAdminServiceStub(channel).RotateSigningKey(
                pb.RotateSigningKeyRequest(algorithm="ES256", force=True),
                metadata=(("tokenmint-client-id", "root"), ("tokenmint-client-secret", world.CLIENT_SECRET)),
                timeout=20,
            )

    answer = load.watch(target, stage.where, rotate, streams=rows.WATCHERS, connections=WATCHER_CONNECTIONS)
    return {
        "calls": answer["watchers"],
        "cpu_us": round(answer["cpu"] / answer["watchers"] * 1e6, 1),
        "p50_ms": round(answer["half_ms"], 1),
        "all_ms": round(answer["all_ms"], 1),
        "refused": 0,
    }


WATCHER_CONNECTIONS: Final = 20  # of at most 100 streams each


def start(where: world.World, number: int) -> Figures:
    """Start a service anew, and return how soon it was ready and how large it is."""
    with contenders.running(START, where, str(load.SERVER_CORE)) as fresh:
        return {
            "round": number, "scenario": "start", "contender": rows.NATIVE.name, "refused": 0,
            "ready_seconds": round(fresh.started_in, 3), "idle_rss_mb": round(max(fresh.memory()), 1),
        }  # fmt: skip


START: Final = Contender("native, started", transport="native")


def in_a_process(module: str, *arguments: str) -> Figures:
    """Run a module of this package on the server's core, and return the JSON that it prints."""
    command = ["taskset", "-c", str(load.SERVER_CORE), sys.executable, "-m", f"benchmarks.{module}", *arguments]
    answer: Figures = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return answer


def taking_turns(chosen: Sequence[Row], number: int) -> Iterator[Row]:
    """Yield the rows of a round. In each round another contender of a scenario begins."""
    for _, group in groupby(chosen, lambda row: row.scenario):
        same = list(group)
        first = number % len(same)
        yield from same[first:] + same[:first]


def told(figures: Figures) -> str:
    """Return a line about a row."""
    name = f"  {figures['scenario']:28} {figures['contender']:28}"
    if "ready_seconds" in figures:
        return f"{name} ready after {figures['ready_seconds']:.2f} s, {figures['idle_rss_mb']:.0f} MB"
    line = f"{name} {figures['cpu_us']:7.0f} µs CPU  p50 {figures['p50_ms']:6.1f} ms"
    if "calls_per_second" in figures:
        line += f"  p99 {figures['p99_ms']:6.1f} ms  {figures['calls_per_second']:8.0f}/s  store {figures['store_us']:4.0f} µs  waits {figures['waits']:5.2f}"
    if figures["refused"]:
        line += f"  REFUSED {figures['refused']}: {figures['first_refusal']}"
    return line


def rounds(stage: Stage, chosen: Sequence[Row], options: argparse.Namespace, outcome: Figures) -> None:
    """Measure the rows, round by round, into ``outcome``."""
    results, bounds = outcome["results"], outcome["bounds"]
    done = max((one["round"] for one in results), default=0)
    for number in range(done + 1, done + options.rounds + 1):
        print(f"round {number}", flush=True)
        bounds.append({"round": number} | in_a_process("crypto", "0.15" if options.quick else "0.4"))
        for row in taking_turns(chosen, number):
            results.append(measure(stage, row, options.seconds, results, number))
            print(told(results[-1]), flush=True)
        if not options.quick and "start".startswith(tuple(options.only.split(","))):
            results.append(start(stage.where, number))
            print(told(results[-1]), flush=True)
        keep(outcome, options.out)


def keep(outcome: Figures, file: Path) -> None:
    """Write what was measured so far."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(report.dumped(outcome))


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main rows alone, in less than a minute")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="that each row is measured in each round")
    parser.add_argument("--beside", default="", help="a commit that is installed and measured beside this one")
    parser.add_argument(
        "--only", default="", help="rows (scenario: contender), by the beginnings of their names, with commas"
    )
    parser.add_argument("--out", type=Path, default=world.BUILD / "results.json")
    parser.add_argument("--append", action="store_true", help="add rounds to those that are in the file already")
    options = parser.parse_args()
    for name, value in (QUICK if options.quick else USUAL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main() -> int:
    """Measure and report; return the exit status."""
    options = arguments()
    commit, python = beside.install(options.beside) if options.beside else ("", None)
    every = rows.quick(commit) if options.quick else rows.rows(commit)
    chosen = [row for row in every if row.key.startswith(tuple(options.only.split(",")))]
    outcome: Figures = {"bounds": [], "results": [], "load": []}
    if options.append and options.out.exists():
        outcome = json.loads(options.out.read_text())
    outcome |= {
        "machine": machine.describe(),
        "seconds": options.seconds,
        "beside": commit or outcome.get("beside", ""),
    }
    for principals in {row.principals for row in chosen}:
        world.tokens_of(principals)  # signed before anything is measured
    outcome["date"] = datetime.now(UTC).date().isoformat()
    busy = machine.Load()
    world.pin(load.OTHER_CORE)
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(
            world.world(load.OTHER_CORE, cold=any(row.principals == world.ONCE for row in chosen))
        )
        rounds(Stage(where, python, stack), chosen, options, outcome)
    if not options.quick and "memory".startswith(tuple(options.only.split(","))):
        outcome["memory"] = in_a_process("memory")
    outcome["load"].append(busy.so_far())
    keep(outcome, options.out)
    print("\n" + report.page(outcome))
    refused = [one for one in outcome["results"] if one["refused"]]
    for one in refused:
        sys.stderr.write(f"refused:{told(one)}\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
