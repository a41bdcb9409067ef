"""Rate limits: a bucket for each client, one for all clients, one for each operator. The buckets are in the store, so
that all replicas share them.

A busy process takes calls from a bucket in small lots in advance, and drops unused ones after a moment. So all replicas
together never exceed a limit, but may reach it a little early.

Without the store each process counts alone. A limit that fails open would invite attacks on the store, and one that
fails closed would turn every fault of the store into an outage.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import RateLimited
from tokenmint.base.tasks import end
from tokenmint.model.policy import Client
from tokenmint.storage.redis import Store

PATIENCE: Final = 0.05  # seconds; a call must not wait long for counting
LOT_LIFE: Final = 0.5
"""Seconds after which the rest of a lot is dropped. A busy process may not run for 0.1 s and longer. If lots ended in
that time, every later call would have to ask the store."""
LOT_SHARE: Final = 0.05  # the largest lot as a part of the burst
MAX_LOTS: Final = 10_000
STORE_AWAY: Final = 1.0  # seconds without requests to a store that failed
LOOKED_AT: Final = "rate:look"  # the bucket by which it is asked again; no call is counted in it


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of calls: ``per_second`` in the long run, ``burst`` at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits of a service."""

    each: Rate | None = None
    """For a client without its own rate, and for an operator."""
    together: Rate | None = None
    """For all clients together."""


Bucket: TypeAlias = tuple[str, Rate]
"""A bucket's key, and its rate."""
Buckets: TypeAlias = tuple[Bucket, ...]
"""The buckets in which a call is counted."""


