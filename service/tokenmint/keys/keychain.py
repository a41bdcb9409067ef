"""The signing keys of this process: follows the ring in the store, signs with it, publishes it, and changes it.

What was not confirmed by the store within R is not signed with, since the key may have been revoked meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

import structlog

from tokenmint.clock import Clock
from tokenmint.errors import (
    Conflict,
    CorruptRecord,
    DependencyUnavailable,
    FieldViolation,
    InvalidRequest,
    NotFound,
    SignerUnavailable,
    StoreUnavailable,
    TokenmintError,
)
from tokenmint.keys import ring as rings
from tokenmint.keys.published import PublishedKeySet, publish
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers import local
from tokenmint.keys.signers.local import LocalSigner
from tokenmint.keys.store import RingStore
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

log = structlog.get_logger(__name__)

ATTEMPTS: Final = 8  # compare-and-swap rounds before a change is called a conflict
RETRY: Final = 0.5  # seconds between attempts to reach the store again


@dataclass(frozen=True, slots=True)
class Activation:
    """A key that signs now."""

    key: SigningKey
    verifiers_may_miss: float
    """Seconds for which verifiers may still refuse its tokens."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation came to."""

    active: SigningKey
    prepared: SigningKey
    retiring: SigningKey | None
    verifiers_may_miss: float


@dataclass(frozen=True, slots=True)
class Revocation:
    """What a revocation came to."""

    revoked: SigningKey
    active: SigningKey | None
    verifiers_may_accept: float
    """Seconds for which verifiers that cache may go on accepting the revoked key's tokens."""
    verifiers_may_miss: float


