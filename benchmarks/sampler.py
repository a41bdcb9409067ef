"""Samples a tokenmint that serves: which step its main thread is in. Started by `benchmarks.profile`.

Arguments: the file of the outcome, then the command line of tokenmint. SIGUSR2 begins the sampling, and ends it. A timer of
the main thread's own CPU time interrupts that thread and no other, so that each sample stands for the same CPU time.
"""

import ctypes
import json
import os
import signal
import sys
import threading
from collections import Counter, defaultdict
from pathlib import Path
from types import FrameType
from typing import Final

from benchmarks import steps

PERIOD: Final = 1_000_000  # nanoseconds of CPU time between samples; the kernel may take them at its own ticks
THREAD_CPU_TIME: Final = 3  # CLOCK_THREAD_CPUTIME_ID
TO_THIS_THREAD: Final = 4  # SIGEV_THREAD_ID


class _Event(ctypes.Structure):
    """struct sigevent (sigevent(3type)), on 64-bit Linux."""

    _fields_ = (
        ("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("notify", ctypes.c_int), ("thread", ctypes.c_int),
        ("padding", ctypes.c_char * 44),
    )  # fmt: skip


class Sampler:
    """Counts samples by step, while it is on."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._codes = steps.codes()
        self._counts: Counter[int] = Counter()
        self._rest: Counter[str] = Counter()
        self._timer = ctypes.c_void_p()
        self._before: dict[str, float] | None = None

    def install(self) -> None:
        """Wait for SIGUSR2. Called in the main thread."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.signal(signal.SIGUSR2, self._switch)
        event = _Event(signo=signal.SIGPROF, notify=TO_THIS_THREAD, thread=threading.get_native_id())
        self._libc = ctypes.CDLL(None, use_errno=True)
        if self._libc.timer_create(THREAD_CPU_TIME, ctypes.byref(event), ctypes.byref(self._timer)):
            raise OSError(ctypes.get_errno(), "timer_create")

    def _set(self, nanoseconds: int) -> None:
        times = (ctypes.c_long * 4)(0, nanoseconds, 0, nanoseconds)  # struct itimerspec: interval, first
        self._libc.timer_settime(self._timer, 0, ctypes.byref(times), None)

    def _switch(self, _number: int, _frame: FrameType | None) -> None:
        if self._before is None:
            self._before = threads()
            self._set(PERIOD)
            return
        self._set(0)
        after = threads()
        spent = {name: round(seconds - self._before.get(name, 0.0), 2) for name, seconds in after.items()}
        written = {
            "steps": {str(index): count for index, count in self._counts.items()},
            "rest": dict(self._rest.most_common(12)),
            "threads": {name: seconds for name, seconds in spent.items() if seconds > 0},
        }
        partial = self._out.with_suffix(".part")
        partial.write_text(json.dumps(written))
        partial.rename(self._out)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        innermost = frame
        while frame is not None:
            index = self._codes.get(frame.f_code)
            if index is not None:
                self._counts[index] += 1
                return
            frame = frame.f_back
        self._counts[-1] += 1
        if innermost is not None:
            self._rest[f"{innermost.f_globals.get('__name__', '')}.{innermost.f_code.co_qualname}"] += 1


def threads() -> dict[str, float]:
    """Return the CPU seconds of this process's threads, by name: Python's name, or else the system's."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: defaultdict[str, float] = defaultdict(float)
    for folder in Path("/proc/self/task").iterdir():
        text = (folder / "stat").read_text()
        fields = text.rpartition(")")[2].split()
        name = names.get(int(folder.name)) or text.partition("(")[2].rpartition(")")[0]
        found[name] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return dict(found)


def main() -> None:
    """Serve, and be sampled."""
    Sampler(Path(sys.argv[1])).install()
    from tokenmint.cli import main as serve

    sys.argv = ["tokenmint", *sys.argv[2:]]
    serve()


if __name__ == "__main__":
    main()
