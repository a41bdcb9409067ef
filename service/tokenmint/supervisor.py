"""`serve`: starts the workers, replaces those that die, and stops them in order.

With one worker the service runs in this very process. With several this process supervises: the workers share the
ports (SO_REUSEPORT) and hold no state that the store does not, so one that dies is replaced.
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
from tokenmint.telemetry import MULTIPROCESS

RESTART_WINDOW = 60.0  # seconds within which ...
RESTART_LIMIT = 5  # ... so many deaths of workers mean that starting again does not help
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
    sys.stdout.write(json.dumps({"event": "ready", **asdict(ready)}) + "\n")
    sys.stdout.flush()


class Workers:
    """Several worker processes doing the same job."""

    def __init__(self, job: Job, count: int) -> None:
        self._job = job
        self._count = count
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._deaths: list[float] = []
        self._stopping = False
        self._numbers = ""

    def run(self, announce: Callable[[Ready], None]) -> int:
        """Start the workers, keep them running, stop them on SIGTERM or SIGINT. Returns the exit status."""
        with self._signals(), tempfile.TemporaryDirectory(prefix="tokenmint-metrics-") as numbers:
            self._numbers = numbers
            for _ in range(self._count):
                self._start()
            for worker in list(self._running.values()):
                self._await_ready(worker, announce if worker is next(iter(self._running.values())) else None)
            status = self._keep_running()
        self._kill_rest()
        return status

    def _start(self) -> None:
        worker = subprocess.Popen(  # our own interpreter and our own module
            [sys.executable, "-m", "tokenmint.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {MULTIPROCESS: self._numbers},
            preexec_fn=_die_with_parent,  # no threads here yet; prctl alone runs in the child
        )
        if worker.stdin is not None:
            worker.stdin.write(json.dumps(asdict(self._job)))
            worker.stdin.close()
        self._running[worker.pid] = worker

    def _await_ready(self, worker: subprocess.Popen[str], announce: Callable[[Ready], None] | None) -> None:
        line = worker.stdout.readline() if worker.stdout is not None else ""
        if announce is not None and line:
            event = json.loads(line)
            announce(Ready(os.getpid(), event["listen"]))

    def _keep_running(self) -> int:
        status = 0
        while self._running:
            try:
                pid, wait_status = os.wait()
            except InterruptedError:
                continue
            except ChildProcessError:
                break
            worker = self._running.pop(pid, None)
            if worker is None:
                continue
            worker.returncode = os.waitstatus_to_exitcode(wait_status)
            if worker.stdout is not None:
                worker.stdout.close()
            mark_process_dead(pid, self._numbers)  # type: ignore[no-untyped-call]  # untyped there
            if self._stopping:
                continue
            if self._gives_up():
                sys.stderr.write(
                    f"tokenmint: {RESTART_LIMIT} workers died within {RESTART_WINDOW:.0f} s: stopping, see the log\n"
                )
                status = 1
                self._stop(signal.SIGTERM, None)
            else:
                sys.stderr.write(f"tokenmint: worker {pid} ended with {worker.returncode}; starting another\n")
                self._start()
        return status

    def _gives_up(self) -> bool:
        now = time.monotonic()
        self._deaths = [death for death in self._deaths if now - death < RESTART_WINDOW]
        self._deaths.append(now)
        return len(self._deaths) >= RESTART_LIMIT

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
