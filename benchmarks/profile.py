"""`make profile`: where the CPU time of an exchange goes, step by step.

A service is put under load as in `make bench`, and its main thread is sampled by its own CPU time. What a step costs is
its share of the samples, of the CPU time that the main thread spends on an exchange. The other threads are rows of
their own. Prints a table, and writes JSON.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import contenders, load, machine, report, steps, world
from benchmarks.contenders import Contender

WARM_UP: Final = 2.0  # seconds
MAIN: Final = "MainThread"
CALLS: Final[dict[str, dict[str, str]]] = {
    "exchange": {},
    "batch": {"mode": "batch"},
    "rs256": {"audience": world.RSA_AUDIENCE},
    "authz": {"mode": "authz"},
}
"""The options of the generator for each kind of call."""
Figures = dict[str, Any]


def measure(who: Contender, where: world.World, seconds: float, tokens: Path, calls: str) -> Figures:
    """Sample ``who`` under load with these subject tokens; return the samples, and the generator's figures."""
    kind = CALLS[calls]
    out = world.BUILD / "samples.json"
    out.unlink(missing_ok=True)
    with contenders.running(who, where, str(load.SERVER_CORE), module=("benchmarks.sampler", str(out))) as target:
        load.load(target, where, tokens=tokens, seconds=WARM_UP, warmup=0.0, **kind)

        def switch() -> None:
            os.kill(target.pid, signal.SIGUSR2)

        begin = threading.Timer(0.5, switch)
        begin.start()
        # The clock of the generator runs while samples are taken, and a little longer.
        answer = load.load(target, where, tokens=tokens, seconds=seconds, warmup=0.5, **kind)
        begin.join()
        switch()
        while not out.exists():
            time.sleep(0.05)
        return {"generator": answer, "samples": json.loads(out.read_text())}


def table(measured: Figures) -> list[Figures]:
    """Return a row for each step, each thread beside the main one, and what is left: microseconds of an exchange."""
    answer, samples = measured["generator"], measured["samples"]
    whole = answer["cpu"] / answer["calls"] * 1e6
    spent: Mapping[str, float] = samples["threads"]
    total = sum(spent.values())
    main = whole * spent[MAIN] / total
    counts = Counter({int(index): count for index, count in samples["steps"].items()})
    all_samples = sum(counts.values())
    rows = [
        {"step": step.name, "function": step.function, "us": round(main * counts[index] / all_samples, 1)}
        for index, step in enumerate(steps.STEPS)
    ]
    rows.append({"step": steps.REST, "function": "", "us": round(main * counts[-1] / all_samples, 1)})
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        if name != MAIN:
            rows.append({"step": f"thread: {name}", "function": "", "us": round(whole * seconds / total, 1)})
    return [*rows, {"step": "in all", "function": "", "us": round(whole, 1)}]


def main() -> int:
    """Measure and report; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", default="native", choices=("native", "grpcio"))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--caches", type=int, default=50_000, help="`caches.profiles`")
    parser.add_argument("--principals", default=world.MANY, choices=(world.MANY, world.FEW))
    parser.add_argument("--calls", default="exchange", choices=tuple(CALLS))
    parser.add_argument("--out", type=Path, default=world.BUILD / "profile.json")
    options = parser.parse_args()
    busy = machine.Load()
    world.pin(load.OTHER_CORE)
    settings = f"[caches]\nprofiles = {options.caches}\n" if options.caches else ""
    settings += "[envoy]\nenabled = true" if options.calls == "authz" else ""
    who = Contender("profile", transport=options.transport, settings=settings)
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(world.world(load.OTHER_CORE, cold=False))
        measured = measure(who, where, options.seconds, world.tokens_of(options.principals), options.calls)
    outcome = {
        "date": datetime.now(UTC).date().isoformat(),
        "transport": options.transport,
        "settings": f"caches.profiles = {options.caches}",
        "principals": options.principals,
        "calls": options.calls,
        "machine": machine.describe(),
        "load": [busy.so_far()],
        "samples": sum(measured["samples"]["steps"].values()),
        "steps": table(measured),
        "rest": [{"function": name, "samples": count} for name, count in measured["samples"]["rest"].items()],
    }
    options.out.write_text(report.dumped(outcome))
    print(report.step_table(outcome))
    refused = measured["generator"]["refused"] + measured["generator"]["late"] + measured["generator"]["errors"]
    if refused:
        sys.stderr.write(f"{refused} calls were refused, the first: {measured['generator']['first_error']}\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