class Keychain:
    """Holds the ring and the active signers.

    Args:
        store: where the ring is.
        sealer: opens and seals private keys.
        schedule: the timing rules.
        algorithms: what is signed with.
        clock: time.
        entropy: returns that many random bytes.
    """

    def __init__(
        self,
        store: RingStore,
        sealer: Sealer,
        schedule: Schedule,
        algorithms: tuple[str, ...],
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._sealer = sealer
        self.schedule = schedule
        self._algorithms = algorithms
        self._clock = clock
        self._entropy = entropy
        self._ring = KeyRing(lineage="")
        self._signers: dict[str, LocalSigner] = {}
        self._published: PublishedKeySet = publish(self._ring, schedule)
        self._confirmed = float("-inf")
        self._changed = asyncio.Event()

    # --- using ---------------------------------------------------------------------------------------------------

    @property
    def ring(self) -> KeyRing:
        """The ring as it was last seen."""
        return self._ring

    def confirmed_ago(self) -> float:
        """Return how many seconds ago the store last confirmed the ring."""
        return self._clock.monotonic() - self._confirmed

    def signer(self, algorithm: str) -> LocalSigner:
        """Return what signs ``algorithm`` now. Raises ``SignerUnavailable``."""
        if self.confirmed_ago() > self.schedule.replica_lag:
            raise SignerUnavailable(detail=f"the key ring was not confirmed for {self.confirmed_ago():.1f} s")
        signer = self._signers.get(algorithm)
        if signer is None:
            raise SignerUnavailable(detail=f"no active key for {algorithm}")
        return signer

    def published(self) -> PublishedKeySet:
        """Return what verifiers are told. Raises ``DependencyUnavailable`` where that may be out of date."""
        if self.confirmed_ago() > self.schedule.serve_unconfirmed:
            raise DependencyUnavailable("the key set was not confirmed for too long: retry later")
        return self._published

    async def subscribe(self) -> AsyncIterator[PublishedKeySet]:
        """Yield the published set now and after each change. Who is slow sees the newest and misses those between."""
        seen = ""
        while True:
            changed, current = self._changed, self.published()
            if current.etag != seen:
                seen = current.etag
                yield current
            else:
                await changed.wait()

    # --- following -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over the stored ring, or make the first one.

        Raises:
            ConfigurationError: it was sealed under another key-encryption key.
            CorruptRecord, StoreUnavailable
        """
        for _ in range(ATTEMPTS):
            asked = self._clock.monotonic()
            raw, ring = await self._store.read()
            if ring is not None:
                self._adopt(ring, asked)
                await self._advance()
                return
            first = KeyRing(lineage=self._entropy(16).hex())
            now = self._clock.now()
            supply = await self._fresh(rings.wanted(first, self._algorithms, self.schedule, now), now)
            first = replace(rings.advance(first, self.schedule, now, supply), generation=1)
            if await self._store.swap(raw, first):
                log.info("made the first signing keys", algorithms=self._algorithms)
                self._adopt(first, asked)
                return
        raise Conflict()

    async def run(self) -> None:
        """Follow the ring for ever: by its notices, and by looking every third of R in case one was lost."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._poll())

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(self._store.changes()) as changes:
                    async for _ in changes:
                        await self._refresh()
            except TokenmintError as error:
                log.warning("the notices of key changes broke off", error=error.detail or error.message)
            await self._clock.sleep(RETRY)

    async def _poll(self) -> None:
        while True:
            await self._clock.sleep(self.schedule.replica_lag / 3)
            try:
                await self._refresh()
                await self._advance()
            except TokenmintError as error:
                log.warning("the key ring could not be followed", error=error.detail or error.message)

    async def _refresh(self) -> None:
        for _ in range(ATTEMPTS):
            asked = self._clock.monotonic()
            raw, stored = await self._store.read()
            if stored is None:
                stored = KeyRing(self._ring.lineage)
            if stored.lineage != self._ring.lineage:
                raise CorruptRecord(detail="the stored key ring is not the one that this process started with")
            merged = rings.merge(stored, self._ring)
            if merged == stored:
                self._adopt(stored, asked)
                return
            # The store went back in time. What was acknowledged since is put back.
            log.error("the store holds an older key ring", stored=stored.generation, held=self._ring.generation)
            merged = replace(merged, generation=self._ring.generation + 1)
            if await self._store.swap(raw, merged):
                self._adopt(merged, asked)
                return

    def _adopt(self, ring: KeyRing, asked: float) -> None:
        """Serve ``ring``, which the store held at some time after ``asked``."""
        if ring.generation < self._ring.generation:
            return  # an answer that was overtaken
        if ring != self._ring:
            self._signers = {
                key.algorithm: self._signer_of(key) for key in ring.keys if key.state is KeyState.ACTIVE and key.sealed
            }
            self._ring = ring
            published = publish(ring, self.schedule)
            if published.etag != self._published.etag:
                self._published = published
                self._changed.set()
                self._changed = asyncio.Event()
        self._confirmed = max(self._confirmed, asked)

    def _signer_of(self, key: SigningKey) -> LocalSigner:
        held = self._signers.get(key.algorithm)
        if held is not None and held.key_id == key.key_id:
            return held
        try:
            private = local.from_bytes(self._sealer.open(key.key_id, key.sealed or ""))
        except ValueError:
            raise CorruptRecord(detail=f"the private half of key {key.key_id} is none") from None
        if local.thumbprint(local.public_jwk(private)) != key.key_id:
            raise CorruptRecord(detail=f"the private half of key {key.key_id} is another key's")
        return LocalSigner(key.key_id, key.algorithm, private)

    # --- changing ------------------------------------------------------------------------------------------------

    async def prepare(self, algorithm: str | None) -> SigningKey:
        """Publish a prepared key where there is none; return the prepared key."""
        name = self._algorithm(algorithm)
        supply = (await self._fresh({name: 1}, self._clock.now()))[name]
        ring = await self._change(lambda ring: rings.prepare(ring, supply[0]))
        return _expect(ring.only(name, KeyState.PREPARED))

    async def activate(self, key_id: str, *, force: bool, etag: str = "") -> Activation:
        """Let a prepared key sign. Raises ``NotFound``, ``WrongState``, ``Conflict``."""
        ring = await self._change(
            lambda ring: rings.activate(ring, key_id, self.schedule, self._clock.now(), force=force), etag
        )
        key = _expect(ring.find(key_id))
        return Activation(key, self._may_miss(key))

    async def rotate(self, algorithm: str | None, *, force: bool, etag: str = "") -> Rotation:
        """Let the prepared key sign and prepare the next. Raises ``WrongState``, ``Conflict``."""
        name = self._algorithm(algorithm)
        supply = (await self._fresh({name: 2}, self._clock.now()))[name]
        before: list[SigningKey | None] = [None]

        def change(ring: KeyRing) -> KeyRing:
            before[0] = ring.only(name, KeyState.ACTIVE)
            return rings.rotate(ring, name, supply, self.schedule, self._clock.now(), force=force)

        ring = await self._change(change, etag)
        active = _expect(ring.only(name, KeyState.ACTIVE))
        retiring = ring.find(before[0].key_id) if before[0] is not None else None
        return Rotation(active, _expect(ring.only(name, KeyState.PREPARED)), retiring, self._may_miss(active))

    async def revoke(self, key_id: str, reason: str, *, etag: str = "") -> Revocation:
        """Take a key out of use at once. Raises ``NotFound``, ``Conflict``."""
        known = (await self._store.read())[1]
        key = known.find(key_id) if known is not None else None
        if key is None:
            raise NotFound("signing key", key_id)
        supply = (await self._fresh({key.algorithm: 2}, self._clock.now()))[key.algorithm]
        ring = await self._change(
            lambda ring: rings.revoke(ring, key_id, reason, supply, self.schedule, self._clock.now()), etag
        )
        active = ring.only(key.algorithm, KeyState.ACTIVE)
        cached = self.schedule.replica_lag + max(self.schedule.max_age, self.schedule.verifier_cache)
        return Revocation(
            revoked=_expect(ring.find(key_id)),
            active=active,
            verifiers_may_accept=min(cached, self.schedule.max_lifetime + self.schedule.skew),
            verifiers_may_miss=self._may_miss(active) if active is not None else 0.0,
        )

    async def _advance(self) -> None:
        now = self._clock.now()
        counts = rings.wanted(self._ring, self._algorithms, self.schedule, now)
        supply = await self._fresh(counts, now)
        if rings.advance(self._ring, self.schedule, now, supply) is not self._ring:
            await self._change(lambda ring: rings.advance(ring, self.schedule, now, supply))

    async def _change(self, change: Callable[[KeyRing], KeyRing], etag: str = "") -> KeyRing:
        for _ in range(ATTEMPTS):
            asked = self._clock.monotonic()
            raw, ring = await self._store.read()
            if ring is None or ring.lineage != self._ring.lineage or ring.generation < self._ring.generation:
                await self._refresh()  # puts back what the store lost, or says why it can't
                continue
            if etag and etag != ring.etag:
                raise Conflict()
            changed = change(ring)
            if changed is ring:
                self._adopt(ring, asked)
                return ring
            changed = replace(changed, generation=ring.generation + 1)
            if await self._store.swap(raw, changed):
                self._adopt(changed, asked)
                return changed
        raise Conflict()

    def _algorithm(self, algorithm: str | None) -> str:
        if not algorithm and len(self._algorithms) == 1:
            return self._algorithms[0]
        if algorithm not in self._algorithms:
            raise InvalidRequest(
                [FieldViolation("algorithm", f"expected one of the configured {', '.join(self._algorithms)}")]
            )
        return str(algorithm)

    def _may_miss(self, key: SigningKey) -> float:
        return max(0.0, rings.activation_allowed(key, self.schedule) - self._clock.now())

    async def _fresh(self, counts: dict[str, int], now: float) -> dict[str, list[SigningKey]]:
        """Make prepared keys, outside of any change: it takes long and must not be repeated with it."""
        return {
            algorithm: [await asyncio.to_thread(self._generate, algorithm, now) for _ in range(count)]
            for algorithm, count in counts.items()
        }

    def _generate(self, algorithm: str, now: float) -> SigningKey:
        private = local.generate(algorithm)
        jwk = local.public_jwk(private)
        key_id = local.thumbprint(jwk)
        return SigningKey(
            key_id=key_id,
            algorithm=algorithm,
            state=KeyState.PREPARED,
            public_jwk=jwk,
            create_time=now,
            publish_time=now,
            sealed=self._sealer.seal(key_id, local.to_bytes(private)),
        )


def _expect(key: SigningKey | None) -> SigningKey:
    if key is None:
        raise StoreUnavailable(detail="the ring changed while it was being answered")
    return key
