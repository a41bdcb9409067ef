"""`serve`: starts the workers, replaces those that die, and stops them in order.

With one worker the service runs in this very process. With several this process supervises: the workers share the
ports (SO_REUSEPORT) and hold no state that the store does not, so one that dies is replaced: at once where it served
for a while, and after longer and longer pauses where workers end as soon as they are ready. One that hangs is killed.
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
    """What a worker is to do: a plain value, so that it can be handed to another process as JSON."""

    config: str | None
    """Path of the configuration file; None: the environment and the defaults."""
    redis_url: str | None = field(repr=False)
    """The store, where it is not the configured one."""
    listen: dict[str, str]
    """The addresses, by the name of the listener, with every port known."""
    development: bool = False
    replaces: str | None = None
    """Why the worker is started in place of another: `ended`, `hung`, `never_ready`; None: it is one of the first."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What is told when the service serves: also, as one JSON line, what a worker tells its supervisor."""

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
        self.ready = False
        self.told_to_stop = False
        self.reload = False
        """Whether it has to read the configuration again once it is ready."""
        self.why = "ended"
        """What its end is counted as."""

    def send(self, number: int) -> None:
        """Send a signal, where the process is still there: it is a child, so no other has its id."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Workers:
    """Several worker processes doing the same job.

    Args:
        job: what each does.
        count: how many there are.
        drain: seconds that workers get to stop: their lame-duck pause, and what calls get to end.
        watch: how long a worker may be silent.
        command: what a worker is started with, before the descriptor of its pipe and the seconds between its beats.
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
        """When, by the monotonic clock, workers are to be started, and in whose place."""
        self._waiting: list[tuple[float, str]] = []
        """Pauses of workers that are started only when one has come to serve."""
        self._restarts = Restarts()
        self._silence = Silence(2 * self._watch.look)
        self._served = False
        self._deadline: float | None = None
        """When, by the monotonic clock, workers that were to stop are killed; None: nothing stops."""
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
        """Wait for something to happen, and do what is due."""
        self._wait()
        self._silence.look()
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
            self._tell_to_stop()  # also one that was started while the signal came
            if now >= self._deadline:
                self._send(signal.SIGKILL)
            return
        due, self._due = self._due, [item for item in self._due if item[0] > now]
        for _, why in (item for item in due if item[0] <= now):
            self._start(why)

    def _wait(self) -> None:
        """Wait until a worker or a signal comes, or something is due."""
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
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own module
                [*self._command, str(writing), str(self._watch.beat)],
                stdin=subprocess.PIPE,
                stdout=2,  # what a library prints belongs to the log: a pipe that nobody reads would stop it
                text=True,
                pass_fds=(writing,),
                env=os.environ | {MULTIPROCESS: self._numbers},
                preexec_fn=_die_with_parent,  # prctl alone runs in the child: other threads may hold locks
            )
        except OSError as error:  # no process or no memory to be had: not a reason to end those that serve
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
        self._selector.register(reading, selectors.EVENT_READ)
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended already
                process.stdin.write(json.dumps(asdict(replace(self._job, replaces=replaces))))
                process.stdin.close()

    def _heard(self, worker: Worker, line: bytes, announce: Callable[[Ready], None]) -> None:
        if worker.ready or not line:
            self._silence.heard(worker.pid)
            return
        worker.ready = True
        self._silence.heard(worker.pid)
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
        """Kill a worker that hangs: it can do nothing for those whose calls it holds."""
        silent = self._silence.of(worker.pid)
        if silent < (self._watch.silence if worker.ready else self._watch.start) or worker.why != "ended":
            return
        worker.why = "hung" if worker.ready else "never_ready"
        what = "hangs: no sign of life" if worker.ready else "is not ready"
        _say(f"worker {worker.pid} {what} after {silent:.0f} s; killing it")
        worker.send(signal.SIGKILL)

    def _ended(self, worker: Worker) -> None:
        del self._running[worker.pid]
        if worker.report.descriptor in self._selector.get_map():
            self._selector.unregister(worker.report.descriptor)
        worker.report.close()
        silent = self._silence.end(worker.pid) if worker.why == "hung" else 0.0
        mark_process_dead(worker.pid, self._numbers)  # type: ignore[no-untyped-call]  # untyped there
        if self._deadline is not None:
            return
        pause = self._restarts.ended(worker.pid, silent)
        _say(f"worker {worker.pid} ended with {worker.process.returncode}")
        if not self._served:
            self._waiting.append((pause, worker.why))
            if not self._running:
                self._give_up()  # each has said what keeps it from serving
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
            self._send(number)  # whoever says it again wants no pause

    def _tell_to_stop(self, number: int = signal.SIGTERM) -> None:
        for worker in list(self._running.values()):
            if not worker.told_to_stop:  # once: at its very end the signal would kill it
                worker.told_to_stop = True
                worker.send(number)

    def _reload(self, _signal: int, _frame: FrameType | None) -> None:
        for worker in list(self._running.values()):
            if worker.ready:
                worker.send(signal.SIGHUP)
            else:  # as long as it does not expect the signal, it would end it
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
    """Ask the kernel (Linux) to end this process when its parent dies, kill -9 included."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