class RateLimiter:
    """Counts calls.

    Args:
        store: holds the buckets.
        limits: the limits.
        clock: for the local buckets.
        unit: reports whether the store counts.
        patience: the time limit of a request to the store in seconds.
    """

    def __init__(
        self, store: Store, limits: RateLimits, clock: Clock, unit: Unit, *, patience: float = PATIENCE
    ) -> None:
        self._store = store
        self._unit = unit
        self.patience = patience
        self._store_away_until = float("-inf")
        self.limits = limits
        self._clock = clock
        self._local: dict[str, float] = {}
        self._lots: dict[str, Lot] = {}
        self._fills: set[asyncio.Task[float]] = set()

    def take(self, client: Client, cost: int = 1) -> Coroutine[Any, Any, None]:
        """Count ``cost`` calls of ``client``. Raises ``RateLimited`` with the time to wait."""
        return self._take_of(self.buckets_of(client), cost)

    def at_hand(self, buckets: "Buckets", now: float, cost: int = 1) -> "tuple[Lot, ...] | None":
        """Return the lots in which ``cost`` calls can be counted at ``now``, or None. Never waits.

        None means that one of the lots has too few calls left, so the store has to be asked. Nothing is counted in
        either case.

        Args:
            buckets: the client's, as :meth:`buckets_of` returns them.
            now: the time (monotonic).
            cost: the number of calls.
        """
        lots = []
        for key, rate in buckets:
            lot = self._lots.get(key)
            if lot is None or lot.left < cost or now >= lot.until or (lot.rate is not rate and lot.rate != rate):
                return None
            lots.append(lot)
        return tuple(lots)

    async def pay(self, buckets: "Buckets", cost: int = 1) -> "tuple[Lot, ...] | None":
        """Count ``cost`` calls as :meth:`take` does, and return their lots; None if they are refused.

        :meth:`refund` takes it back.
        """
        lots: list[Lot] = []
        try:
            for bucket in buckets:
                lot = await self._take_from(bucket, cost)
                lots.append(lot)
        except RateLimited:
            self.refund(lots, cost)
            return None
        return tuple(lots)

    def refuses(self, buckets: "Buckets", now: float) -> bool:
        """Return whether a bucket refused a call and still has no place at ``now``. Never waits."""
        return any((lot := self._lots.get(key)) is not None and now < lot.refused_until for key, _ in buckets)

    def refund(self, lots: "Iterable[Lot]", cost: int = 1) -> None:
        """Undo :meth:`pay`, because the calls are counted elsewhere."""
        for lot in lots:
            lot.left += cost

    def spend(self, lots: "Iterable[Lot]", now: float, cost: int = 1) -> None:
        """Count ``cost`` calls in lots that :meth:`at_hand` returned for the same ``now``, with no wait between."""
        for lot in lots:
            lot.demand(cost, now)
            self._spend(lot, now, cost)

    def _spend(self, lot: "Lot", now: float, cost: int) -> None:
        lot.left -= cost
        if (now >= lot.renew_at or lot.left < lot.low) and lot.filling is None:
            self._fill(lot, 0)  # while this one lasts, so that no call waits for it

    def buckets_of(self, client: Client) -> "Buckets":
        """Return the buckets of a client's calls."""
        each = Rate(*client.rate) if client.rate is not None else self.limits.each
        both = (f"rate:client:{client.client_id}", each), ("rate:all", self.limits.together)
        return tuple((key, rate) for key, rate in both if rate is not None)

    def take_of_operator(self, operator_id: str, cost: int = 1) -> Coroutine[Any, Any, None]:
        """Count ``cost`` calls of an operator. Its bucket is separate, so that clients' calls can't block operators.

        Raises:
            RateLimited: with the time to wait.
        """
        rate = self.limits.each
        return self._take_of(((f"rate:operator:{operator_id}", rate),) if rate is not None else (), cost)

    def take_of_signals(self, sender: str, rate: Rate, cost: int = 1) -> Coroutine[Any, Any, None]:
        """Count a provider's signal, or a delivery of a peer. Raises ``RateLimited`` with the time to wait."""
        return self._take_of(((f"rate:signals:{sender}", rate),), cost)

    async def _take_of(self, buckets: "Buckets", cost: int) -> None:
        for bucket in buckets:
            await self._take_from(bucket, cost)

    async def _take_from(self, bucket: "Bucket", cost: int) -> "Lot":
        key, rate = bucket
        if cost > rate.burst:
            raise RateLimited("the call costs more than the limit allows at once", retry_after=60.0)
        now = self._clock.monotonic()
        lot = self._lots.get(key)
        if lot is None or lot.rate != rate:
            lot = self._lots[key] = Lot(key, rate, now)
            if len(self._lots) > MAX_LOTS:
                del self._lots[next(iter(self._lots))]
        lot.demand(cost, now)
        if lot.left >= cost and now < lot.until:
            self._spend(lot, now, cost)
            return lot
        wait = await self._more(lot, cost)
        if wait > 0:
            raise RateLimited(retry_after=wait)
        return lot

    async def _more(self, lot: "Lot", cost: int) -> float:
        """Take from a new lot; return 0, or the seconds to wait. Calls that arrive meanwhile share the new lot.

        All of them resume together: one by one behind a lock, some would wait for seconds.
        """
        while lot.filling is not None:
            # Each waiter has its own future, so one can be cancelled in O(1) without affecting the rest.
            filled: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            lot.waiting.append(filled)
            wait = await filled
            if wait > 0 and lot.refused <= cost:
                return wait
            if lot.left >= cost and self._clock.monotonic() < lot.until:
                lot.left -= cost
                return 0.0
        return await asyncio.shield(self._fill(lot, cost))

    def _fill(self, lot: "Lot", cost: int) -> "asyncio.Task[float]":
        task = asyncio.get_running_loop().create_task(self._new_lot(lot, cost))
        lot.filling = task
        self._fills.add(task)

        def resume(task: asyncio.Task[float]) -> None:
            self._fills.discard(task)
            waiting, lot.waiting = lot.waiting, []
            for future in waiting:
                if future.done():
                    continue
                if task.cancelled():
                    future.cancel()
                elif (error := task.exception()) is not None:
                    future.set_exception(error)
                else:
                    future.set_result(task.result())

        task.add_done_callback(resume)
        return task

    async def _new_lot(self, lot: "Lot", cost: int) -> float:
        """Take a lot from the bucket, ``cost`` calls of it for the caller; return the seconds to wait."""
        now = self._clock.monotonic()
        if now >= lot.until:
            lot.left = 0
        try:
            # The expected demand during a lot's life, up to a small part of the burst.
            ahead = min(lot.pace(now), int(lot.rate.burst * LOT_SHARE)) - lot.left
            least = max(cost, 1)
            granted, wait = (
                (0, 0.0) if not cost and ahead <= 0 else await self._take(lot.key, lot.rate, least, max(least, ahead))
            )
            if granted:
                lot.left += granted - cost
                lot.low = lot.left // 2
                lot.until, lot.renew_at = now + LOT_LIFE, now + LOT_LIFE / 2
            else:
                lot.low = 0
                lot.refused, lot.renew_at, lot.refused_until = least, lot.until, now + wait
            return wait
        finally:
            lot.filling = None

    def follow(self, background: Background) -> None:
        """Ask a store that failed again, without end: if no call comes, nothing else would notice that it counts."""
        background.every("a look at shared rate limits", STORE_AWAY, self._look)

    async def _look(self) -> None:
        if self._unit.failure:
            await self._take(LOOKED_AT, Rate(1 / STORE_AWAY, 1), 1, 1)

    async def close(self) -> None:
        """Stop taking lots in advance."""
        await end(self._fills)

    async def _take(self, key: str, rate: Rate, least: int, most: int) -> tuple[int, float]:
        if self._clock.monotonic() >= self._store_away_until:
            try:
                async with asyncio.timeout(self.patience):
                    taken = await self._store.take(key, rate=rate.per_second, burst=rate.burst, least=least, most=most)
            except Exception as error:  # noqa: BLE001  # after any error this process counts alone
                self._store_away_until = self._clock.monotonic() + STORE_AWAY
                self._unit.fails(error)
            else:
                self._unit.works()
                return taken
        now, interval = self._clock.monotonic(), 1 / rate.per_second
        full = max(now, self._local.get(key, now)) + least * interval
        wait = full - rate.burst * interval - now
        if wait <= 0:
            self._local[key] = full
            if len(self._local) > MAX_LOTS:
                del self._local[next(iter(self._local))]
            return least, 0.0
        return 0, wait


