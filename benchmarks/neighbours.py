"""`make bench-neighbours`: how long a read of the store may take on a machine that others keep busy.

Busy neighbours share both cores with the service, the store and the callers, and nothing is wrong with any of them. For
each `redis.read_timeout` it counts the calls that were refused all the same, as STORE_UNAVAILABLE.
"""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from benchmarks import contenders, world
from benchmarks.contenders import Contender
from benchmarks.load import OTHER_CORE, SERVER_CORE, load

TIMEOUTS: Final = ("200ms", "500ms", "1s", "2s")
STREAMS: Final = 16


@contextlib.contextmanager
def neighbours(count: int, cores: str) -> Iterator[None]:
    """Keep ``cores`` busy with ``count`` processes that never rest."""
    command = ["taskset", "-c", cores, sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main() -> None:
    """Count, timeout by timeout, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--neighbours", type=int, default=8)
    parser.add_argument("--transport", default="native", choices=("grpcio", "native"))
    parser.add_argument("--timeout", action="append", help="values of redis.read_timeout")
    options = parser.parse_args()
    cores = f"{SERVER_CORE},{OTHER_CORE}"
    with world.world(OTHER_CORE, cold=False) as where:
        for _ in range(options.rounds):
            for timeout in options.timeout or TIMEOUTS:
                settings = "[caches]\nprofiles = 0"
                who = Contender("neighbours", transport=options.transport, settings=settings, read_timeout=timeout)
                with contenders.running(who, where, cores) as target, neighbours(options.neighbours, cores):
                    answer = load(target, where, seconds=options.seconds, streams=STREAMS, warmup=1.0)
                print(
                    f"read_timeout {timeout:>5}: {answer['errors']} of {answer['calls'] + answer['errors']} calls refused, "
                    f"p99 {answer['p99_ms']:.0f} ms {answer.get('first_error', '')}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
