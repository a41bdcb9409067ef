"""`make soak`: as many random histories of a fleet as there is time for, in batches that can be played again.

The batch NUMBER of a seed plays the same histories whenever it is run. A run can end after some minutes, and a later
one go on from the batch that it names.
"""

import argparse
import os
import random
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Final

from tests.unit.keys.fleet import broken, play

BATCH: Final = 50  # histories
EVERY: Final = 15.0  # seconds between two lines of progress
Outcome = tuple[int, Counter[str], str]


def batch(seed: int, number: int) -> Outcome:
    """Play one batch. Returns its number, what its histories came to, and what was found, if anything."""
    fleet = broken()  # nothing is: it counts for itself
    try:
        play(fleet, seed + number, BATCH)
    except Exception:  # noqa: BLE001  # each of them is what the soak looks for
        return number, fleet.counts, traceback.format_exc()
    return number, fleet.counts, ""


def main() -> int:
    """Play what the arguments say. Returns 1 where something was found."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--examples", type=int, default=20_000, help="histories, of 50 steps each")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no batch after so long")
    parser.add_argument("--workers", type=int, default=4, help="processes")
    parser.add_argument("--seed", type=int, default=None, help="plays the histories of an earlier run")
    parser.add_argument("--first", type=int, default=0, help="the batch to go on with")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9) * 10**6
    batches = -(-options.examples // BATCH)
    began, told, following, found = time.monotonic(), 0.0, options.first, 0
    total: Counter[str] = Counter()
    print(f"{batches - following} batches of {BATCH} histories, {options.minutes:g} minutes at most", flush=True)
    print(f"  seed {seed}: SEED={seed} FIRST=NUMBER plays the batches from NUMBER on again", flush=True)
    with ProcessPoolExecutor(options.workers) as pool:
        running: set[Future[Outcome]] = set()
        while True:
            over = time.monotonic() - began >= options.minutes * 60
            while not over and following < batches and len(running) < options.workers:
                running.add(pool.submit(batch, seed, following))
                following += 1
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for number, counts, failure in (one.result() for one in done):
                total += counts
                if failure:
                    found += 1
                    print(f"batch {number} FOUND SOMETHING (SEED={seed} FIRST={number}):\n{failure}", flush=True)
            if time.monotonic() - told >= EVERY or not running:
                told = time.monotonic()
                print(_progress(following - len(running), batches, told - began, total), flush=True)
    if following < batches:
        print(f"the time is over; go on with SEED={seed} FIRST={following}")
    print(f"{total['histories']} histories, {found} of the batches found something", flush=True)
    return int(found > 0)


def _progress(done: int, batches: int, seconds: float, total: Counter[str]) -> str:
    return (
        f"{seconds:6.0f} s  batch {done} of {batches}: {total['histories']} histories, {total['rotations']} rotations, "
        f"{total['verifications']} verifications"
    )


if __name__ == "__main__":
    os.nice(5)  # it takes what others leave
    sys.exit(main())
