"""A writer of lines that never blocks its callers: a bounded queue, and a thread that writes.

A write to a pipe without a reader blocks for ever, and a full disk or a closed pipe makes it fail. Neither may affect a
call, so lines go to a thread. If it does not keep up, lines are dropped and counted.
"""

import contextlib
import errno
import os
import select
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

MAX_BYTES: Final = 4 * 1024 * 1024  # waiting to be written
MAX_LINES: Final = 20_000  # waiting to be written
SLOW: Final = 2.0  # seconds that one write may take before the log counts as unread
RETRY: Final = 1.0  # seconds between attempts where a write fails
_GATHER: Final = 0.005  # seconds that a line waits for others, so that one write and one switch of threads serve many
_FILE_CHUNK: Final = 64 * 1024  # bytes of one write to a file
_PIPE_CHUNK: Final = select.PIPE_BUF  # bytes of one write to a pipe: up to this size writes do not mix (pipe(7))
CLOSED: Final = -1  # no descriptor has this number, so each write fails with EBADF


class LineWriter:
    """Writes lines to a descriptor, in their order.

    An accepted line is kept until it is written, also while writes fail. A line is lost only if it is refused, or if
    the process ends before a slow or broken log takes it. Safe in threads, signal handlers and forks.

    Args:
        descriptor: the target; ``CLOSED`` stands for a closed stream.
        most_bytes: the largest number of bytes in the queue.
        most_lines: the largest number of lines in the queue.
        notice: returns the line that reports how many lines were dropped before it.
        write: writes bytes and returns the number written, as ``os.write``.
        monotonic: a clock that never goes back, seconds.
        retry: seconds between attempts where a write fails.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        most_bytes: int = MAX_BYTES,
        most_lines: int = MAX_LINES,
        notice: Callable[[int], bytes] | None = None,
        write: Callable[[int, memoryview], int] = os.write,
        monotonic: Callable[[], float] = time.monotonic,
        retry: float = RETRY,
    ) -> None:
        self._descriptor = descriptor
        self._most_bytes = most_bytes
        self._most_lines = most_lines
        self.notice = notice or _plain_notice
        self._write = write
        self._monotonic = monotonic
        self._retry = retry
        self._chunk, self._discards = _nature(descriptor)
        self.dropped = 0
        """The number of refused lines since the process began."""
        self._begin()

    def _begin(self) -> None:
        """Begin with an empty queue: a parent process writes its own queue."""
        self._process = os.getpid()
        self._lock = threading.RLock()  # a signal's handler may log while its own thread holds it
        self._queue: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._bytes = self._lines = 0
        self._thread: threading.Thread | None = None
        self._pause = threading.Event()
        self._reported = self.dropped
        self._error = "EBADF" if self._descriptor < 0 else ""
        self._writing_since: float | None = None

    # --- for callers --------------------------------------------------------------------------------------

    def put(self, line: bytes) -> bool:
        """Accept a line, with its newline. Returns False if it was dropped. Never waits."""
        return self.put_all((line,)) == 1

    def put_all(self, lines: Sequence[bytes]) -> int:
        """Accept lines as :meth:`put` does, until one is dropped; the rest is dropped too. Returns their number."""
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            for accepted, line in enumerate(lines):
                if self._lines >= self._most_lines or self._bytes + len(line) > self._most_bytes or not self._started():
                    self.dropped += len(lines) - accepted
                    return accepted
                self._lines += 1
                self._bytes += len(line)
                self._queue.put(line)
        return len(lines)

    def flush(self, patience: float) -> bool:
        """Wait up to ``patience`` seconds until everything is written. Returns whether it was."""
        if self._process != os.getpid() or self._thread is None:
            return True
        done, ends = threading.Event(), self._monotonic() + patience
        self._queue.put(done)
        while not done.wait(min(0.05, patience)):
            if self._error or self._monotonic() >= ends:
                return False
        return True

    @property
    def problem(self) -> str:
        """The current fault of the log, for operators; "" while lines are written."""
        lost = f"; {self.dropped} lines were dropped" if self.dropped else ""
        error, since = self._error, self._writing_since
        if error:
            return f"the log can't be written ({error}){lost}"
        if since is not None and (blocked := self._monotonic() - since) > SLOW:
            return f"nothing has read the log for {blocked:.0f} s{lost}"
        if self._discards:
            return "the log goes to /dev/null"
        return f"the log is slow{lost}" if self.dropped > self._reported else ""

    @property
    def works(self) -> bool:
        """Whether a line that is accepted now will probably be written: the last write succeeded, and there is room.

        Half of the queue has to be empty, so that a call that starts now still finds room when it ends.
        """
        room = 2 * self._bytes < self._most_bytes and 2 * self._lines < self._most_lines
        return room and not self.problem

    # --- the thread ----------------------------------------------------------------------------------------------

    def _started(self) -> bool:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                self._thread = None
                return False
        return True

    def _run(self) -> None:
        queue = self._queue
        while True:
            first = queue.get()
            self._pause.wait(_GATHER)  # not `time.sleep`, which may fail (EINVAL under a library that fakes clocks)
            self._drain(first)

    def _drain(self, item: "bytes | threading.Event | None") -> None:
        """Write ``item`` and the rest of the queue."""
        while item is not None:
            lines: list[bytes] = []
            size = 0
            while isinstance(item, bytes) and (not lines or size + len(item) <= self._chunk):
                lines.append(item)
                size += len(item)
                item = self._next()
            if lines:
                self._write_all(b"".join(lines))
                with self._lock:
                    self._lines -= len(lines)
                    self._bytes -= size
                self._report_dropped()
            if isinstance(item, threading.Event):
                item.set()
                item = self._next()

    def _next(self) -> "bytes | threading.Event | None":
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def _report_dropped(self) -> None:
        dropped = self.dropped
        if dropped > self._reported:
            self._write_all(self.notice(dropped - self._reported))
            self._reported = dropped

    def _write_all(self, data: bytes) -> None:
        """Write ``data`` without a time limit; a failed attempt is repeated from the same place."""
        rest = memoryview(data)
        self._writing_since = self._monotonic()
        while rest:
            try:
                rest = rest[self._write(self._descriptor, rest) :]
                self._error = ""
                self._writing_since = self._monotonic()
            except BlockingIOError:  # the creator of the pipe made it non-blocking; it is full until it is read
                with contextlib.suppress(OSError):
                    self._await_room()
            except Exception as error:  # noqa: BLE001  # nothing ends this thread
                self._error = _name(error)
                self._pause.wait(self._retry)
        self._writing_since = None

    def _await_room(self) -> None:
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        room.poll(self._retry * 1000)


def _name(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number, type(error).__name__) if number is not None else type(error).__name__


def _nature(descriptor: int) -> tuple[int, bool]:
    """Return the size of one write to a descriptor, and whether it discards the text."""
    try:
        facts = os.fstat(descriptor)
        null = Path(os.devnull).stat().st_rdev
    except OSError:
        return _PIPE_CHUNK, False
    if stat.S_ISREG(facts.st_mode):
        return _FILE_CHUNK, False
    return _PIPE_CHUNK, stat.S_ISCHR(facts.st_mode) and facts.st_rdev == null


def _plain_notice(count: int) -> bytes:
    return f"tokenmint: {count} lines of the log were dropped\n".encode()
