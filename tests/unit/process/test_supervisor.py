"""A supervisor and workers, as processes: those that hang, that never are ready, that end at once, that do not stop."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import FakeClock

from tokenmint.process.heartbeat import Pulse, Report, Silence, Watch
from tokenmint.process.restarts import RESTART_LIMIT

pytestmark = [pytest.mark.slow, pytest.mark.processes]

PATIENCE = 60.0  # seconds that a test waits for what has to come
FAST: dict[str, float] = {"beat": 0.05, "silence": 600.0, "look": 0.1, "start": 600.0, "margin": 0.2}


def until(condition: Callable[[], Any]) -> Any:
    """Wait for a condition; return what it is."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


class Supervised:
    """A supervisor with two workers that do one thing."""

    def __init__(self, directory: Path, behaviour: str, drain: float, watch: dict[str, float]) -> None:
        self.marks = directory
        self.errors = directory / "stderr.log"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.workers", "supervise", behaviour, str(directory), str(drain),
                 json.dumps({**FAST, **watch})],
                stdout=subprocess.PIPE, stderr=errors, text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip

    def pids(self, mark: str = "ready") -> set[int]:
        return {int(file.name.rpartition("-")[2]) for file in self.marks.glob(f"{mark}-*")}

    def said(self) -> str:
        return self.errors.read_text()

    def until_ready(self, count: int) -> set[int]:
        def enough() -> set[int] | None:
            pids = self.pids()
            assert self.process.poll() is None, self.said()
            return pids if len(pids) >= count else None

        found: set[int] = until(enough)
        return found

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)


Supervise = Callable[..., Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    started: list[Supervised] = []

    def start(behaviour: str, drain: float = 10.0, **watch: float) -> Supervised:
        started.append(Supervised(tmp_path, behaviour, drain, watch))
        return started[-1]

    yield start
    for supervised in started:
        for pid in supervised.pids("started"):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        supervised.process.kill()
        supervised.process.wait(PATIENCE)
        if supervised.process.stdout is not None:
            supervised.process.stdout.close()


def alive(pid: int) -> bool:
    try:
        return b"tests.workers" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_worker_that_hangs_is_replaced_within_30_s() -> None:
    """The figures in production; those of the tests below are smaller."""
    watch = Watch()
    assert watch.silence >= 20  # a busy machine trips nothing
    assert watch.silence + watch.look + watch.beat < 30


def test_a_worker_that_is_stopped_is_killed_and_replaced(supervise: Supervise) -> None:
    supervised = supervise("serves", silence=5.0)
    victim, other = supervised.until_ready(2)
    os.kill(victim, signal.SIGSTOP)
    supervised.until_ready(3)
    until(lambda: not alive(victim))
    assert alive(other)
    assert f"worker {victim} hangs: no sign of life" in supervised.said()
    assert f"worker {victim} ended with -9" in supervised.said()
    assert supervised.stop() == 0


def test_a_worker_whose_loop_is_blocked_is_killed_and_replaced(supervise: Supervise) -> None:
    supervised = supervise("blocks", silence=5.0)
    before = supervised.until_ready(2)
    after = supervised.until_ready(4) - before
    until(lambda: not any(map(alive, before)))
    assert all(map(alive, after))
    assert supervised.said().count("hangs: no sign of life") == 2
    assert supervised.stop() == 0


@pytest.mark.parametrize(
    ("behaviour", "limits", "fault"),
    [
        ("never ready", {"start": 1.0}, "is not ready after"),
        ("opens, never ready", {"start": 1.0}, "is not ready after"),
        ("opens, then blocks", {"silence": 1.0}, "hangs: no sign of life"),
    ],
)
def test_a_worker_that_never_is_ready_is_killed(
    supervise: Supervise, behaviour: str, limits: dict[str, float], fault: str
) -> None:
    """One that has opened its listeners holds clients, so its silence counts before it is ready.

    Where none has come to serve, there is nothing to replace it for, and the service ends.
    """
    supervised = supervise(behaviour, **limits)
    assert supervised.process.wait(PATIENCE) == 1
    assert supervised.said().count(fault) == 2
    assert "starting another" not in supervised.said()


def test_a_supervisor_that_stood_still_kills_nobody(supervise: Supervise) -> None:
    """As with Ctrl-Z, or a machine that was asleep: the workers stand still as well."""
    supervised = supervise("serves", silence=4.0)
    pids = supervised.until_ready(2)
    everybody = [supervised.process.pid, *pids]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all("T (stopped)" in Path(f"/proc/{pid}/status").read_text() for pid in everybody))
    stopped = time.monotonic()
    until(lambda: time.monotonic() - stopped > 4.5)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    os.kill(supervised.process.pid, signal.SIGHUP)
    until(lambda: supervised.pids("reloaded") == pids)
    assert "hangs" not in supervised.said()
    assert supervised.stop() == 0


