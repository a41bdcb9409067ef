"""Stand-ins for time and entropy. Nothing else is faked but providers' HTTP."""

import asyncio
import heapq
import itertools
import random


class FakeClock:
    """A clock that moves only when told to. ``sleep`` waits until somebody advances it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 1000.0
        self.store_ahead = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None], str]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.current_task()
        name = "" if task is None else task.get_name()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), future, name))
        await future

    @property
    def sleepers(self) -> int:
        """How many tasks wait for this clock."""
        return sum(not future.done() for _, _, future, _ in self._sleepers)

    def sleeps(self, name: str) -> bool:
        """Return whether a task of this name waits for this clock."""
        return any(its == name and not future.done() for _, _, future, its in self._sleepers)

    def advance(self, seconds: float) -> None:
        """Move both clocks on and wake those whose time has come (they run at the next await)."""
        self._now += seconds
        self._monotonic += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, future, _ = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    def set(self, now: float) -> None:
        """Set the wall clock alone, as an operator or NTP may."""
        self._now = now

    async def store_time(self) -> float:
        """The clock of the store, for what compares the two: ``store_ahead`` says by how much it is ahead."""
        return self._now + self.store_ahead


class FakeEntropy:
    """Random bytes that are the same in every run: ``entropy(n)`` returns ``n`` bytes."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def __call__(self, size: int) -> bytes:
        return self._random.randbytes(size)
