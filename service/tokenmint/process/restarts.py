"""When another worker is started in place of one that ended."""

import time
from collections.abc import Callable
from typing import Final

EARLY: Final = 10.0  # seconds after it was ready within which a worker that ends has ended at once
FIRST_PAUSE: Final = 0.5  # seconds before another is started in place of one that ended at once; twice as many ...
LONGEST_PAUSE: Final = 30.0  # ... each time, up to so many
RESTART_LIMIT: Final = 5  # ends at once, in a row, after which starting again does not help, unless another serves


class Restarts:
    """Counts the workers that ended at once: before they were ready, or soon after it.

    Args:
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ready: dict[int, float] = {}
        self._in_a_row = 0

    def ready(self, pid: int) -> None:
        """Note that a worker serves."""
        self._ready[pid] = self._monotonic()

    def ended(self, pid: int, silent: float = 0.0) -> float:
        """Note that a worker ended, after ``silent`` seconds in which it hung.

        Returns:
            The seconds after which another is to be started.
        """
        since = self._ready.pop(pid, None)
        if since is not None and self._monotonic() - silent - since >= EARLY:
            self._in_a_row = 0
            return 0.0
        self._in_a_row += 1
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._in_a_row - 1)))

    @property
    def hopeless(self) -> bool:
        """Whether so many ended at once, while none served for a while, that starting again does not help."""
        now = self._monotonic()
        return self._in_a_row >= RESTART_LIMIT and all(now - since < EARLY for since in self._ready.values())
