"""The pause before a worker that ended is replaced."""

import time
from collections.abc import Callable
from typing import Final

EARLY: Final = 10.0  # seconds after readiness; a worker that ends within this time ended early
FIRST_PAUSE: Final = 0.5  # seconds before a worker that ended early is replaced; doubles ...
LONGEST_PAUSE: Final = 30.0  # ... each time, up to this
RESTART_LIMIT: Final = 5  # early ends in a row after which the service stops, unless a worker serves


class Restarts:
    """Counts the workers that ended early: before they were ready, or soon after.

    Args:
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ready: dict[int, float] = {}
        self._in_a_row = 0

    def ready(self, pid: int) -> None:
        """Record that a worker serves."""
        self._ready[pid] = self._monotonic()

    def ended(self, pid: int, silent: float = 0.0) -> float:
        """Record that a worker ended, after ``silent`` seconds in which it hung.

        Returns:
            The pause in seconds before its replacement starts.
        """
        since = self._ready.pop(pid, None)
        if since is not None and self._monotonic() - silent - since >= EARLY:
            self._in_a_row = 0
            return 0.0
        self._in_a_row += 1
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._in_a_row - 1)))

    @property
    def hopeless(self) -> bool:
        """Whether so many workers ended early, while none served for long, that another restart does not help."""
        now = self._monotonic()
        return self._in_a_row >= RESTART_LIMIT and all(now - since < EARLY for since in self._ready.values())
