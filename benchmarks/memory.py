"""What a worker's memory grows by with 100,000 profiles in the near cache. Prints megabytes, resident."""

import asyncio
import json
import random
from pathlib import Path
from typing import Final

import redis
import world

from tokenmint.base.background import Background
from tokenmint.base.clock import SystemClock
from tokenmint.base.telemetry import Metrics
from tokenmint.model.profile import Identity, Profile
from tokenmint.process import app as everything_that_a_worker_imports  # noqa: F401  # counted in the size before
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES
from tokenmint.profiles.store import ProfileStore
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.redis import Store

COUNT: Final = 100_000
BATCH: Final = 500


def resident() -> float:
    """Return this process's resident megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def fill(url: str) -> dict[str, float]:
    """Look every principal up as an exchange does, and weigh."""
    store = await Store.open(url, prefix=world.PREFIX, options=StoreOptions(read_timeout=10.0))
    near = NearCache(store, PREFIXES, 2 * COUNT, SystemClock())
    known = ProfileStore(store, SystemClock(), near)
    background = Background(SystemClock(), random.random, Metrics())
    near.follow(background)
    while not near.live:
        await asyncio.sleep(0.01)
    before = resident()
    for start in range(0, COUNT, BATCH):
        names = [Identity("idp", f"user-{number}") for number in range(start, start + BATCH)]
        found = await asyncio.gather(*map(known.resolve, names))
        assert all(isinstance(one, Profile) for one in found)
    answer = {"values": len(near), "before_mb": before, "after_mb": resident()}
    await background.close()
    await store.close()
    return answer


def main() -> None:
    """Fill a store, and measure."""
    with world.valkey(1) as url:
        client: redis.Redis[bytes] = redis.Redis.from_url(url)
        world.fill(client, COUNT)
        client.close()
        print(json.dumps({name: round(value) for name, value in asyncio.run(fill(url)).items()}))


if __name__ == "__main__":
    main()
