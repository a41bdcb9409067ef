"""Notices that the store lost changes: an old file, an emptied store, a failover to a replica that lagged.

Replicas put the key ring back, and nobody can put back the rest: people who were disabled, tokens that were revoked or
used. So a loss is noted in the ring itself, where every replica reads it and every merge keeps it, until an operator
has accepted it.

A loss is proved by what was confirmed as durable and is not there: a ring, or the store's beat, a number that every
replica raises each time it looks at the ring. What was never confirmed may be gone after any failover, and was not
answered for. The beat proves that the whole store is older, also where the ring has not changed since.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from tokenmint.base.clock import Clock
from tokenmint.base.errors import ConfigurationError, Conflict, TokenmintError
from tokenmint.keys import ring as rings
from tokenmint.keys.clock_check import ClockCheck
from tokenmint.keys.high_water_mark import HighWaterMark, Mark
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.store import RingStore
from tokenmint.keys.types import KeyRing

log = structlog.get_logger(__name__)

ATTEMPTS: Final = 8  # compare-and-swap rounds before a change is called a conflict
RECOVERY_LIMIT: Final = 5.0  # seconds that a start waits for running replicas to put back what the store lost
BEAT_JUMP: Final = 1_000_000  # by which the beat is raised after a loss: past whatever a replica may have seen


class LossWatch:
    """Knows what the store confirmed, and compares it with what the store holds.

    Args:
        store: where the ring and the beat are.
        schedule: the timing rules.
        mark: what this machine knows of the store outside it.
        clocks: the ring's time.
        clock: for waiting.
        noticed: called where a read or a claim finds the beat smaller, or far larger: this has to look now.
    """

    def __init__(
        self, store: RingStore, schedule: Schedule, mark: HighWaterMark, *, clocks: ClockCheck, clock: Clock,
        noticed: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self._store = store
        self._noticed = noticed
        self._schedule = schedule
        self.mark = mark
        self._clocks = clocks
        self._clock = clock
        self._durable: KeyRing | None = None
        self._beat = 0
        self._failed = False

    def confirmed(self, ring: KeyRing) -> None:
        """Note that the store confirmed ``ring`` as durable."""
        self._durable = ring

    def has_lost(self, stored: KeyRing) -> bool:
        """Tell whether ``stored`` lacks what the store had confirmed."""
        if self._durable is None:
            return False
        # What earlier versions drop is no loss.
        known = replace(self._durable, losses=0, losses_accepted=0, disowned=())
        return rings.merge(stored, known, self._schedule, self._clocks.now()) is not stored

    async def raise_mark(self, ring: KeyRing) -> None:
        """Note outside of the store what it has confirmed."""
        await self.mark.raise_to(ring, self._beat)

    async def look(self, held: KeyRing) -> int:
        """Raise the beat, and the mark to what that proves; ``held`` was read from the store before.

        Returns 0, or the beat that the store had confirmed where it went back: then the loss has to be noted in the
        ring, and then :meth:`noted` called with it, or :meth:`not_noted`. Never raises: what could not be confirmed
        is not counted.
        """
        try:
            beat = await self._store.beat()
            if beat <= self._beat:
                log.error("the store went back: it lost changes", beat=beat, confirmed=self._beat)
                before, self._beat = self._beat, beat
                return before
            self._confirm_beat(beat)
            # What is still there after a beat is as durable as the beat: it is on the same node.
            if held is not self._durable and (await self._store.read())[1] == held:
                self._durable = held
        except TokenmintError as error:
            if not self._failed:
                log.warning("the store's beat could not be confirmed", error=error.detail or error.message)
            self._failed = True
            return 0
        self._failed = False
        if self._durable is not None:
            await self.raise_mark(self._durable)
        return 0

    async def noted(self, before: int) -> None:
        """Raise the beat past ``before``, and past what others have seen, once a loss is noted."""
        self._confirm_beat(await self._store.beat(max(0, before - await self._store.last_beat()) + BEAT_JUMP))

    def _confirm_beat(self, beat: int) -> None:
        self._beat = beat
        self._store.expect(beat, BEAT_JUMP // 2, self._noticed)

    def not_noted(self, before: int) -> None:
        """Have the next look find the loss again, since it could not be noted."""
        self._beat = max(self._beat, before)

    # --- at a start ----------------------------------------------------------------------------------------------

    async def compare_with_mark(self) -> None:
        """Compare the store with the mark, once running replicas have had time to put back what it lost.

        What it lost is noted in the ring, for all replicas. Raises ``ConfigurationError`` for a store without the ring.
        """
        mark = self.mark.read()
        if mark is None:
            return
        patience = min(RECOVERY_LIMIT, self._schedule.replica_lag)
        deadline = self._clock.monotonic() + patience
        while missing := mark.missing((ring := (await self._store.read())[1]), await self._store.last_beat()):
            if self._clock.monotonic() >= deadline:
                if ring is not None and ring.ring_id == mark.ring_id:
                    await self._tell(mark, missing)
                    return
                raise ConfigurationError(
                    "the store is older than what was served here before: "
                    + "; ".join(missing)
                    + ". Restore a newer copy of it (or point redis.url at the right one); where there is none, "
                    "`tokenmint keys accept-store` says what would be lost and goes on with this one"
                )
            log.warning("the store is older than the high-water mark; running replicas may put it right", saw=missing)
            await self._clock.sleep(patience / 10)

    async def _tell(self, mark: Mark, missing: list[str]) -> None:
        """Note in the ring what the mark knows and the store has lost; keys that were revoked are revoked at once."""
        for _ in range(ATTEMPTS):
            raw, ring = await self._store.read()
            if ring is None:
                break
            told = rings.lost(rings.disown(ring, mark.revoked, self._clocks.now()))
            told = replace(told, generation=max(ring.generation, mark.generation) + 1)
            if await self._store.swap(raw, told):
                log.error("the store lost changes: nothing is exchanged until an operator accepts that", lost=missing)
                await self.noted(mark.beat)
                return
        raise Conflict()
