"""Moves the signing keys through their life, on schedule and by request of operators.

Each change is a compare-and-swap, so any number of replicas may try. Only the holder of the lease advances the ring on
schedule, so that the others do not generate keys needlessly: that takes time and, in a key management service, money.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from tokenmint.base.background import Background
from tokenmint.base.clock import Clock
from tokenmint.base.errors import (
    ConfigurationError,
    FieldViolation,
    InvalidRequest,
    OutcomeUnknown,
    StoreUnavailable,
    TokenmintError,
)
from tokenmint.keys import ring as rings
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.local import key_id_of
from tokenmint.keys.signers.types import KeySource
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

log = structlog.get_logger(__name__)

REPLICAS_LIMIT: Final = 3.0  # seconds that a forced change waits for every replica to publish the key
NOTICE_LIMIT: Final = 1.0  # seconds that a revocation waits for every replica to acknowledge it


@dataclass(frozen=True, slots=True)
class Activation:
    """A key that signs now."""

    key: SigningKey
    verifiers_may_miss: float
    """Seconds for which some verifiers may still refuse its tokens."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The result of a rotation."""

    active: SigningKey
    prepared: SigningKey
    retiring: SigningKey | None
    verifiers_may_miss: float


@dataclass(frozen=True, slots=True)
class Revocation:
    """The result of a revocation."""

    revoked: SigningKey
    active: SigningKey | None
    verifiers_may_accept: float
    """Seconds for which verifiers with a cached key set may still accept tokens of the revoked key."""
    verifiers_may_miss: float
    replicas_may_sign: float
    """Seconds for which an unresponsive replica may still sign with it; 0 if every replica acknowledged."""


