"""The writer of lines: never waits, keeps what it accepted, and counts what it did not."""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tokenmint.base.log_writer import CLOSED, LineWriter

WAIT = 20.0  # seconds at most for what a thread does


class Sink:
    """A descriptor in the test's hands: takes what it is given, fails, or blocks until it is let go."""

    def __init__(self) -> None:
        self.taken = b""
        self.error: Exception | None = None
        self.most = 1 << 20
        self.open = threading.Event()
        self.open.set()
        self.tried = threading.Event()

    def __call__(self, _: int, data: memoryview) -> int:
        self.tried.set()
        self.open.wait(WAIT)
        if self.error is not None:
            raise self.error
        self.taken += bytes(data[: self.most])
        return min(len(data), self.most)


def writer(sink: Sink, **limits: Any) -> LineWriter:
    return LineWriter(1000, write=sink, retry=0.001, **limits)  # a number that is no descriptor: nothing goes there


def until(condition: Callable[[], bool]) -> None:
    ends = threading.Event()
    timer = threading.Timer(WAIT, ends.set)
    timer.start()
    try:
        while not condition():
            assert not ends.is_set(), "it did not happen in time"
            time.sleep(0.001)
    finally:
        timer.cancel()


def test_lines_are_written_in_their_order() -> None:
    sink = Sink()
    log = writer(sink)
    assert all(log.put(b"%d\n" % number) for number in range(1000))
    assert log.flush(WAIT)
    assert sink.taken == b"".join(b"%d\n" % number for number in range(1000))
    assert (log.problem, log.works, log.dropped) == ("", True, 0)


@pytest.mark.parametrize("limits", [{"most_lines": 4}, {"most_bytes": 40}], ids=["lines", "bytes"])
def test_beyond_either_limit_lines_are_dropped_counted_and_told_of_once(limits: dict[str, int]) -> None:
    sink = Sink()
    sink.open.clear()
    log = writer(sink, **limits)
    assert log.put(b"line 0000\n")
    assert sink.tried.wait(WAIT)  # it is being written, and counts all the same
    assert [log.put(b"line %04d\n" % number) for number in range(1, 7)] == [True] * 3 + [False] * 3
    assert not log.works
    assert log.problem == "the log is slow; 3 lines were dropped"
    sink.open.set()
    assert log.flush(WAIT)
    kept = b"".join(b"line %04d\n" % number for number in range(4))
    notice = b"tokenmint: 3 lines of the log were dropped\n"
    assert sink.taken.replace(notice, b"") == kept
    assert sink.taken.count(notice) == 1
    assert (log.problem, log.works, log.dropped) == ("", True, 3)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (BrokenPipeError(errno.EPIPE, "x"), "EPIPE"),
        (OSError(errno.ENOSPC, "x"), "ENOSPC"),
        (OSError(errno.EIO, "x"), "EIO"),
        (OSError(errno.EBADF, "x"), "EBADF"),
        (MemoryError("x"), "MemoryError"),
        (ValueError("canary"), "ValueError"),
    ],
    ids=["EPIPE", "ENOSPC", "EIO", "EBADF", "no memory", "any other"],
)
def test_what_fails_is_tried_again_at_the_same_place(error: Exception, name: str) -> None:
    sink = Sink()
    sink.most = 3  # in the middle of lines
    log = writer(sink)
    log.put(b"before\n")
    assert log.flush(WAIT)
    sink.error = error
    log.put(b"during\n")
    until(lambda: log.problem == f"the log can't be written ({name})")
    assert not log.works
    assert not log.flush(WAIT)  # at once: an end does not wait for what is broken
    sink.error = None
    assert log.put(b"after\n")
    until(lambda: sink.taken.endswith(b"after\n"))
    assert sink.taken == b"before\nduring\nafter\n"
    until(lambda: log.works)


def test_a_write_that_takes_long_is_a_log_that_nobody_reads() -> None:
    sink, now = Sink(), [0.0]
    sink.open.clear()
    log = LineWriter(1000, write=sink, monotonic=lambda: now[0])
    log.put(b"line\n")
    assert sink.tried.wait(WAIT)
    assert log.problem == ""
    now[0] = 7.0
    assert log.problem == "nothing has read the log for 7 s"
    assert not log.works
    sink.open.set()
    until(lambda: log.problem == "")


def test_a_pipe_that_its_owner_made_non_blocking_is_waited_for() -> None:
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        log = LineWriter(writing)
        lines = [b"%05d %s\n" % (number, b"x" * 100) for number in range(2000)]  # more than a pipe holds
        assert all(map(log.put, lines))
        expected, read = b"".join(lines), b""
        while len(read) < len(expected):
            read += os.read(reading, 65536)
        assert read == expected
    finally:
        os.close(reading)
        os.close(writing)


def test_writes_to_a_pipe_are_whole_lines_that_other_processes_do_not_mix_with() -> None:
    """pipe(7): up to PIPE_BUF bytes are written as one."""
    reading, writing = os.pipe()
    sizes: list[int] = []

    def write(descriptor: int, data: memoryview) -> int:
        sizes.append(len(data))
        assert bytes(data).endswith(b"\n")
        return len(data)

    try:
        log = LineWriter(writing, write=write)
        for number in range(500):
            log.put(b"%d\n" % number * 30)
        assert log.flush(WAIT)
    finally:
        os.close(reading)
        os.close(writing)
    assert max(sizes) <= 4096
    assert len(sizes) < 500


def test_what_is_closed_or_keeps_nothing_does_not_work() -> None:
    closed = LineWriter(CLOSED)
    assert closed.put(b"line\n")
    assert (closed.works, closed.problem) == (False, "the log can't be written (EBADF)")
    with open(os.devnull, "wb") as null:  # noqa: PTH123  # a device
        nowhere = LineWriter(null.fileno())
        assert (nowhere.works, nowhere.problem) == (False, "the log goes to /dev/null")


def test_half_of_the_room_has_to_be_free_for_it_to_work() -> None:
    sink = Sink()
    sink.open.clear()
    log = writer(sink, most_lines=10)
    for _ in range(5):
        assert log.works
        log.put(b"line\n")
    assert not log.works
    sink.open.set()
    until(lambda: log.works)


def test_a_signals_handler_may_log_in_the_middle_of_a_line() -> None:
    sink = Sink()
    log = writer(sink)
    before = signal.signal(signal.SIGUSR1, lambda *_: log.put(b"signal\n"))
    try:
        for _ in range(500):
            os.kill(os.getpid(), signal.SIGUSR1)
            log.put(b"call\n")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert log.flush(WAIT)
    assert sink.taken.count(b"call\n") == 500
    assert sink.taken.count(b"signal\n") == 500


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks beside threads: what this is about
def test_a_forked_process_writes_its_own_lines_and_none_of_its_parents() -> None:
    reading, writing = os.pipe()
    log = LineWriter(writing)
    with log._lock:  # as another thread may, at any moment
        log._queue.put(b"the parent's\n")
        pid = os.fork()
        if not pid:
            log.put(b"the child's\n")
            os._exit(0 if log.flush(WAIT) else 1)
    try:
        assert os.waitpid(pid, 0)[1] == 0
        assert os.read(reading, 100) == b"the child's\n"
    finally:
        os.close(reading)
        os.close(writing)


def test_without_a_further_thread_lines_are_dropped_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Sink()
    log = writer(sink)

    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none)
        assert not log.put(b"line\n")
    assert log.dropped == 1
    assert log.put(b"another\n")
    assert log.flush(WAIT)
    assert b"another\n" in sink.taken
