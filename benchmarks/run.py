"""`make bench`: every contender alone on one core, the load generator and the store on the other, in rounds that take
turns, so that what else the machine does meets all of them alike. Medians of the rounds are what is reported.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import contenders
import report
import world
from contenders import Contender, Running

SERVER_CORE: Final = 0
OTHER_CORE: Final = 1
WARM_UP: Final = 5.0  # seconds, after which what a contender remembers is what it would have after hours
GENERATOR: Final = world.BUILD / "generator"

NATIVE: Final = Contender("tokenmint, native", "tokenmint", "native")
GRPCIO: Final = Contender("tokenmint, grpcio", "tokenmint", "grpcio")
NO_CACHES: Final = Contender("tokenmint, native, no caches", "tokenmint", "native", "[caches]\nprofiles = 0")
TWO: Final = Contender("tokenmint, native, 2 workers", "tokenmint", "native", workers=2)
GO: Final = Contender("Go peer", "go")
NODE: Final = Contender("Node peer", "node")
EMPTY_NATIVE: Final = Contender("empty call, native", "empty", "native")
EMPTY_GRPCIO: Final = Contender("empty call, grpcio", "empty", "grpcio")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is asked of whom."""

    name: str
    who: tuple[Contender, ...]
    mode: str = "exchange"
    audience: str = world.AUDIENCE
    half: bool = False
    """Whether to measure at half of what was reached, too."""


SCENARIOS: Final = (
    Scenario("exchange", (NATIVE, GRPCIO, NO_CACHES, GO, NODE, EMPTY_NATIVE, EMPTY_GRPCIO), half=True),
    Scenario("eight audiences", (NATIVE, GO, NODE), mode="eight"),
    Scenario("batch of eight", (NATIVE, GO, NODE), mode="batch"),
    Scenario("RS256", (NATIVE, GO, NODE), audience=world.RSA_AUDIENCE),
    Scenario("two workers", (TWO, NATIVE)),
    Scenario("key set", (NATIVE,), mode="http"),
)


@dataclass(slots=True)
class Measured:
    """One contender in one scenario, in one round."""

    scenario: str
    contender: str
    calls_per_second: float
    tokens_per_second: float
    cpu_us_per_call: float
    p50_ms: float
    p99_ms: float
    errors: int
    rss_mb: list[float] = field(default_factory=list)
    idle_rss_mb: list[float] = field(default_factory=list)
    ready_seconds: float = 0.0
    half_p50_ms: float = 0.0
    half_p99_ms: float = 0.0


def load(target: Running, where: world.World, scenario: Scenario, seconds: float, **more: object) -> dict[str, Any]:
    """Put load on ``target``; return what the generator says, and the server's CPU seconds meanwhile."""
    url = f"http://{target.http}/.well-known/jwks.json" if scenario.mode == "http" else target.listen
    options = {
        "target": url, "tokens": where.tokens, "mode": scenario.mode, "audience": scenario.audience,
        "client-id": world.CLIENT, "client-secret": world.CLIENT_SECRET, "seconds": seconds, "warmup": WARM_UP, **more,
    }  # fmt: skip
    command = ["taskset", "-c", str(OTHER_CORE), str(GENERATOR), *(f"-{key}={value}" for key, value in options.items())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as generator:
        assert generator.stdout is not None
        assert generator.stderr is not None
        spent = 0.0
        for line in generator.stderr:
            if line.startswith("measuring"):
                spent = -target.cpu()
            elif line.startswith("measured"):
                spent += target.cpu()
            else:
                sys.stderr.write(line)
        answer: dict[str, Any] = json.loads(generator.stdout.read() or "{}")
    if not answer:
        raise SystemExit("the generator failed")
    return answer | {"cpu": spent}


def measure(who: Contender, where: world.World, scenario: Scenario, seconds: float) -> Measured:
    """Start ``who``, put load on it, stop it."""
    cores = f"{SERVER_CORE},{OTHER_CORE}" if who.workers > 1 else str(SERVER_CORE)
    with contenders.running(who, where, cores) as target:
        idle = target.memory()
        answer = load(target, where, scenario, seconds)
        calls = answer["calls"] / answer["seconds"]
        measured = Measured(
            scenario=scenario.name,
            contender=who.name,
            calls_per_second=calls,
            tokens_per_second=answer["tokens"] / answer["seconds"],
            cpu_us_per_call=answer["cpu"] / answer["calls"] * 1e6,
            p50_ms=answer["p50_ms"],
            p99_ms=answer["p99_ms"],
            errors=answer["errors"],
            rss_mb=target.memory(),
            idle_rss_mb=idle,
            ready_seconds=target.started_in,
        )
        if answer["errors"]:
            print(f"  {answer['errors']} errors, the first: {answer['first_error']}", flush=True)
        if scenario.half and who.kind != "empty":
            half = load(
                target, where, scenario, seconds, rate=calls / 2, streams=256, **{"from": answer["tokens_used"]}
            )
            measured.half_p50_ms, measured.half_p99_ms = half["p50_ms"], half["p99_ms"]
    return measured


def crypto(seconds: float) -> dict[str, float]:
    """Return what the cryptography alone costs on the server's core."""
    command = [
        "taskset",
        "-c",
        str(SERVER_CORE),
        sys.executable,
        str(world.ROOT / "benchmarks/crypto.py"),
        str(seconds),
    ]
    answer: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return answer


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", default="", help="scenarios, by the beginnings of their names, with commas between")
    parser.add_argument(
        "--who", default="", help="contenders, by the beginnings of their names, with semicolons between"
    )
    parser.add_argument("--out", type=Path, default=world.BUILD / "results.json")
    parser.add_argument("--docs", action="store_true", help="write the tables and plots of docs/performance.md anew")
    options = parser.parse_args()
    only, who = tuple(options.only.split(",")), tuple(options.who.split(";"))
    tokens = world.subject_tokens()
    results: list[Measured] = []
    bounds: list[dict[str, float]] = []
    world.pin(OTHER_CORE)
    with world.provider() as jwks_url, world.valkey(OTHER_CORE) as redis_url:
        where = world.World(jwks_url, redis_url, tokens)
        for number in range(options.rounds):
            bounds.append(crypto(0.5))
            for scenario in SCENARIOS:
                for contender in scenario.who:
                    if not scenario.name.startswith(only) or not contender.name.startswith(who):
                        continue
                    one = measure(contender, where, scenario, options.seconds)
                    results.append(one)
                    print(
                        f"round {number + 1}/{options.rounds}  {scenario.name:16} {one.contender:30} "
                        f"{one.calls_per_second:8.0f}/s {one.cpu_us_per_call:6.0f} µs CPU  p50 {one.p50_ms:6.1f} ms  "
                        f"p99 {one.p99_ms:6.1f} ms  RSS {max(one.rss_mb):4.0f} MB",
                        flush=True,
                    )
    bound = {name: median(one[name] for one in bounds) for name in bounds[0]}
    outcome = {
        "machine": report.machine(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "crypto": bound,
        "results": [asdict(one) for one in results],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(outcome, indent=1) + "\n")
    print("\n" + report.tables(outcome))
    if options.docs:
        report.write(outcome, world.ROOT / "docs")


if __name__ == "__main__":
    main()
