"""`serve`: starts the workers, replaces those that end, and stops them in order.

A single worker is this very process. With several, this process supervises: the workers share the ports (SO_REUSEPORT)
and hold no state beyond the store, so each can be replaced. A worker that served for a while is replaced at once; if
workers end early, the pauses grow. A hung worker is killed.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import FrameType
from typing import Final

from prometheus_client.multiprocess import mark_process_dead

from tokenmint.base.standard_streams import say, show
from tokenmint.base.telemetry import MULTIPROCESS
from tokenmint.process.heartbeat import Report, Silence, Watch
from tokenmint.process.restarts import LONGEST_PAUSE, RESTART_LIMIT, Restarts

COMMAND: Final = (sys.executable, "-m", "tokenmint.process.worker")
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True)
class Job:
    """A worker's task: a plain value, so that it can be sent to another process as JSON."""

    config: str | None
    """The path of the configuration file; None for environment and defaults alone."""
    redis_url: str | None = field(repr=False)
    """The URL of the store, if it is not the configured one."""
    listen: dict[str, str]
    """The addresses by the name of the listener, with port 0 replaced."""
    development: bool = False
    replaces: str | None = None
    """The end of the worker that this one replaces: `ended`, `hung`, `never_ready`; None for one of the first."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The announcement that the service serves. A worker also sends it to its supervisor, as one JSON line."""

    pid: int
    listen: dict[str, str]


def print_ready(ready: Ready) -> None:
    """Print the line that scripts wait for."""
    show(json.dumps({"event": "ready", **asdict(ready)}) + "\n")


