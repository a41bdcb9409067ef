"""How a supervisor notices that a worker hangs: each second the worker's event loop says that it turns.

A worker is never killed for being slow. The limit is more than twenty beats, and time in which the supervisor itself
did not run (stopped, or starved by a busy machine) is counted as no more than two looks.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watch:
    """Seconds. Together `silence`, `look` and `beat` are less than 30: so soon a worker that hangs is replaced."""

    beat: float = 1.0
    """Between a worker's signs of life."""
    silence: float = 24.0
    """Without one, after which a worker hangs."""
    look: float = 1.0
    """Between the supervisor's looks, where nothing happens."""
    start: float = 120.0
    """Until a worker has to be ready."""
    margin: float = 5.0
    """More than the drain, after which a worker that was to stop is killed."""


class Pulse:
    """A worker's end of the pipe to its supervisor. Nothing here waits: what the pipe does not take is lost."""

    def __init__(self, descriptor: int, every: float) -> None:
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._every = every

    def say(self, line: str) -> None:
        """Tell the supervisor one line."""
        with contextlib.suppress(OSError):  # a supervisor that is gone, or that stands still
            os.write(self._descriptor, line.encode() + b"\n")

    def start(self) -> None:
        """Go on giving signs of life from the running event loop."""
        self.say("")
        asyncio.get_running_loop().call_later(self._every, self.start)


class Report:
    """The supervisor's end of the pipe from one worker."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.over = False
        """Whether the worker has closed its end."""
        self._rest = b""

    def read(self) -> list[bytes]:
        """Return the lines that came; an empty one is a sign of life and no more."""
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:
            return []
        self.over = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def close(self) -> None:
        """Let the pipe go."""
        os.close(self.descriptor)


class Silence:
    """For how long each worker has said nothing.

    Args:
        longest: seconds that count at most between two looks.
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, longest: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._monotonic = monotonic
        self._last = monotonic()
        self._silent: dict[int, float] = {}

    def begin(self, pid: int) -> None:
        """Count from now on."""
        self._silent[pid] = 0.0

    heard = begin

    def end(self, pid: int) -> float:
        """Count no more. Returns the seconds of silence."""
        return self._silent.pop(pid, 0.0)

    def look(self) -> None:
        """Count the time since the last look. What came meanwhile has to be read before anybody is judged."""
        now = self._monotonic()
        passed, self._last = min(now - self._last, self._longest), now
        for pid in self._silent:
            self._silent[pid] += passed

    def of(self, pid: int) -> float:
        """Return the seconds of silence."""
        return self._silent.get(pid, 0.0)
