"""How many refusals of one client are told one by one in the audit stream; the rest are counted.

A client needs no valid token to be refused. Without a bound, one that is refused a thousand times a second would push
the events of all others out of the capped stream within minutes.
"""

from collections.abc import Callable, Mapping
from typing import Final

MAX_CALLERS: Final = 4096  # buckets that are remembered; one that is forgotten is a full one


class RefusalBudget:
    """A bucket for each client (the generic cell rate algorithm), and the count of what did not fit.

    Args:
        rate: refusals per second in the long run.
        burst: refusals at once.
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, rate: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._interval = 1 / rate
        self._depth = burst / rate
        self._monotonic = monotonic
        self._full_at: dict[str, float] = {}
        self._counted: dict[tuple[str, str], int] = {}

    def take(self, caller: str, reason: str) -> bool:
        """Tell whether a refusal is told by itself; it is counted else."""
        now = self._monotonic()
        full_at = max(now, self._full_at.get(caller, now))
        if full_at + self._interval - now > self._depth + 1e-9:
            self._counted[caller, reason] = self._counted.get((caller, reason), 0) + 1
            return False
        if len(self._full_at) >= MAX_CALLERS:
            self._full_at = {name: at for name, at in self._full_at.items() if at > now}
        self._full_at[caller] = full_at + self._interval
        return True

    def counted(self) -> Mapping[tuple[str, str], int]:
        """Return how many refusals were only counted since the last time, by client and reason."""
        counted, self._counted = self._counted, {}
        return counted
