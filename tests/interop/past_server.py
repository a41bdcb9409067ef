"""The service as its worker runs it, with a clock that is two hours slow: what it mints has expired already."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from tokenmint.base.addresses import Reservations
from tokenmint.base.clock import SystemClock
from tokenmint.base.logs import configure
from tokenmint.config.load import load
from tokenmint.process import bootstrap
from tokenmint.process.app import App
from tokenmint.process.supervisor import Job
from tokenmint.storage.embedded import EmbeddedServer

BEHIND = 7200.0  # seconds


class SlowClock(SystemClock):
    """The machine's time of two hours ago."""

    def now(self) -> float:
        return time.time() - BEHIND


async def serve(config: Path) -> None:
    settings = load(config, os.environ)
    configure("warning", "json")
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    bootstrap.prepare(settings, os.urandom)
    store = EmbeddedServer(settings.data_dir)
    ports = Reservations(settings.listen.addresses())
    job = Job(str(config), store.start(), ports.listen)
    clock = SlowClock()

    async def store_time() -> float:
        return clock.now()

    app = App(settings, job, clock=clock, entropy=os.urandom, store_time=store_time)
    try:
        await app.start()
        print(json.dumps({"event": "ready", "listen": app.listen}), flush=True)
        await asyncio.to_thread(sys.stdin.read)  # until the test that started it closes its end
        await app.stop()
    finally:
        store.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
