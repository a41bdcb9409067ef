"""The signing keys of this process. They follow the ring in the store, sign tokens and are published.

Nothing is signed unless the store confirmed the ring within R, because the key may have been revoked meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import structlog

from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import (
    Conflict,
    CorruptRecord,
    DependencyUnavailable,
    SignerUnavailable,
    StoreWentBack,
    TokenmintError,
)
from tokenmint.keys import ring as rings
from tokenmint.keys import ring_merge
from tokenmint.keys.clock_check import ClockCheck
from tokenmint.keys.high_water_mark import HighWaterMark
from tokenmint.keys.losses import ATTEMPTS, LossWatch
from tokenmint.keys.opened_keys import OpenedKeys
from tokenmint.keys.publication import Publication
from tokenmint.keys.published import PublishedKeySet
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.signers.types import KeySource, Signer
from tokenmint.keys.store import RingStore
from tokenmint.keys.types import PUBLISHED, KeyRing, RegionKey, SigningKey

log = structlog.get_logger(__name__)

RETRY: Final = 0.5  # seconds at most between attempts to reach the store again, or a sixth of R if that is less
DECIDED_LIMIT: Final = 1.0  # seconds at least that a change may take from its decision to the store
_POLL: Final = 0.02  # seconds between checks for acknowledgements


class SigningKeys:
    """Holds the ring and the signers.

    Args:
        store: holds the ring.
        sources: the sources of signing keys by name, including that of every key in the ring.
        schedule: the timing rules.
        mark: the record of the ring on this machine.
        clocks: compares the store's clock with this process's, and gives the ring's time.
        clock: time.
        replica: the name of this process among those that follow the ring.
    """

    def __init__(
        self,
        store: RingStore,
        sources: Mapping[str, KeySource],
        schedule: Schedule,
        mark: HighWaterMark,
        *,
        clocks: ClockCheck,
        clock: Clock,
        replica: str,
    ) -> None:
        self.store = store
        self.schedule = schedule
        self.clocks = clocks
        self.replica = replica
        self._clock = clock
        self._ring = KeyRing(ring_id="")
        self._opened = OpenedKeys(sources)
        self.publication = Publication(schedule)
        self._confirmed = float("-inf")
        self._following = False
        self._mark_due = asyncio.Event()
        self._losses = LossWatch(store, schedule, mark, clocks=clocks, clock=clock, noticed=self._on_loss)
        self._loss_noticed = False

    # --- use ---------------------------------------------------------------------------------------------------

    @property
    def ring(self) -> KeyRing:
        """The ring as last read."""
        return self._ring

    def confirmed_ago(self) -> float:
        """Return the seconds since the store last confirmed the ring."""
        return self._clock.monotonic() - self._confirmed

    def signer(self, algorithm: str) -> Signer:
        """Return the active signer of ``algorithm``. Raises ``SignerUnavailable``, ``ClockWrong``."""
        self.clocks.require()
        if self.confirmed_ago() > self.schedule.replica_lag:
            raise SignerUnavailable(detail=f"the key ring was not confirmed for {self.confirmed_ago():.1f} s")
        return self._opened.signer(self._ring, algorithm)

    def published_key(self, key_id: str) -> SigningKey | RegionKey | None:
        """Return the published key with this id, of any region; None if it is unknown, revoked or retired.

        Raises ``SignerUnavailable`` if the ring may be out of date, because the key may have been revoked meanwhile.
        """
        if self.confirmed_ago() > self.schedule.replica_lag:
            raise SignerUnavailable(detail=f"the key ring was not confirmed for {self.confirmed_ago():.1f} s")
        key = self._ring.find(key_id)
        if key is None:
            return self.publication.other(key_id)
        return key if key.state in PUBLISHED else None

    def loss(self) -> str:
        """Return a message for operators while no operator has accepted a loss of the store, or ""."""
        if not self._ring.went_back:
            return ""
        return (
            "the store lost changes (an old file, an emptied store, or a failover): disabled profiles may be active in "
            "it, and revoked or used tokens may be accepted; restore a newer copy of it, or follow "
            "docs/runbooks/old-store.md and run `tokenmint keys accept-store --yes`"
        )

    def beat_problem(self) -> str:
        """Return a message for operators while the store's beat can't be read, or ""."""
        return self._losses.problem

    def require_serving(self) -> None:
        """Raise ``ClockWrong`` or ``StoreWentBack`` if no token may be exchanged now."""
        self.clocks.require()
        if loss := self.loss():
            raise StoreWentBack(detail=loss)

    def in_use(self, algorithm: str) -> bool:
        """Return whether ``algorithm`` has ever signed: its first key signs once it has been published for P."""
        return rings.in_use(self._ring, algorithm)

    def published(self) -> PublishedKeySet:
        """Return the published key set. Raises ``DependencyUnavailable`` if it may be out of date."""
        if self.confirmed_ago() > self.schedule.serve_unconfirmed:
            raise DependencyUnavailable("the key set was not confirmed for too long: retry later")
        return self.publication.current(self.clocks.now())

    async def subscribe(self) -> AsyncIterator[PublishedKeySet]:
        """Yield the published set now and after each change. A slow consumer skips intermediate versions."""
        seen = ""
        while True:
            changed, current = self.publication.changed, self.published()
            if current.etag != seen:
                seen = current.etag
                yield current
            else:
                await changed.wait()

    # --- following -----------------------------------------------------------------------------------------------

    async def start(self, first: Callable[[KeyRing], Awaitable[KeyRing]]) -> None:
        """Load the stored ring, or make the first one.

        Args:
            first: makes the first ring from an empty one.

        Raises:
            ConfigurationError: a key was sealed under another key-encryption key, or the store has no ring although
                one was served here before, or has a different one.
            CorruptRecord, SignerUnavailable, StoreUnavailable
        """
        await self.clocks.look()
        # This comes before the ring is read: from now on no key is activated unless this replica publishes it.
        await self.store.acknowledge(self.replica, 0, self.schedule.replica_lag)
        await self._losses.compare_with_mark()
        for _ in range(ATTEMPTS):
            asked = self._clock.monotonic()
            raw, ring = await self.store.read()
            if ring is None:
                ring = await first(KeyRing(ring_id=self.replica))
                if not await self.store.swap(raw, ring):
                    continue
                log.info("made the first signing keys")
            await self._adopt(ring)
            for failure in self._opened.failures.values():
                raise failure
            await self._confirm(asked)
            await self.change(lambda ring: rings.with_lifetime(ring, self.schedule))
            return
        raise Conflict()

    def follow(self, background: Background) -> None:
        """Follow the ring without end: by its notices, and by polling every third of R in case a notice was lost."""
        self._following = True
        lag = self.schedule.replica_lag
        # After a failover both retry in time: a ring that is not confirmed within R stops signing.
        longest = min(RETRY, lag / 6)
        background.start("key ring notices", self._listen, longest=longest)
        background.every("key ring poll", lag / 3, self.refresh, longest=longest)
        background.start("high-water mark", self._keep_mark)

    async def _listen(self, unit: Unit) -> None:
        async with aclosing(self.store.changes()) as changes:
            async for _ in changes:
                await self.refresh()
                unit.works()

    async def _keep_mark(self, unit: Unit) -> None:
        """Raise the mark in a unit of its own: a slow disk must not delay the next notice of the ring."""
        while True:
            await self._mark_due.wait()
            self._mark_due.clear()
            if self._loss_noticed:
                self._loss_noticed = False
                await self.refresh()  # another process may have noted it in the ring
            await self.note()
            unit.works()

    def _on_loss(self) -> None:
        self._loss_noticed = True
        self._mark_due.set()

    async def note(self) -> None:
        """Have the store confirm the held ring, raise the mark to it, and note in the ring if the store went back.

        Raises ``Conflict``, ``OutcomeUnknown``, ``StoreUnavailable`` if the loss could not be noted.
        """
        before = await self._losses.look(self._ring)
        if not before:
            return
        try:
            await self.change(ring_merge.lost)
            await self._losses.noted(before)
        except BaseException:
            self._losses.not_noted(before)
            raise

    async def refresh(self) -> None:
        """Serve the stored ring, and restore what it has lost. Raises ``CorruptRecord``, ``StoreUnavailable``.

        If the store lost confirmed state, records other than the ring may be lost too, so the ring notes the loss.
        """
        await self.clocks.look()
        for _ in range(ATTEMPTS):
            held, asked = self._ring, self._clock.monotonic()
            raw, stored = await self.store.read()
            if stored is None:
                stored = KeyRing(held.ring_id)
            if stored.ring_id != held.ring_id:
                raise CorruptRecord(detail="the stored key ring is not the one that this process started with")
            merged = ring_merge.merge(stored, held, self.schedule, self.clocks.now())
            if merged is not stored:
                # The store went back in time. Changes that were reported as done since are restored.
                lost = self._losses.has_lost(stored)
                log.error(
                    "the store holds an older key ring", stored=stored.generation, held=held.generation, confirmed=lost
                )
                until = await self._until()
                merged = ring_merge.merge(stored, held, self.schedule, self.clocks.now())
                merged = ring_merge.lost(merged) if lost else merged
                merged = replace(merged, generation=merged.generation + 1)
                if not await self.store.swap(raw, merged, until=until):
                    continue
                self._losses.confirmed(merged)
            await self._adopt(merged)
            await self._confirm(asked)
            return
        raise Conflict()

    async def _adopt(self, ring: KeyRing) -> None:
        """Sign with ``ring`` and publish it. A key that can't be opened is left out and retried."""
        if ring == self._ring and not self._opened.failures:
            return
        if ring.generation >= self._ring.generation:
            self._opened.sign_with_opened(ring)
        opening = await self._opened.open(ring)
        if ring.generation < self._ring.generation:
            return  # a newer ring arrived while the keys were opened
        self._opened.take(ring, opening)
        self._ring = ring
        self.publication.of_ring(ring)

    async def _confirm(self, asked: float) -> None:
        """Record that the store held the ring after ``asked``, and announce that this replica serves it."""
        await self.store.acknowledge(self.replica, self._ring.generation, self.schedule.replica_lag)
        self._confirmed = max(self._confirmed, asked)
        if self._following:
            self._mark_due.set()
        else:
            await self.note()

    # --- changing ------------------------------------------------------------------------------------------------

    async def current(self, etag: str = "") -> KeyRing:
        """Return the ring that the store holds now, to decide on a change.

        Raises:
            Conflict: ``etag`` is not the current one.
            CorruptRecord, StoreUnavailable
        """
        await self.refresh()
        if etag and etag != self._ring.etag:
            raise Conflict()
        return self._ring

    async def change(self, change: Callable[[KeyRing], KeyRing], etag: str = "", *, timely: bool = True) -> KeyRing:
        """Change the ring in the store and serve it. ``change`` runs again after each concurrent change.

        ``timely``: the change is also decided anew if it reaches the store late. A revocation needs no such limit.

        Raises:
            Conflict: ``etag`` is not the current one, or there were too many concurrent changes.
            OutcomeUnknown, StoreUnavailable, and the errors of ``change``
        """
        for _ in range(ATTEMPTS):
            held, asked = self._ring, self._clock.monotonic()
            until = await self._until() if timely else None
            raw, ring = await self.store.read()
            if ring is None or ring_merge.merge(ring, held, self.schedule, self.clocks.now()) is not ring:
                await self.refresh()  # restores what the store lost, or raises
                continue
            if etag and etag != ring.etag:
                raise Conflict()
            changed = change(ring)
            if changed is not ring:
                changed = replace(changed, generation=ring.generation + 1)
            # Also without a change: an earlier attempt may have left the ring unconfirmed.
            if not await self.store.swap(raw, changed, until=until):
                continue
            self._losses.confirmed(changed)
            await self._adopt(changed)
            try:
                await self._confirm(asked)
            except TokenmintError as error:  # the change itself has succeeded
                log.warning("a changed key ring could not be acknowledged", error=error.detail or error.message)
            await self._losses.raise_mark(changed)  # before success is reported
            return changed
        raise Conflict()

    async def _until(self) -> float:
        """Return the time, by the store's clock, until which a change decided now may be stored.

        A change holds the times of its decision. If it were stored much later, after this process or the store had
        paused, a key would sign before it was published for P, or be withdrawn before its last token has expired.
        """
        return await self.store.clock() + max(self.schedule.skew, DECIDED_LIMIT)

    async def acknowledged(self) -> int:
        """Return the generation that every live replica serves at least. Raises ``StoreUnavailable``."""
        return min([*(await self.store.replicas()).values(), self._ring.generation])

    async def await_acknowledged(self, generation: int, limit: float) -> bool:
        """Wait up to ``limit`` seconds until every live replica serves ``generation``. Returns whether they do."""
        try:
            async with asyncio.timeout(limit) as timeout:  # of real time: other processes are awaited
                while await self.acknowledged() < generation:
                    if timeout.expired():
                        return False  # the driver lost the cancellation
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            return False
        return True