class Worker:
    """A worker process and the pipe from it."""

    def __init__(self, process: "subprocess.Popen[str]", report: Report) -> None:
        self.process = process
        self.pid = process.pid
        self.report = report
        self.beats = False
        """Whether it takes connections, so that its event loop has to run."""
        self.ready = False
        self.told_to_stop = False
        self.reload = False
        """Whether it has to reload the configuration once it is ready."""
        self.why = "ended"
        """The reason under which its end is counted."""

    def send(self, number: int) -> None:
        """Send a signal if the process still exists. It is a child, so its id can't belong to another process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Workers:
    """Several worker processes with the same task.

    Args:
        job: the task.
        count: the number of workers.
        drain: seconds that workers have to stop: the lame-duck pause, and the time for calls to end.
        watch: the time limits of heartbeats.
        command: the command of a worker, without its arguments (the pipe's descriptor, the heartbeat in seconds).
    """

    def __init__(
        self, job: Job, count: int, *, drain: float, watch: Watch | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        self._job = job
        self._count = count
        self._drain = drain
        self._watch = watch or Watch()
        self._command = command
        self._running: dict[int, Worker] = {}
        self._due: list[tuple[float, str]] = []
        """Due starts: the time by the monotonic clock, and the end of the replaced worker."""
        self._waiting: list[tuple[float, str]] = []
        """Pauses and ends of workers that are replaced only when one has become ready."""
        self._restarts = Restarts()
        self._silence = Silence(2 * self._watch.look)
        self._starting = Silence(2 * self._watch.look)
        """Seconds since the start of each worker that is not ready yet."""
        self._served = False
        self._deadline: float | None = None
        """The time by the monotonic clock at which stopping workers are killed; None unless stopping."""
        self._status = 0
        self._numbers = ""

    def run(self, announce: Callable[[Ready], None]) -> int:
        """Start the workers, keep them running, stop them on SIGTERM or SIGINT. Returns the exit status."""
        with (
            selectors.DefaultSelector() as selector,
            self._signals(selector),
            tempfile.TemporaryDirectory(prefix="tokenmint-metrics-") as numbers,
        ):
            self._numbers = numbers
            self._selector = selector
            try:
                for _ in range(self._count):
                    self._start(None)
                while self._running or (self._due and self._deadline is None):
                    self._turn(announce)
            finally:
                self._send(signal.SIGKILL)
        return self._status or int(not self._served)

    def _turn(self, announce: Callable[[Ready], None]) -> None:
        """Wait for an event, then handle everything that is due."""
        self._wait()
        self._silence.look()
        self._starting.look()
        for worker in list(self._running.values()):
            for line in worker.report.read():
                self._heard(worker, line, announce)
            if worker.report.over and worker.report.descriptor in self._selector.get_map():
                self._selector.unregister(worker.report.descriptor)
        for worker in list(self._running.values()):
            if worker.process.poll() is not None:
                self._ended(worker)
            else:
                self._judge(worker)
        now = time.monotonic()
        if self._deadline is not None:
            self._tell_to_stop()  # includes a worker that started while the signal arrived
            if now >= self._deadline:
                self._send(signal.SIGKILL)
            return
        due, self._due = self._due, [item for item in self._due if item[0] > now]
        for _, why in (item for item in due if item[0] <= now):
            self._start(why)

    def _wait(self) -> None:
        """Wait for a worker, a signal or the next due time."""
        now = time.monotonic()
        times = [when - now for when, _ in self._due]
        if self._deadline is not None and self._deadline > now:
            times.append(self._deadline - now)
        self._selector.select(max(0.0, min([self._watch.look, *times])))
        with contextlib.suppress(BlockingIOError):
            while self._waking.recv(4096):
                pass

    def _start(self, replaces: str | None) -> None:
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603  # this interpreter and a module of this package
                [*self._command, str(writing), str(self._watch.beat)],
                stdin=subprocess.PIPE,
                stdout=2,  # output of libraries belongs to the log: a pipe without a reader would block it
                text=True,
                pass_fds=(writing,),
                env=os.environ | {MULTIPROCESS: self._numbers},
                preexec_fn=_die_with_parent,  # only prctl runs in the child, because other threads may hold locks
            )
        except OSError as error:  # no process or no memory is available: the serving workers continue
            os.close(reading)
            _say(f"a worker can't be started: {error.strerror}")
            if not self._running:
                raise
            self._due.append((time.monotonic() + LONGEST_PAUSE, replaces or "ended"))
            return
        finally:
            os.close(writing)
        worker = Worker(process, Report(reading))
        self._running[worker.pid] = worker
        self._silence.begin(worker.pid)
        self._starting.begin(worker.pid)
        self._selector.register(reading, selectors.EVENT_READ)
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it may have ended already
                process.stdin.write(json.dumps(asdict(replace(self._job, replaces=replaces))))
                process.stdin.close()

    def _heard(self, worker: Worker, line: bytes, announce: Callable[[Ready], None]) -> None:
        self._silence.heard(worker.pid)
        worker.beats = True
        if worker.ready or not line:
            return
        worker.ready = True
        self._starting.end(worker.pid)
        self._restarts.ready(worker.pid)
        _say(f"worker {worker.pid} is ready")
        if worker.reload:
            worker.send(signal.SIGHUP)
        if not self._served:
            self._served = True
            announce(Ready(os.getpid(), json.loads(line)["listen"]))
            for pause, why in self._waiting:
                self._replace(pause, why)

    def _judge(self, worker: Worker) -> None:
        """Kill a worker that takes connections and hangs, or that does not become ready."""
        silent, starting = self._silence.of(worker.pid), self._starting.of(worker.pid)
        if worker.why != "ended":
            return
        if worker.beats and silent >= self._watch.silence:
            worker.why = "hung"
            _say(f"worker {worker.pid} hangs: no sign of life after {silent:.0f} s; killing it")
        elif starting >= self._watch.start:
            worker.why = "never_ready"
            _say(f"worker {worker.pid} is not ready after {starting:.0f} s; killing it")
        else:
            return
        worker.send(signal.SIGKILL)

    def _ended(self, worker: Worker) -> None:
        del self._running[worker.pid]
        if worker.report.descriptor in self._selector.get_map():
            self._selector.unregister(worker.report.descriptor)
        worker.report.close()
        silent = self._silence.end(worker.pid)
        self._starting.end(worker.pid)
        mark_process_dead(worker.pid, self._numbers)  # type: ignore[no-untyped-call]  # the library is untyped
        if self._deadline is not None:
            return
        pause = self._restarts.ended(worker.pid, silent if worker.why == "hung" else 0.0)
        _say(f"worker {worker.pid} ended with {worker.process.returncode}")
        if not self._served:
            self._waiting.append((pause, worker.why))
            if not self._running:
                self._give_up()  # each has logged the reason why it can't serve
        elif self._restarts.hopeless:
            _say(f"{RESTART_LIMIT} workers in a row ended as soon as they were ready, and none serves: stopping")
            self._give_up()
        else:
            self._replace(pause, worker.why)

    def _replace(self, pause: float, why: str) -> None:
        _say(f"starting another{f' in {pause:g} s' if pause else ''}")
        self._due.append((time.monotonic() + pause, why))

    def _give_up(self) -> None:
        self._status = 1
        self._stop(signal.SIGTERM, None)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._drain + self._watch.margin
            self._tell_to_stop(number)
        else:
            self._send(number)  # a second signal skips the pause

    def _tell_to_stop(self, number: int = signal.SIGTERM) -> None:
        for worker in list(self._running.values()):
            if not worker.told_to_stop:  # once: near its end a second signal would kill it
                worker.told_to_stop = True
                worker.send(number)

    def _reload(self, _signal: int, _frame: FrameType | None) -> None:
        for worker in list(self._running.values()):
            if worker.ready:
                worker.send(signal.SIGHUP)
            else:  # it has no handler yet, so the signal would end it
                worker.reload = True

    def _send(self, number: int) -> None:
        for worker in list(self._running.values()):
            worker.send(number)

    @contextlib.contextmanager
    def _signals(self, selector: selectors.BaseSelector) -> Iterator[None]:
        """Handle signals, each of which wakes the selector."""

        def nothing(_signal: int, _frame: FrameType | None) -> None:
            pass

        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
            signal.SIGCHLD: nothing,
        }
        self._waking, writing = socket.socketpair()
        self._waking.setblocking(False)
        writing.setblocking(False)
        selector.register(self._waking, selectors.EVENT_READ)
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        descriptor = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._waking.close()
            writing.close()


def _say(text: str) -> None:
    say(f"tokenmint: {text}\n")


def _die_with_parent() -> None:
    """Make the kernel (Linux) end this process when its parent dies, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
