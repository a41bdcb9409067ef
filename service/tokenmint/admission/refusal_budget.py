"""The budget of refusals that the audit stream records one by one for each client; the rest are counted.

A client needs no valid token to be refused. Without this limit, a thousand refusals a second would push the events of
all other clients out of the capped stream within minutes.
"""

from collections.abc import Callable, Mapping
from typing import Final

MAX_CALLERS: Final = 4096  # stored buckets; a missing one counts as full


class RefusalBudget:
    """A bucket for each client (generic cell rate algorithm), and the count of refusals beyond it.

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
        """Return whether a refusal is recorded by itself; otherwise it is counted."""
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
        """Return the number of refusals counted since the last call, by client and reason."""
        counted, self._counted = self._counted, {}
        return counted
