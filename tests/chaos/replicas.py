"""The fleet: replicas of several workers each, started again when they end, as an orchestrator does."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.plan import REPLICAS, WORKERS
from tests.process import environment
from tests.unit.storage.test_topologies import free_port

LISTENERS: Final = ("grpc", "admin", "http", "ops")
START_LIMIT: Final = 90.0
RESTART_PAUSE: Final = 0.5  # seconds before a replica that ended is started again


@dataclass
class Replica:
    """One `tokenmint serve` with its workers, on ports and a data directory of its own."""

    number: int
    directory: Path
    config: Path
    store_url: str
    listen: dict[str, str] = field(default_factory=lambda: {name: f"127.0.0.1:{free_port()}" for name in LISTENERS})
    process: asyncio.subprocess.Process | None = None
    down_since: float | None = None
    """Since when its processes are gone; None while it serves."""
    outages: list[tuple[float, float]] = field(default_factory=list)
    ends: int = 0
    """How often it ended without having been killed."""
    killed: bool = False

    @property
    def log(self) -> Path:
        """What its processes say."""
        return self.directory / "stderr.log"

    async def start(self) -> bool:
        """Start it. Returns whether it came to serve."""
        self.directory.mkdir(exist_ok=True)
        listen = {f"TOKENMINT_LISTEN__{name.upper()}": place for name, place in self.listen.items()}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tokenmint", "serve", "--output", "json", "--workers", str(WORKERS),
                "--config", str(self.config), "--data-dir", str(self.directory / "data"),
                stdout=asyncio.subprocess.PIPE, stderr=log, stdin=asyncio.subprocess.DEVNULL, cwd=self.directory,
                env=_plain() | {"TOKENMINT_REDIS__URL": self.store_url} | listen,
            )  # fmt: skip
        self.killed = False
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), START_LIMIT)
        if line and json.loads(line)["event"] == "ready":
            if self.down_since is not None:
                self.outages.append((self.down_since, time.time()))
            self.down_since = None
            return True
        return False

    async def keep_running(self) -> None:
        """Start it again whenever it ends, for ever."""
        while True:
            assert self.process is not None
            await self.process.wait()
            self.down_since = self.down_since or time.time()
            self.ends += not self.killed
            await asyncio.sleep(RESTART_PAUSE)
            await self.start()

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        if self.process is None or self.process.returncode is not None:
            return []
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in children.read_text().split()]
        return []

    async def listens(self) -> bool:
        """Whether a worker takes connections."""
        host, _, port = self.listen["grpc"].rpartition(":")
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return False
        writer.close()
        return True

    def kill(self) -> None:
        """End the whole replica as a power failure would."""
        self.killed = True
        self.down_since = time.time()
        for pid in [*self.workers(), *([self.process.pid] if self.process else [])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End it in order."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 20)
            except TimeoutError:
                self.kill()
                await self.process.wait()

    def process_of(self, replica_id: str) -> int | None:
        """The process id of the worker that follows the ring under this name, as its log says."""
        for line in self.log.read_text(errors="replace").splitlines():
            if replica_id in line and '"process"' in line:
                return int(json.loads(line)["process"])
        return None


def _plain() -> dict[str, str]:
    """The environment, without the patience that other tests have."""
    return {name: value for name, value in environment().items() if not name.startswith("TOKENMINT_")}


@contextlib.asynccontextmanager
async def running(directory: Path, config: Path, store_url: str) -> AsyncIterator[list[Replica]]:
    """Run the fleet until the end of the block."""
    fleet = [Replica(number, directory / f"replica-{number}", config, store_url) for number in range(REPLICAS)]
    keepers: list[asyncio.Task[None]] = []
    try:
        for replica in fleet:
            if not await replica.start():
                raise RuntimeError(f"replica {replica.number} does not start: {replica.log.read_text()[-2000:]}")
        keepers = [asyncio.create_task(replica.keep_running()) for replica in fleet]
        yield fleet
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await asyncio.gather(*(replica.stop() for replica in fleet))