class Rotator:
    """Changes the key ring.

    Args:
        signing_keys: this process's keys.
        sources: the sources of signing keys by name.
        source: the name of the source that makes new keys.
        sealer: seals private keys of the local source.
        algorithms: the configured signing algorithms.
        clock: time.
        region: the name of this region, which begins the ids of its keys; "": none.
        may_begin: whether the first key of all may sign by itself when it is due: not in a new region that lacks the
            state of the others.
    """

    def __init__(
        self,
        signing_keys: SigningKeys,
        sources: Mapping[str, KeySource],
        source: str,
        sealer: Sealer,
        algorithms: tuple[str, ...],
        *,
        clock: Clock,
        region: str = "",
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._signing_keys = signing_keys
        self._sources = sources
        self._source = source
        self._sealer = sealer
        self._algorithms = algorithms
        self._clock = clock
        self._schedule = signing_keys.schedule
        self._region = region
        self._may_begin = may_begin

    @property
    def encryption_key_id(self) -> str:
        """The id of the key-encryption key that seals."""
        return self._sealer.encryption_key_id

    # --- by itself -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the stored ring, or make the first one; then do what is due. Raises as :meth:`SigningKeys.start`."""
        await self._signing_keys.start(self._first)
        await self.tick()

    def follow(self, background: Background) -> None:
        """Run :meth:`tick` periodically, without end."""
        background.every("key rotation", self._schedule.replica_lag / 3, self.tick)

    async def tick(self) -> None:
        """Make the changes that are due, if this replica holds the lease. Raises ``Conflict``, ``StoreUnavailable``.

        A replica with a wrong clock neither takes nor renews the lease, so another one takes over when it expires.
        """
        await self._signing_keys.clocks.look()
        if self._signing_keys.clocks.problem():
            return
        ring = self._signing_keys.ring
        fence = await self._signing_keys.store.lease(
            self._signing_keys.replica, ttl=self._schedule.replica_lag, above=ring.fence
        )
        if not fence:
            return
        await self._advance(self._algorithms, fence)
        await self._destroy_private_halves()

    async def _advance(self, algorithms: tuple[str, ...], fence: int) -> None:
        self._signing_keys.clocks.require()
        ring = self._signing_keys.ring
        if not (any(map(self._signing_keys.in_use, algorithms)) or self._may_begin()):
            return
        acknowledged = await self._signing_keys.acknowledged()
        supply = await self._make(rings.fresh_keys_needed(ring, algorithms, self._schedule, self._now(), acknowledged))
        if rings.advance(ring, self._schedule, self._now(), supply, acknowledged) is ring:
            return

        def change(ring: KeyRing) -> KeyRing:
            if ring.fence > fence:
                return ring  # another holds the lease by now
            advanced = rings.advance(ring, self._schedule, self._now(), supply, acknowledged)
            return ring if advanced is ring else replace(advanced, fence=max(fence, ring.fence))

        ring = await self._change(change, [key for keys in supply.values() for key in keys])
        log.info("the key ring advanced", generation=ring.generation)

    async def _first(self, ring: KeyRing) -> KeyRing:
        if problem := self._signing_keys.clocks.problem():
            raise ConfigurationError(f"the first signing keys are not made by a clock that may be wrong: {problem}")
        supply = await self._make(rings.fresh_keys_needed(ring, self._algorithms, self._schedule, self._now(), 0))
        first = rings.advance(ring, self._schedule, self._now(), supply, 0)
        return replace(first, generation=1, max_lifetime=self._schedule.max_lifetime)

    # --- by an operator ------------------------------------------------------------------------------------------

    async def prepare(self, algorithm: str | None) -> SigningKey:
        """Return the prepared key; publish one first if there is none. Raises ``ClockWrong``."""
        name = self._algorithm(algorithm)
        prepared = self._signing_keys.ring.only(name, KeyState.PREPARED)
        if prepared is not None:
            return prepared
        await self._check_clock()
        fresh = await self._make_one(name)
        ring = await self._change(lambda ring: rings.prepare(ring, fresh, self._now()), [fresh])
        return _expect(ring.only(name, KeyState.PREPARED))

    async def activate(self, key_id: str, *, force: bool, etag: str = "") -> Activation:
        """Let a prepared key sign. Raises ``NotFound``, ``WrongState``, ``Conflict``, ``ClockWrong``."""
        await self._check_clock()
        acknowledged = await self._acknowledged(self._signing_keys.ring.find(key_id))

        def change(ring: KeyRing) -> KeyRing:
            now = self._now()
            return rings.activate(ring, key_id, self._schedule, now, force=force, acknowledged=acknowledged)

        key = _expect((await self._signing_keys.change(change, etag)).find(key_id))
        return Activation(key, self._may_miss(key))

    async def rotate(self, algorithm: str | None, *, force: bool, etag: str = "") -> Rotation:
        """Activate the prepared key and publish its successor. Raises ``WrongState``, ``Conflict``, ``ClockWrong``."""
        await self._check_clock()
        name = self._algorithm(algorithm)
        # The key of a new algorithm has to be published before it can sign, even with force.
        prepared = await self.prepare(name)
        acknowledged = await self._acknowledged(prepared)
        # Checked before a key is made, which may cost money, and again in the change itself.
        ring = await self._signing_keys.current(etag)
        rings.activate(ring, prepared.key_id, self._schedule, self._now(), force=force, acknowledged=acknowledged)
        fresh = await self._make_one(name)
        before: list[SigningKey | None] = [None]

        def change(ring: KeyRing) -> KeyRing:
            before[0] = ring.only(name, KeyState.ACTIVE)
            now = self._now()
            return rings.rotate(ring, name, fresh, self._schedule, now, force=force, acknowledged=acknowledged)

        ring = await self._change(change, [fresh], etag)
        active = _expect(ring.only(name, KeyState.ACTIVE))
        retiring = ring.find(before[0].key_id) if before[0] is not None else None
        return Rotation(active, _expect(ring.only(name, KeyState.PREPARED)), retiring, self._may_miss(active))

    async def revoke(self, key_id: str, reason: str, *, with_prepared: bool = False, etag: str = "") -> Revocation:
        """Remove a key from use at once. Raises ``NotFound``, ``Conflict``.

        ``with_prepared`` also revokes the prepared key of its algorithm, in case the store itself has leaked. The
        successor is made afterwards, so that a revocation never waits for a signer, which may be down.
        """
        acknowledged = await self._signing_keys.acknowledged()

        def change(ring: KeyRing) -> KeyRing:
            return rings.revoke(
                ring,
                key_id,
                reason,
                None,
                self._schedule,
                self._now(),
                with_prepared=with_prepared,
                acknowledged=acknowledged,
            )

        ring = await self._signing_keys.change(change, etag, timely=False)
        key, generation = _expect(ring.find(key_id)), ring.generation
        try:
            await self._follow(key.algorithm)
        except TokenmintError as error:  # the revocation itself has succeeded
            log.warning("no key follows the revoked one yet", error=error.detail or error.message)
        everywhere = await self._signing_keys.await_acknowledged(generation, NOTICE_LIMIT)
        ring = self._signing_keys.ring
        active = ring.only(key.algorithm, KeyState.ACTIVE)
        cached = self._schedule.replica_lag + max(self._schedule.max_age, self._schedule.verifier_cache)
        return Revocation(
            revoked=_expect(ring.find(key_id)),
            active=active,
            verifiers_may_accept=min(cached, max(ring.max_lifetime, self._schedule.max_lifetime) + self._schedule.skew),
            verifiers_may_miss=self._may_miss(active) if active is not None else 0.0,
            replicas_may_sign=0.0 if everywhere else self._schedule.replica_lag,
        )

    async def reseal(self) -> list[SigningKey]:
        """Seal every private key under the current key-encryption key; return the keys that changed.

        Raises:
            ConfigurationError: a key was sealed under a key-encryption key that is not configured. Nothing changes.
        """
        before: list[KeyRing] = []

        def change(ring: KeyRing) -> KeyRing:
            before[:] = [ring]
            sealed = {
                key.key_id: self._sealer.reseal(key.key_id, key.sealed) for key in ring.keys if key.sealed is not None
            }
            return rings.reseal(ring, sealed, self._now())

        ring = await self._signing_keys.change(change)
        return [key for key in ring.keys if key.sealed is not None and before[0].find(key.key_id) != key]

    # --- parts ---------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._signing_keys.clocks.now()

    async def _check_clock(self) -> None:
        """Raise ``ClockWrong`` if this process must not set the times of keys.

        Revocation skips this check: it can't wait, and no rule depends on its time.
        """
        await self._signing_keys.clocks.look()
        self._signing_keys.clocks.require()

    async def _follow(self, algorithm: str) -> None:
        """After a revocation, publish a prepared key, and activate one if no key signs.

        If this process ends here, the holder of the lease continues.
        """
        await self._advance((algorithm,), self._signing_keys.ring.fence)
        ring = self._signing_keys.ring
        if ring.only(algorithm, KeyState.ACTIVE) is None and rings.in_use(ring, algorithm):
            # No key signs until every replica publishes the next one.
            await self._signing_keys.await_acknowledged(ring.generation, REPLICAS_LIMIT)
            await self._advance((algorithm,), ring.fence)

    async def _acknowledged(self, key: SigningKey | None) -> int:
        """Return the generation that every replica serves, after giving lagging ones time to publish ``key``."""
        if key is not None:
            await self._signing_keys.await_acknowledged(key.publish_generation, REPLICAS_LIMIT)
        return await self._signing_keys.acknowledged()

    def _algorithm(self, algorithm: str | None) -> str:
        if not algorithm and len(self._algorithms) == 1:
            return self._algorithms[0]
        if algorithm not in self._algorithms:
            raise InvalidRequest(
                [FieldViolation("algorithm", f"expected one of the configured {', '.join(self._algorithms)}")]
            )
        return str(algorithm)

    def _may_miss(self, key: SigningKey) -> float:
        return max(0.0, rings.activation_allowed(key, self._schedule) - self._now())

    async def _make(self, counts: Mapping[str, int]) -> dict[str, list[SigningKey]]:
        """Generate prepared keys before the change, because generation is slow and a change may be repeated."""
        return {name: [await self._make_one(name) for _ in range(count)] for name, count in counts.items()}

    async def _make_one(self, algorithm: str) -> SigningKey:
        made = await self._sources[self._source].generate(algorithm)
        now = self._now()
        return SigningKey(
            key_id=key_id_of(made.public_jwk, self._region),
            algorithm=algorithm,
            state=KeyState.PREPARED,
            public_jwk=made.public_jwk,
            create_time=now,
            publish_time=now,
            signer=self._source,
            sealed=made.sealed,
            seal_time=now,
            key_ref=made.key_ref,
        )

    async def _change(
        self, change: Callable[[KeyRing], KeyRing], made: Iterable[SigningKey], etag: str = ""
    ) -> KeyRing:
        """Change the ring as :meth:`SigningKeys.change`; then destroy keys of ``made`` that are not in it."""
        try:
            ring = await self._signing_keys.change(change, etag)
        except OutcomeUnknown:
            raise  # the keys may be in the ring: a surplus key does less harm than an active one that can't sign
        except TokenmintError:
            await self._destroy_unused(self._signing_keys.ring, made)
            raise
        await self._destroy_unused(ring, made)
        return ring

    async def _destroy_unused(self, ring: KeyRing, made: Iterable[SigningKey]) -> None:
        for key in made:
            if key.key_ref is not None and ring.find(key.key_id) is None:
                await self._sources[key.signer].destroy(key.key_ref)

    async def _destroy_private_halves(self) -> None:
        """Make external signers destroy the private halves of keys that no replica signs with any more."""
        now, lag = self._now(), self._schedule.replica_lag
        done = []
        for key in self._signing_keys.ring.keys:
            over = key.state in (KeyState.RETIRED, KeyState.REVOKED) or (
                key.state is KeyState.RETIRING and now >= (key.retire_time or 0.0) + lag
            )
            if over and key.key_ref is not None and key.signer in self._sources:
                await self._sources[key.signer].destroy(key.key_ref)
                done.append(key.key_id)
        if done:
            await self._signing_keys.change(lambda ring: rings.destroyed(ring, done))


def _expect(key: SigningKey | None) -> SigningKey:
    if key is None:
        raise StoreUnavailable(detail="the ring changed while the response was prepared")
    return key
