"""Compares this process's clock with the store's, which is the one clock that all replicas share.

A clock that is off signs tokens from the future and moves keys before their time. When the two disagree, neither knows
which one is wrong; so a process whose clock is certainly further from the store's than S serves nothing until they
agree again. The clock that counts is that of the server that holds the key ring: a Cluster has others, and a failover
brings another one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from tokenmint.base.clock import Clock
from tokenmint.base.errors import ClockWrong

log = structlog.get_logger(__name__)

LEAST_SKEW: Final = 0.1  # seconds; no two machines agree better than that for certain, whatever is configured


@dataclass(frozen=True, slots=True)
class Offset:
    """By how many seconds a clock is ahead of another: between ``low`` and ``high``."""

    low: float
    high: float

    @property
    def certain(self) -> float:
        """The part of it that is certain: what is nearest to 0; negative where the clock is behind."""
        if self.low > 0:
            return self.low
        return min(self.high, 0.0)


class ClockCheck:
    """Knows how far this process's clock is from the store's.

    Args:
        store_time: asks the store for its clock, Unix seconds.
        clock: this process's.
        skew: S, how far they may be apart, in seconds.
    """

    def __init__(self, store_time: Callable[[], Awaitable[float]], clock: Clock, skew: float) -> None:
        self._store_time = store_time
        self._clock = clock
        self._limit = max(skew, LEAST_SKEW)
        self._measured: Offset | None = None
        self._wall_ahead = 0.0
        """By how much the wall clock was ahead of the monotonic one when the offset was measured."""
        self._told = False

    async def look(self) -> float:
        """Ask the store for its time, compare, and return it. Raises ``StoreUnavailable``.

        The store answered at some time between question and answer, so the offset is known to within that: a slow
        answer makes it uncertain, and proves nothing.
        """
        asked = self._clock.monotonic()
        store = await self._store_time()
        now, arrived = self._clock.now(), self._clock.monotonic()
        self._measured = Offset(now - (arrived - asked) - store, now - store)
        self._wall_ahead = now - arrived
        self._tell()
        return store

    @property
    def offset(self) -> float:
        """The certain part of the offset, in seconds: positive where this process is ahead, 0 where they may agree.

        A step of this process's own clock is seen at once, without asking the store: its monotonic clock has none.
        """
        if self._measured is None:
            return 0.0
        stepped = self._clock.now() - self._clock.monotonic() - self._wall_ahead
        return Offset(self._measured.low + stepped, self._measured.high + stepped).certain

    def now(self) -> float:
        """Return the time by the store's clock, as far as it is known: what the key ring's times are told by."""
        return self._clock.now() - self.offset

    def problem(self) -> str:
        """Return how the clocks disagree, in words for operators, or ""."""
        offset = self.offset
        if abs(offset) <= self._limit:
            return ""
        here = self._clock.now()
        return (
            f"this process's clock is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the store's, more "
            f"than keys.skew allows ({self._limit:g} s): here it is {_instant(here)}, there {_instant(here - offset)}; "
            "one of the two is wrong: compare both machines with a time server"
        )

    def require(self) -> None:
        """Raise ``ClockWrong`` while the clocks disagree."""
        if problem := self.problem():
            raise ClockWrong(detail=problem)

    async def right_store_time(self) -> float:
        """Return the store's clock, asked now. Raises ``ClockWrong`` where it may be wrong, ``StoreUnavailable``."""
        store = await self.look()
        self.require()
        return store

    def _tell(self) -> None:
        problem = self.problem()
        if problem and not self._told:
            log.error("the clocks of this process and of the store disagree: nothing is signed", problem=problem)
        elif self._told and not problem:
            log.info("the clocks of this process and of the store agree again")
        self._told = bool(problem)


def _instant(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f}"