class Lot:
    """Calls that were taken from a bucket in advance."""

    __slots__ = (
        "_before", "_now", "_since", "filling", "key", "left", "low", "rate", "refused", "refused_until", "renew_at",
        "until", "waiting",
    )  # fmt: skip

    def __init__(self, key: str, rate: Rate, now: float) -> None:
        self.key = key
        """The bucket's."""
        self.rate = rate
        self.left = 0
        self.low = 0
        """With fewer calls left, the lot is renewed."""
        self.until = float("-inf")
        self.renew_at = float("-inf")
        self.filling: asyncio.Task[float] | None = None
        self.waiting: list[asyncio.Future[float]] = []
        self.refused = 0
        """The smallest number of calls that the bucket refused last time."""
        self.refused_until = float("-inf")
        """The time at which the bucket has a place again, after it refused a call."""
        self._since, self._now, self._before = now, 0, 0

    def demand(self, cost: int, now: float) -> None:
        """Record a demand for ``cost`` calls."""
        if now - self._since >= LOT_LIFE:
            # Demand from before the previous window does not predict the next one.
            self._before = self._now if now - self._since < 2 * LOT_LIFE else 0
            self._since, self._now = now, 0
        self._now += cost

    def pace(self, now: float) -> int:
        """Return the expected demand during a lot's life: that of the last window of the same length."""
        share = min(1.0, (now - self._since) / LOT_LIFE)
        return int(self._before * (1 - share)) + self._now
