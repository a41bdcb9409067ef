"""The fleet: replicas of several workers each. The lane starts again what it ended itself, and nothing else."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos import clocks, listeners
from tests.chaos.clocks import ReplicaClock
from tests.chaos.ledger import End, Ledger
from tests.chaos.logs import LogReader
from tests.chaos.plan import REPLICAS, WORKERS
from tests.chaos.versions.version import THIS, Version
from tests.ports import own_port
from tests.process import environment

LISTENERS: Final = ("grpc", "admin", "http", "ops")
START_LIMIT: Final = 180.0  # seconds, on a machine that does much else
RESTART_PAUSE: Final = 0.5  # seconds before a replica that the lane ended is started again
STOP_LIMIT: Final = 12.0  # seconds for a stop in order: the drain is one second
STOPS: Final = f"SIGTERM stops a replica within {STOP_LIMIT:.0f} s"
LOOK: Final = 0.1  # seconds between looks at the processes


@dataclass
class Replica:
    """One `tokenmint serve` with its workers, on ports and a data directory of its own."""

    number: int
    directory: Path
    config: Path
    store_url: str
    ledger: Ledger
    library: Path | None = None
    """libfaketime; None: its clock can't be moved."""
    version: Version = THIS
    """The version that it runs, or ran last."""
    listen: dict[str, str] = field(default_factory=lambda: {name: _place() for name in LISTENERS})
    process: asyncio.subprocess.Process | None = None
    down_since: float | None = None
    """Since when its processes are gone; None while it serves."""
    outages: list[tuple[float, float]] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)
    """Processes that the lane ended, or has stopped so that they are to be ended."""
    gone: bool = False
    """Whether it ended by itself: nobody starts it again."""
    next_version: Version | None = None
    """The version that its next start runs, if another one."""
    _stopping: bool = False
    _seen: set[int] = field(default_factory=set)
    _missing: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.log = LogReader(self.directory / "stderr.log")
        self.clock = ReplicaClock(self.directory, self.library) if self.library is not None else None

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.directory / "data"

    async def start(self) -> bool:
        """Start it. Returns whether it came to serve."""
        listen = {f"TOKENMINT_LISTEN__{name.upper()}": place for name, place in self.listen.items()}
        changes = {"TOKENMINT_REDIS__URL": self.store_url} | listen | (self.clock.environment() if self.clock else {})
        stderr = self.log.open()
        self._stopping = False
        self.version, self.next_version = self.next_version or self.version, None
        try:
            self.process = await asyncio.create_subprocess_exec(
                self.version.python, "-m", "tokenmint", "serve", "--output", "json", "--workers", str(WORKERS),
                "--config", str(self.config), "--data-dir", str(self.data),
                stdout=asyncio.subprocess.PIPE, stderr=stderr, stdin=asyncio.subprocess.DEVNULL, cwd=self.directory,
                env=plain_environment() | changes,
            )  # fmt: skip
        finally:
            os.close(stderr)
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), START_LIMIT)
        if line and json.loads(line)["event"] == "ready":
            if self.down_since is not None:
                self.outages.append((self.down_since, time.time()))
            self.down_since = None
            return True
        return False

    async def keep_running(self) -> None:
        """Start it again each time the lane has ended it. Each other end is written down."""
        while True:
            assert self.process is not None
            pid, status = self.process.pid, await self.process.wait()
            clocks.tidy(pid)
            self.down_since = self.down_since or time.time()
            if pid not in self.expected or (self._stopping and status):
                await asyncio.sleep(LOOK)  # what it said last is read first
                self.ended(f"supervisor {pid}", status)
                self.gone = True
                return
            await asyncio.sleep(RESTART_PAUSE)
            try:
                await self.start()
            except TimeoutError:
                self.ledger.problems.append(f"replica {self.number} was not ready within {START_LIMIT:.0f} s")

    async def watch(self) -> None:
        """Look for workers that end by themselves, for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK)

    def look(self) -> None:
        """Write down the workers that have ended, though nobody ended them."""
        if self.process is None or self.process.pid in self.expected:
            self._seen, self._missing = set(), set()  # they end with it
            return
        there = self._children()
        if there is None:
            return
        ended = self._missing | set(self.log.ended)
        for pid in sorted(ended - self.expected):
            self.ended(f"worker {pid}", self.log.ended.get(pid))
            self.expected.add(pid)  # told once
        self._missing = self._seen - there  # written down with the next look: its supervisor tells its status first
        self._seen = there

    def ended(self, process: str, status: int | None) -> None:
        """Write down that one of its processes ended by itself."""
        self.ledger.ends.append(End(self.number, process, status, time.time(), tuple(self.log.last_words())))

    def _children(self) -> set[int] | None:
        """Return its processes' ids; None where the supervisor is gone."""
        if self.process is None or self.process.returncode is not None:
            return None
        own = Path(f"/proc/{self.process.pid}")
        try:
            state = (own / "stat").read_text().rpartition(")")[2].split()[0]
            children = (own / f"task/{self.process.pid}/children").read_text()
        except OSError:
            return None
        return None if state == "Z" else {int(pid) for pid in children.split()}

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return sorted(self._children() or ())

    def serving(self) -> list[int]:
        """The workers that take connections by now."""
        return [pid for pid in self.workers() if listeners.listens(pid, self.listen["grpc"])]

    async def complete(self) -> bool:
        """Whether it has ended by itself, or has all of its workers, and each takes connections."""
        return self.gone or (self.down_since is None and len(self.serving()) >= WORKERS)

    def end_worker(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """End one worker, or stop it so that its supervisor has to."""
        self.expected.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill(self) -> None:
        """End the whole replica as a power failure would."""
        self.down_since = time.time()
        for pid in [*self.workers(), *([self.process.pid] if self.process else [])]:
            self.end_worker(pid)

    async def stop_in_order(self) -> float | None:
        """Send SIGTERM and wait for the end. Returns the seconds that took; None: too many, so that it was killed."""
        if self.process is None or self.process.returncode is not None:
            return 0.0
        began, process = time.time(), self.process
        self.down_since, self._stopping = began, True
        self.expected |= {process.pid, *self.workers()}
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_LIMIT)
        except TimeoutError:
            self._stopping = False  # that it is killed now is no end by itself
            self.kill()
            self.down_since = began
            await process.wait()
            return None
        return time.time() - began

    def process_of(self, replica_id: str) -> int | None:
        """The process id of the worker that follows the ring under this name, as its log says."""
        for line in self.log.file.read_text(errors="replace").splitlines():
            if replica_id in line and '"process"' in line:
                return int(json.loads(line)["process"])
        return None


