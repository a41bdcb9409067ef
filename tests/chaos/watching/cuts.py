"""Streams of revocations are cut, and verifiers' processes killed: first long enough for one to fail closed."""

import asyncio
import time
from random import Random
from typing import Final

from tests.chaos.watching.seen import MAX_LAG, Cut, Seen
from tests.chaos.watching.watcher import Watcher

STREAM, PROCESS = "stream cut", "verifier killed"
KINDS: Final = (STREAM, STREAM, PROCESS)
PAUSE: Final = (2.0, 5.0)  # seconds between two cuts
FOR: Final = (0.3, 5.0)  # seconds that a stream is cut
LONG: Final = MAX_LAG + 2.5  # seconds after which a verifier that fails closed has refused everything for a while


async def keep_cutting(watchers: list[Watcher], random: Random, seen: Seen, stop: asyncio.Event) -> None:
    """Cut one after another until told to stop: first one that fails closed and one that does not, for long."""
    first = [one for closed in (True, False) for one in watchers if one.verifier.closed is closed][::2]
    planned = [(one, STREAM, LONG) for one in first]
    while not stop.is_set():
        await asyncio.sleep(random.uniform(*PAUSE))
        if stop.is_set():
            return
        chosen = planned.pop(0) if planned else (random.choice(watchers), random.choice(KINDS), random.uniform(*FOR))
        await _cut(*chosen, seen)


async def _cut(watcher: Watcher, kind: str, seconds: float, seen: Seen) -> None:
    cut = Cut(watcher.verifier.language, kind, time.time())
    seen.cuts.append(cut)
    if kind == PROCESS:
        await watcher.kill()
    else:
        watcher.gate.cut()
        await asyncio.sleep(seconds)
        watcher.gate.mend()
    cut.ended = time.time()
