"""The memory of a worker, idle and with 100,000 profiles in its near cache. Prints JSON, resident megabytes (10^6 bytes).

The whole service runs in this process, as in a worker. Its principals are looked up as an exchange does.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Final

from benchmarks import contenders, world
from tokenmint.base.clock import SystemClock
from tokenmint.base.logs import configure
from tokenmint.config.load import load
from tokenmint.model.profile import Identity, Profile
from tokenmint.process.app import App
from tokenmint.process.supervisor import Job
from tokenmint.process.worker import settle_memory

COUNT: Final = 100_000
BATCH: Final = 500


class HeldClock(SystemClock):
    """A clock that stands while ``held``: the profiles come within the seconds that the near cache keeps them for."""

    held: float | None = None

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return super().monotonic() if self.held is None else self.held


def resident() -> float:
    """Return this process's resident megabytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * contenders.PAGE / 1e6


async def weigh(where: world.World) -> dict[str, float]:
    """Start the service, look every principal up, and weigh before and after."""
    settings = "[caches]\nprofiles = 100000"
    file = contenders.configuration(contenders.Contender("memory", transport="native", settings=settings), where)
    listen = dict.fromkeys(("grpc", "admin", "http", "ops"), "127.0.0.1:0")
    loaded = load(file, {}, development=False, listen=listen)
    clock, writer = HeldClock(), configure(loaded.log.level, loaded.log.format)
    app = App(loaded, Job(str(file), None, listen), clock=clock, entropy=os.urandom, log_writer=writer)
    await app.start()
    try:
        settle_memory()
        near, profiles = app.parts.near, app.parts.profiles
        while not near.live:
            await asyncio.sleep(0.01)
        before, clock.held = resident(), clock.monotonic()
        for start in range(0, COUNT, BATCH):
            names = [Identity("idp", f"user-{number}") for number in range(start, start + BATCH)]
            found = await asyncio.gather(*map(profiles.resolve, names))
            assert all(isinstance(one, Profile) for one in found)
        return {"values": len(near), "before_mb": round(before, 1), "after_mb": round(resident(), 1)}
    finally:
        await app.stop()


def main() -> None:
    """Fill a store, and weigh."""
    with world.valkey(1, COUNT) as (url, process), world.provider() as jwks_url:
        where = world.World(jwks_url, url, process, Path())
        print(json.dumps(asyncio.run(weigh(where))))


if __name__ == "__main__":
    main()