def _place() -> str:
    return f"127.0.0.1:{own_port()}"


def plain_environment() -> dict[str, str]:
    """The environment, without the patience that other tests have."""
    return {name: value for name, value in environment().items() if not name.startswith("TOKENMINT_")}


@contextlib.asynccontextmanager
async def running(
    directory: Path,
    config: Path,
    store_urls: list[str],
    ledger: Ledger,
    library: Path | None,
    version: Version = THIS,
) -> AsyncIterator[list[Replica]]:
    """Run the fleet until the end of the block, of one version at first."""
    fleet = [
        Replica(number, directory / f"replica-{number}", config, url, ledger, library, version)
        for number, url in zip(range(REPLICAS), itertools.cycle(store_urls))
    ]
    keepers: list[asyncio.Task[None]] = []
    try:
        started = await asyncio.gather(*(replica.start() for replica in fleet))
        if not all(started):
            raise RuntimeError(f"not every replica starts: {[replica.log.last_words() for replica in fleet]}")
        keepers = [asyncio.create_task(work) for one in fleet for work in (one.keep_running(), one.watch())]
        yield fleet
        for replica in fleet * 2:
            replica.look()
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await asyncio.gather(*(_stop_for_good(replica) for replica in fleet))


async def _stop_for_good(replica: Replica) -> None:
    took = await replica.stop_in_order()
    if took is None:
        replica.ledger.breaches.append((STOPS, f"replica {replica.number}, at the end of the run"))
    elif replica.process is not None and replica.process.returncode and not replica.gone:
        replica.ended(f"supervisor {replica.process.pid}, when it was stopped", replica.process.returncode)
    if replica.process is not None:
        clocks.tidy(replica.process.pid)
    replica.log.close()
