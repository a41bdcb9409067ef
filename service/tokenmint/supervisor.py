"""`serve`: starts the workers, replaces those that die, and stops them in order.

With one worker the service runs in this very process. With several this process supervises: the workers share the
ports (SO_REUSEPORT) and hold no state that the store does not, so one that dies is replaced: at once where it served
for a while, and after longer and longer pauses where workers end as soon as they are started.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from tokenmint.errors import ConfigurationError
from tokenmint.standardstreams import say, show
from tokenmint.telemetry import MULTIPROCESS

EARLY = 10.0  # seconds after its start within which a worker that ends has ended at once
FIRST_PAUSE = 0.5  # seconds before another is started in place of one that ended at once; twice as many each time ...
LONGEST_PAUSE = 30.0  # ... up to so many
RESTART_LIMIT = 5  # ends at once, in a row, after which starting again does not help, unless another worker serves
_LOOK = 0.05  # seconds between looks at the workers while one is due to be started
DRAIN_LIMIT = 40.0  # seconds after which a worker that does not stop is killed
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do: a plain value, so that it can be handed to another process as JSON."""

    config: str | None
    """Path of the configuration file; None: the environment and the defaults."""
    redis_url: str | None = field(repr=False)
    """The store, where it is not the configured one."""
    listen: dict[str, str]
    """The addresses, by the name of the listener, with every port known."""
    development: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """What is told when the service serves: also, as one JSON line, what a worker tells its supervisor."""

    pid: int
    listen: dict[str, str]


def print_ready(ready: Ready) -> None:
    """Print the line that scripts wait for."""
    show(json.dumps({"event": "ready", **asdict(ready)}) + "\n")


class Restarts:
    """When another worker is started in place of one that ended.

    Args:
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began: dict[int, float] = {}
        self._in_a_row = 0

    def began(self, pid: int) -> None:
        """Note that a worker was started."""
        self._began[pid] = self._monotonic()

    def ended(self, pid: int) -> float:
        """Note that a worker ended. Returns the seconds after which another is to be started."""
        if self._monotonic() - self._began.pop(pid) >= EARLY:
            self._in_a_row = 0
            return 0.0
        self._in_a_row += 1
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._in_a_row - 1)))

    @property
    def hopeless(self) -> bool:
        """Whether so many ended at once that starting again does not help."""
        return self._in_a_row >= RESTART_LIMIT


class Workers:
    """Several worker processes doing the same job."""

    def __init__(self, job: Job, count: int) -> None:
        self._job = job
        self._count = count
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._due: list[float] = []
        """When, by the monotonic clock, workers are to be started."""
        self._restarts = Restarts()
        self._stopping = False
        self._numbers = ""

    def run(self, announce: Callable[[Ready], None]) -> int:
        """Start the workers, keep them running, stop them on SIGTERM or SIGINT. Returns the exit status."""
        with self._signals(), tempfile.TemporaryDirectory(prefix="tokenmint-metrics-") as numbers:
            self._numbers = numbers
            for _ in range(self._count):
                self._start()
            ready = False
            for worker in list(self._running.values()):
                ready = self._await_ready(worker, None if ready else announce) or ready
            if not ready:
                self._stop(signal.SIGTERM, None)  # each has said what keeps it from serving
            status = self._keep_running() or int(not ready)
        self._kill_rest()
        return status

    def _start(self) -> None:
        worker = subprocess.Popen(  # our own interpreter and our own module
            [sys.executable, "-m", "tokenmint.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {MULTIPROCESS: self._numbers},
            preexec_fn=_die_with_parent,  # prctl alone runs in the child: other threads may hold locks
        )
        if worker.stdin is not None:
            worker.stdin.write(json.dumps(asdict(self._job)))
            worker.stdin.close()
        self._running[worker.pid] = worker
        self._restarts.began(worker.pid)

    def _await_ready(self, worker: subprocess.Popen[str], announce: Callable[[Ready], None] | None) -> bool:
        """Wait until a worker serves, or has ended. Returns whether it serves."""
        line = worker.stdout.readline() if worker.stdout is not None else ""
        if announce is not None and line:
            event = json.loads(line)
            announce(Ready(os.getpid(), event["listen"]))
        return bool(line)

    def _keep_running(self) -> int:
        status = 0
        while self._running or (self._due and not self._stopping):
            pid, wait_status = self._next_end()
            worker = self._running.pop(pid, None)
            if worker is None:
                continue
            worker.returncode = os.waitstatus_to_exitcode(wait_status)
            if worker.stdout is not None:
                worker.stdout.close()
            mark_process_dead(pid, self._numbers)  # type: ignore[no-untyped-call]  # untyped there
            if self._stopping:
                continue
            pause = self._restarts.ended(pid)
            if self._restarts.hopeless and not self._running:
                say(
                    f"tokenmint: {RESTART_LIMIT} workers in a row ended as soon as they were started, and none serves: "
                    "stopping, see the log\n"
                )
                status = 1
                self._stop(signal.SIGTERM, None)
            else:
                when = f" in {pause:g} s" if pause else ""
                say(f"tokenmint: worker {pid} ended with {worker.returncode}; starting another{when}\n")
                self._due.append(time.monotonic() + pause)
        return status

    def _next_end(self) -> tuple[int, int]:
        """Start what is due, and return the process id and wait status of a worker that ended; 0 for none so far."""
        now = time.monotonic()
        for _ in range(0 if self._stopping else sum(due <= now for due in self._due)):
            self._start()
        if self._stopping:
            self._send(signal.SIGTERM)  # to one that was started while the signal came
        self._due = [due for due in self._due if due > now]
        try:
            if not self._due or self._stopping:
                return os.wait()
            found = os.waitpid(-1, os.WNOHANG) if self._running else (0, 0)
        except ChildProcessError:
            self._running.clear()
            return 0, 0
        if not found[0]:
            time.sleep(_LOOK)
        return found

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True
        signal.alarm(int(DRAIN_LIMIT))
        self._send(signal.SIGTERM)

    def _send(self, number: int) -> None:
        for worker in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    def _kill_rest(self) -> None:
        self._send(signal.SIGKILL)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def reload(_signal: int, _frame: FrameType | None) -> None:
            self._send(signal.SIGHUP)

        def too_slow(_signal: int, _frame: FrameType | None) -> None:
            self._send(signal.SIGKILL)

        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: reload,
            signal.SIGALRM: too_slow,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            signal.alarm(0)
            for number, handler in before.items():
                signal.signal(number, handler)


def _die_with_parent() -> None:
    """Ask the kernel (Linux) to end this process when its parent dies, kill -9 included."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def mark_directory(directory: Path, *, development: bool) -> None:
    """Keep development data and real data apart: a directory is one or the other from its first start on.

    Raises:
        ConfigurationError: the directory is of the other kind.
    """
    marker = directory / "DEVELOPMENT"
    used = directory.exists() and any(directory.iterdir())
    if development and not marker.exists() and used:
        raise ConfigurationError(
            f"data_dir: {directory} holds the data of a normal service: give --dev a directory of its own (--data-dir)"
        )
    if not development and marker.exists():
        raise ConfigurationError(
            f"data_dir: {directory} was used with --dev, which lets callers in without credentials: "
            "choose another directory, or remove this one to start afresh"
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if development:
        marker.write_text("Made by `tokenmint serve --dev`. A normal `tokenmint serve` refuses this directory.\n")
