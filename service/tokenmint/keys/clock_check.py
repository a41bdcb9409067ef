"""Compares this process's clock with the store's, which is the one clock that all replicas share.

A wrong clock issues tokens with a future `iat` and moves keys before their time. Neither side can tell which clock is
wrong. So a process serves nothing while its clock certainly differs from the store's by more than S. The reference is
the server that holds the key ring: other nodes of a Cluster have other clocks, and a failover changes the server.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from tokenmint.base.clock import Clock, rfc3339
from tokenmint.base.errors import ClockWrong

log = structlog.get_logger(__name__)

LEAST_SKEW: Final = 0.1  # seconds; a smaller setting has no effect: two machines never certainly agree better


@dataclass(frozen=True, slots=True)
class Offset:
    """The range of seconds by which one clock may be ahead of another: from ``low`` to ``high``."""

    low: float
    high: float

    @property
    def certain(self) -> float:
        """The bound nearest to 0, so at least this much is certain; negative if the clock is behind."""
        if self.low > 0:
            return self.low
        return min(self.high, 0.0)


class ClockCheck:
    """Measures how far this process's clock is from the store's.

    Args:
        store_time: asks the store for its clock, Unix seconds.
        clock: this process's clock.
        skew: S, the largest allowed difference in seconds.
    """

    def __init__(self, store_time: Callable[[], Awaitable[float]], clock: Clock, skew: float) -> None:
        self._store_time = store_time
        self._clock = clock
        self._limit = max(skew, LEAST_SKEW)
        self._measured: Offset | None = None
        self._wall_ahead = 0.0
        """Seconds by which the wall clock was ahead of the monotonic one when the offset was measured."""
        self._reported = False

    async def look(self) -> float:
        """Ask the store for its time, compare, and return it. Raises ``StoreUnavailable``.

        The store read its clock at some time between question and answer, so the offset is known only to within that
        time. A slow answer widens the range and so proves less.
        """
        asked = self._clock.monotonic()
        store = await self._store_time()
        now, arrived = self._clock.now(), self._clock.monotonic()
        self._measured = Offset(now - (arrived - asked) - store, now - store)
        self._wall_ahead = now - arrived
        self._log_change()
        return store

    @property
    def offset(self) -> float:
        """The certain part of the offset in seconds: positive if this process is ahead, 0 if the clocks may agree.

        A step of this process's own clock shows at once without asking the store, because the monotonic clock does
        not step.
        """
        if self._measured is None:
            return 0.0
        stepped = self._clock.now() - self._clock.monotonic() - self._wall_ahead
        return Offset(self._measured.low + stepped, self._measured.high + stepped).certain

    def now(self) -> float:
        """Return the time by the store's clock, as well as it is known. All times in the key ring use it."""
        return self._clock.now() - self.offset

    def problem(self) -> str:
        """Return a description of the disagreement for operators, or ""."""
        offset = self.offset
        if abs(offset) <= self._limit:
            return ""
        here = self._clock.now()
        ours, theirs = (rfc3339(time) or f"{time:.0f}" for time in (here, here - offset))
        return (
            f"this process's clock is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the store's, more "
            f"than keys.skew allows ({self._limit:g} s): here it is {ours}, there {theirs}; "
            "one of the two is wrong: compare both machines with a time server"
        )

    def require(self) -> None:
        """Raise ``ClockWrong`` while the clocks disagree."""
        if self._measured is not None:
            stepped = self._clock.now() - self._clock.monotonic() - self._wall_ahead
            if self._measured.low + stepped > self._limit or self._measured.high + stepped < -self._limit:
                raise ClockWrong(detail=self.problem())

    async def right_store_time(self) -> float:
        """Ask the store for its clock and return it. Raises ``ClockWrong`` if it may be wrong, ``StoreUnavailable``."""
        store = await self.look()
        self.require()
        return store

    def _log_change(self) -> None:
        problem = self.problem()
        if problem and not self._reported:
            log.error("the clocks of this process and of the store disagree: nothing is signed", problem=problem)
        elif self._reported and not problem:
            log.info("the clocks of this process and of the store agree again")
        self._reported = bool(problem)
