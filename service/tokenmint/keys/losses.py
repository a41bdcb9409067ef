"""Notices that the store lost changes: an old file, an emptied store, a failover to a replica that lagged.

Running replicas restore the key ring from memory. No replica can restore the other records: disabled profiles, revoked
tokens, single-use claims. So the loss is noted in the ring, where every replica reads it and every merge keeps it,
until an operator accepts it.

Only durable state proves a loss: a ring that the store confirmed as durable, or the store's beat, a counter that every
replica raises each time it reads the ring. State that was never confirmed may disappear in any failover, and no call
reported success for it. The beat shows that the whole store is older even if the ring has not changed since.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from tokenmint.base.clock import Clock
from tokenmint.base.errors import ConfigurationError, Conflict, CorruptRecord, TokenmintError
from tokenmint.keys import ring_merge
from tokenmint.keys.clock_check import ClockCheck
from tokenmint.keys.high_water_mark import HighWaterMark, Mark
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.store import RingStore
from tokenmint.keys.types import KeyRing

log = structlog.get_logger(__name__)

ATTEMPTS: Final = 8  # compare-and-swap rounds before a change is called a conflict
RECOVERY_LIMIT: Final = 5.0  # seconds that a start waits for running replicas to restore the ring
BEAT_JUMP: Final = 1_000_000  # added to the beat after a loss, to pass any value that a replica may have seen


class LossWatch:
    """Remembers the state that the store confirmed, and compares it with the state that the store returns.

    Args:
        store: holds the ring and the beat.
        schedule: the timing rules.
        mark: the record of the store on this machine.
        clocks: gives the ring's time.
        clock: for waiting.
        noticed: called if a read or a claim finds the beat smaller, or far larger; :meth:`look` is then due at once.
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
        self.problem = ""
        """The reason why no beat can be confirmed until an operator repairs the store, for operators; or ""."""

    def confirmed(self, ring: KeyRing) -> None:
        """Remember ``ring``, which the store confirmed as durable."""
        self._durable = ring

    def has_lost(self, stored: KeyRing) -> bool:
        """Return whether ``stored`` lacks anything that the store had confirmed."""
        if self._durable is None:
            return False
        # Earlier versions drop these fields, which is no loss.
        durable = replace(self._durable, losses=0, losses_accepted=0, disowned=())
        return ring_merge.merge(stored, durable, self._schedule, self._clocks.now()) is not stored

    async def raise_mark(self, ring: KeyRing) -> None:
        """Record the confirmed state outside the store."""
        await self.mark.raise_to(ring, self._beat)

    async def look(self, held: KeyRing) -> int:
        """Raise the beat, then the mark; ``held`` is the ring as read from the store before.

        Returns 0, or the last confirmed beat if the store went back. In that case the caller notes the loss in the
        ring and calls :meth:`noted` with the returned beat, or calls :meth:`not_noted`. Never raises: a failure only
        means that nothing more is confirmed.
        """
        beat: int | None = None
        try:
            beat = await self._store.beat()
            if beat <= self._beat:
                log.error("the store went back: it lost changes", beat=beat, confirmed=self._beat)
                before, self._beat = self._beat, beat
                return before
            self._confirm_beat(beat)
            # The ring is on the same node as the beat, so a ring read after a durable beat is durable too.
            if held is not self._durable and (await self._store.read())[1] == held:
                self._durable = held
        except TokenmintError as error:
            if beat is None and isinstance(error, CorruptRecord):  # not the ring, whose key must not be deleted
                self.problem = (
                    f"the store's beat can't be read ({error.detail}), so nothing is exchanged: "
                    "delete this key, then follow docs/runbooks/old-store.md"
                )
            self._report(error)
            return 0
        self._failed, self.problem = False, ""
        if self._durable is not None:
            await self.raise_mark(self._durable)
        return 0

    def _report(self, error: TokenmintError) -> None:
        if not self._failed:
            log.warning("the store's beat could not be confirmed", error=error.detail or error.message)
        self._failed = True

    async def noted(self, before: int) -> None:
        """Raise the beat past ``before``, and past every value that other replicas have seen, once a loss is noted."""
        self._confirm_beat(await self._store.beat(max(0, before - await self._store.last_beat()) + BEAT_JUMP))

    def _confirm_beat(self, beat: int) -> None:
        self._beat = beat
        self._store.expect(beat, BEAT_JUMP // 2, self._noticed)

    def not_noted(self, before: int) -> None:
        """Make the next look report the loss again, because noting it failed."""
        self._beat = max(self._beat, before)

    # --- at a start ----------------------------------------------------------------------------------------------

    async def compare_with_mark(self) -> None:
        """Compare the store with the mark, after running replicas have had time to restore the ring.

        A loss is noted in the ring, for all replicas. Raises ``ConfigurationError`` for a store without the ring.
        """
        mark = self.mark.read()
        if mark is None:
            return
        patience = min(RECOVERY_LIMIT, self._schedule.replica_lag)
        deadline = self._clock.monotonic() + patience
        while missing := mark.missing((ring := (await self._store.read())[1]), await self._store.last_beat()):
            if self._clock.monotonic() >= deadline:
                if ring is not None and ring.ring_id == mark.ring_id:
                    await self._note_loss(mark, missing)
                    return
                raise ConfigurationError(
                    "the store is older than the state that was served here before: "
                    + "; ".join(missing)
                    + ". Restore a newer copy of it, or point redis.url at the right one; without a newer copy, "
                    "`tokenmint keys accept-store` lists the losses and accepts this store"
                )
            log.warning("the store is older than its high-water mark; replicas may restore it", saw=missing)
            await self._clock.sleep(patience / 10)

    async def _note_loss(self, mark: Mark, missing: list[str]) -> None:
        """Note the loss in the ring, and revoke the keys that the mark knows as revoked."""
        for _ in range(ATTEMPTS):
            raw, ring = await self._store.read()
            if ring is None:
                break
            noted = ring_merge.lost(ring_merge.disown(ring, mark.revoked, self._clocks.now()))
            noted = replace(noted, generation=max(ring.generation, mark.generation) + 1)
            if await self._store.swap(raw, noted):
                log.error("the store lost changes: nothing is exchanged until an operator accepts that", lost=missing)
                await self.noted(mark.beat)
                return
        raise Conflict()
