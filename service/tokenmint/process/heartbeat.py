"""Heartbeats: each second, a worker reports to its supervisor that its event loop runs.

A slow worker is never killed. The limit is more than twenty beats, and time in which the supervisor itself did not run
(stopped, or starved by a busy machine) counts as two looks at most.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watch:
    """Time limits in seconds. `silence`, `look` and `beat` sum to less than 30, the limit to replace a hung worker."""

    beat: float = 1.0
    """The time between two heartbeats of a worker."""
    silence: float = 24.0
    """The time without a heartbeat after which a worker counts as hung."""
    look: float = 1.0
    """The time between two looks of the supervisor if nothing happens."""
    start: float = 120.0
    """The time within which a worker has to be ready."""
    margin: float = 5.0
    """The time after the drain at which a stopping worker is killed."""


class Pulse:
    """A worker's end of the pipe to its supervisor. No write waits: a full pipe loses the line."""

    def __init__(self, descriptor: int, every: float) -> None:
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._every = every

    def say(self, line: str) -> None:
        """Send one line to the supervisor."""
        with contextlib.suppress(OSError):  # the supervisor may be gone or stopped
            os.write(self._descriptor, line.encode() + b"\n")

    def start(self) -> None:
        """Send heartbeats from the running event loop."""
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
        """Return the lines that arrived; an empty one is a heartbeat."""
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:
            return []
        self.over = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.descriptor)


class Silence:
    """Counts the seconds since the last line of each worker.

    Args:
        longest: the largest number of seconds counted between two looks.
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, longest: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._monotonic = monotonic
        self._last = monotonic()
        self._silent: dict[int, float] = {}

    def begin(self, pid: int) -> None:
        """Start the count at 0."""
        self._silent[pid] = 0.0

    heard = begin

    def end(self, pid: int) -> float:
        """Stop the count. Returns the seconds of silence."""
        return self._silent.pop(pid, 0.0)

    def look(self) -> None:
        """Add the time since the last look. Read all waiting lines before any worker is judged."""
        now = self._monotonic()
        passed, self._last = min(now - self._last, self._longest), now
        for pid in self._silent:
            self._silent[pid] += passed

    def of(self, pid: int) -> float:
        """Return the seconds of silence."""
        return self._silent.get(pid, 0.0)