def test_workers_that_end_as_soon_as_they_are_ready_end_the_service(supervise: Supervise) -> None:
    supervised = supervise("ends at once")
    assert supervised.process.wait(PATIENCE) == 1
    said = supervised.said()
    assert f"{RESTART_LIMIT} workers in a row ended as soon as they were ready" in said
    assert "starting another in 0.5 s" in said


@pytest.mark.parametrize("behaviour", ["serves", "blocks while it stops"])
def test_stopping_with_a_hung_worker_takes_no_longer_than_the_drain(supervise: Supervise, behaviour: str) -> None:
    supervised = supervise(behaviour, drain=0.5)
    pids = supervised.until_ready(2)
    if behaviour == "serves":
        os.kill(min(pids), signal.SIGSTOP)
    started = time.monotonic()
    supervised.stop()
    assert time.monotonic() - started >= 0.7  # it had its time ...
    until(lambda: not any(map(alive, pids)))  # ... and no other limit would have ended it


def test_what_a_worker_prints_blocks_nobody(supervise: Supervise) -> None:
    supervised = supervise("talks")
    supervised.until_ready(2)
    assert supervised.stop() == 0
    assert supervised.errors.stat().st_size >= 400_000


def test_a_reload_does_not_end_a_worker_that_is_starting(supervise: Supervise) -> None:
    """SIGHUP ends a process that does not expect it yet. The worker reloads as soon as it is ready."""
    supervised = supervise("slow to start")
    pids = until(lambda: found if len(found := supervised.pids("started")) == 2 else None)
    supervised.process.send_signal(signal.SIGHUP)
    (supervised.marks / "go").touch()
    assert supervised.until_ready(2) == pids
    until(lambda: supervised.pids("reloaded") == pids)
    assert supervised.stop() == 0


# --- the pipe -----------------------------------------------------------------------------------------------------


def test_a_supervisor_that_does_not_read_stops_no_worker() -> None:
    reading, writing = os.pipe()
    pulse = Pulse(writing, 1.0)
    done = threading.Event()

    def talk() -> None:
        for _ in range(100_000):  # more than a pipe holds
            pulse.say("")
        done.set()

    thread = threading.Thread(target=talk)
    thread.start()
    assert done.wait(PATIENCE)
    report = Report(reading)
    assert report.read()
    report.close()
    pulse.say("nobody is there any more")  # EPIPE
    thread.join()
    os.close(writing)


def test_lines_are_lines_however_they_come() -> None:
    reading, writing = os.pipe()
    report = Report(reading)
    assert report.read() == []
    os.write(writing, b'{"a":')
    assert report.read() == []
    os.write(writing, b"1}\n\n\n{")
    assert (report.read(), report.over) == ([b'{"a":1}', b"", b""], False)
    os.close(writing)
    assert (report.read(), report.over) == ([], True)
    report.close()


def test_silence_is_counted_only_while_the_supervisor_looks(clock: FakeClock) -> None:
    silence = Silence(2.0, clock.monotonic)
    silence.begin(1)
    silence.begin(2)
    for _ in range(3):
        clock.advance(1.0)
        silence.look()
    assert silence.of(1) == 3.0
    clock.advance(3600)  # it was stopped
    silence.look()
    assert silence.of(1) == 5.0
    silence.heard(1)
    assert (silence.of(1), silence.of(2)) == (0.0, 5.0)
    assert silence.end(2) == 5.0
    assert silence.of(2) == 0.0
