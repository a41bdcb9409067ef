"""The rotator against a real store: what happens by itself, what operators do, and what the answers promise."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes import FakeClock
from tests.unit.keys.replicas import Machine
from tests.unit.keys.test_signing_keys import following, put

from tokenmint.base.background import Background
from tokenmint.base.errors import Conflict, InvalidRequest, NotFound, OutcomeUnknown, SignerUnavailable, WrongState
from tokenmint.keys.signers import local
from tokenmint.keys.signers.types import NewKey, Signer
from tokenmint.keys.types import KeyRing, KeyState, SigningKey
from tokenmint.storage.redis import Store

PATIENT = 864_000.0
"""An R that passes on no machine before the test has, though the machine be suspended and its clock set on."""


class Elsewhere:
    """A signer that never hands out a private half, as a security module: here it lies in a dictionary."""

    name = "elsewhere"

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.made = 0
        self.away = False
        self.takes: Callable[[], None] = lambda: None
        """Lets the time pass that the making of a key takes."""

    async def generate(self, algorithm: str) -> NewKey:
        if self.away:
            raise SignerUnavailable(detail="away")
        self.takes()
        private = local.generate(algorithm)
        self.made += 1
        key_ref = f"key/{self.made}"
        self.keys[key_ref] = private
        return NewKey(local.public_jwk(private), key_ref=key_ref)

    async def open(self, key: SigningKey) -> Signer:
        if key.key_ref not in self.keys:
            raise SignerUnavailable(detail="no such key")
        return local.LocalSigner(key.key_id, key.algorithm, self.keys[key.key_ref])

    async def destroy(self, key_ref: str) -> None:
        self.keys.pop(key_ref, None)


async def test_a_rotation_is_served_here_at_once_and_elsewhere_with_the_next_look(machine: Machine) -> None:
    here, there = machine.replica(), machine.replica()
    await here.start()
    await there.start()
    old = here.signs_with()
    done = await here.rotator.rotate(None, force=True)
    assert here.signs_with() == done.active.key_id != old
    assert done.retiring is not None
    assert done.retiring.key_id == old
    assert done.verifiers_may_miss == pytest.approx(there.signing_keys.schedule.ahead)
    assert there.signs_with() == old
    await there.signing_keys.refresh()
    assert there.signs_with() == done.active.key_id
    published = {key["kid"] for key in there.signing_keys.published().keys}
    assert published == {old, done.active.key_id, done.prepared.key_id}


async def test_a_key_that_a_replica_does_not_publish_yet_can_not_be_forced(machine: Machine) -> None:
    here, there = machine.replica(replica_lag=PATIENT), machine.replica(replica_lag=PATIENT)
    await here.start()
    await there.start()
    await here.rotator.rotate(None, force=True)
    # `there` is live and has not looked since: it does not publish the new prepared key.
    with pytest.raises(WrongState) as refused:
        await here.rotator.rotate(None, force=True)
    assert refused.value.violation == "REPLICA_BEHIND"
    await there.signing_keys.refresh()
    assert (await here.rotator.rotate(None, force=True)).active


async def test_an_algorithm_that_is_not_configured_is_refused(machine: Machine) -> None:
    replica = machine.replica()
    await replica.start()
    with pytest.raises(InvalidRequest):
        await replica.rotator.prepare("RS256")
    two = machine.replica(("ES256", "EdDSA"))
    with pytest.raises(InvalidRequest):
        await two.rotator.rotate(None, force=True)


async def test_an_algorithm_that_is_added_is_published_first_and_can_be_forced(machine: Machine) -> None:
    first = machine.replica()
    await first.start()
    replica = machine.replica(("ES256", "EdDSA"))
    await replica.start()
    assert not replica.signing_keys.in_use("EdDSA")
    with pytest.raises(WrongState):
        await replica.rotator.rotate("EdDSA", force=False)
    await first.signing_keys.refresh()
    done = await replica.rotator.rotate("EdDSA", force=True)
    assert replica.signs_with("EdDSA") == done.active.key_id
    assert done.retiring is None


async def test_preparing_is_idempotent_and_activation_waits(machine: Machine, clock: FakeClock) -> None:
    replica = machine.replica()
    await replica.start()
    prepared = await replica.rotator.prepare("ES256")
    assert (await replica.rotator.prepare(None)) == prepared
    with pytest.raises(WrongState) as early:
        await replica.rotator.activate(prepared.key_id, force=False)
    assert early.value.violation == "PUBLISH_AHEAD"
    clock.advance(replica.signing_keys.schedule.ahead)
    await replica.signing_keys.refresh()
    done = await replica.rotator.activate(prepared.key_id, force=False)
    assert (done.key.state, done.verifiers_may_miss) == (KeyState.ACTIVE, 0.0)
    again = await replica.rotator.activate(prepared.key_id, force=False)
    assert again.key == done.key
    with pytest.raises(NotFound):
        await replica.rotator.activate("unknown", force=True)


async def test_revocation_says_for_how_long_caches_may_be_wrong(machine: Machine) -> None:
    replica = machine.replica()
    await replica.start()
    active = replica.signs_with()
    with pytest.raises(NotFound):
        await replica.rotator.revoke("unknown", "x")
    done = await replica.rotator.revoke(active, "leaked")
    assert done.revoked.state is KeyState.REVOKED
    assert done.active is not None
    assert done.active.key_id == replica.signs_with() != active
    assert done.verifiers_may_accept == 3660  # a token lives no longer, whatever is cached
    assert done.verifiers_may_miss == pytest.approx(replica.signing_keys.schedule.ahead)
    assert done.replicas_may_sign == 0
    assert active not in replica.signing_keys.published().jwks_json.decode()


async def test_a_long_token_is_accepted_for_as_long_as_the_set_is_cached(machine: Machine) -> None:
    replica = machine.replica(max_lifetime=86400.0, verifier_cache=600.0, rotation_interval=3 * 86400.0)
    await replica.start()
    done = await replica.rotator.revoke(replica.signs_with(), "leaked")
    assert done.verifiers_may_accept == 610  # R + max(A, C)


async def test_a_replica_that_was_not_heard_of_may_sign_for_r(machine: Machine) -> None:
    here, there = machine.replica(replica_lag=PATIENT), machine.replica(replica_lag=PATIENT)
    await here.start()
    await there.start()
    done = await here.rotator.revoke(here.signs_with(), "leaked")
    assert done.replicas_may_sign == PATIENT
    async with following(there):
        done = await here.rotator.revoke(here.signs_with(), "leaked too")
    assert done.replicas_may_sign == 0


async def test_a_store_that_leaked_burns_the_prepared_key_too(machine: Machine) -> None:
    here, there = machine.replica(), machine.replica()
    await here.start()
    await there.start()
    before = {key.key_id for key in here.signing_keys.ring.keys}
    async with following(there):
        done = await here.rotator.revoke(here.signs_with(), "the store leaked", with_prepared=True)
        assert done.active is not None
        assert done.active.key_id not in before
        assert done.verifiers_may_miss == pytest.approx(here.signing_keys.schedule.ahead)
    await there.signing_keys.refresh()
    assert there.signs_with() == done.active.key_id
    states = {key.key_id: key.state for key in there.signing_keys.ring.keys}
    assert all(states[key_id] is KeyState.REVOKED for key_id in before)
    assert there.signing_keys.ring.only("ES256", KeyState.PREPARED)


async def test_what_a_revocation_left_undone_the_schedule_finishes(machine: Machine) -> None:
    here, there = machine.replica(replica_lag=PATIENT), machine.replica(replica_lag=PATIENT)
    await here.start()
    await there.start()
    done = await here.rotator.revoke(here.signs_with(), "the store leaked", with_prepared=True)
    assert done.active is None  # `there` does not publish the fresh key yet
    with pytest.raises(SignerUnavailable):
        here.signing_keys.signer("ES256")
    await there.signing_keys.refresh()
    await here.rotator.tick()  # holds the lease
    assert here.signs_with()


async def test_an_etag_that_is_not_current_is_a_conflict(machine: Machine) -> None:
    replica = machine.replica()
    await replica.start()
    etag = replica.signing_keys.ring.etag
    await replica.rotator.rotate(None, force=True, etag=etag)
    with pytest.raises(Conflict):
        await replica.rotator.rotate(None, force=True, etag=etag)


async def test_rotation_by_itself_when_it_is_due(machine: Machine, clock: FakeClock) -> None:
    replica = machine.replica()
    await replica.start()
    prepared = await replica.rotator.prepare(None)
    old = replica.signs_with()
    schedule = replica.signing_keys.schedule
    clock.advance(schedule.rotation_interval - 1)
    await replica.signing_keys.refresh()
    await replica.rotator.tick()
    assert replica.signs_with() == old
    clock.advance(1)
    await replica.signing_keys.refresh()
    await replica.rotator.tick()
    assert replica.signs_with() == prepared.key_id
    assert replica.signing_keys.ring.only("ES256", KeyState.PREPARED)
    clock.advance(schedule.retention())
    await replica.signing_keys.refresh()
    await replica.rotator.tick()
    gone = replica.signing_keys.ring.find(old)
    assert gone is not None
    assert gone.state is KeyState.RETIRED


async def test_the_loop_goes_on_after_a_failure(
    machine: Machine, clock: FakeClock, store: Store, background: Background
) -> None:
    replica = machine.replica()
    await replica.start()
    prepared = await replica.rotator.prepare(None)
    good = await store.get("ring")
    assert good is not None
    replica.rotator.follow(background)
    clock.advance(replica.signing_keys.schedule.rotation_interval)
    await replica.signing_keys.refresh()
    await store.swap("ring", good, b"not a ring")
    await _passes(clock, 4)
    await store.swap("ring", b"not a ring", good)
    async with asyncio.timeout(10):
        while replica.signing_keys.ring.only("ES256", KeyState.ACTIVE) != replica.signing_keys.ring.find(
            prepared.key_id
        ):
            await replica.signing_keys.refresh()
            await _passes(clock, 4)
    assert replica.signs_with() == prepared.key_id


async def _passes(clock: FakeClock, seconds: float) -> None:
    """Let time pass, and what waits for it run."""
    clock.advance(seconds)
    for _ in range(20):
        await asyncio.sleep(0)


async def test_only_the_holder_of_the_lease_advances_the_ring(machine: Machine, clock: FakeClock) -> None:
    here, there = machine.replica(), machine.replica()
    await here.start()  # takes the lease
    await there.start()
    old = here.signs_with()
    clock.advance(here.signing_keys.schedule.rotation_interval)
    for replica in (here, there):
        await replica.signing_keys.refresh()
    await there.rotator.tick()
    assert there.signs_with() == old
    await here.rotator.tick()
    assert here.signs_with() != old
    assert here.signing_keys.ring.fence > 0


async def test_a_holder_that_was_overtaken_changes_nothing(machine: Machine, clock: FakeClock, store: Store) -> None:
    replica = machine.replica()
    await replica.start()
    old = replica.signs_with()
    clock.advance(replica.signing_keys.schedule.rotation_interval)
    await replica.signing_keys.refresh()
    lease = replica.signing_keys.store.lease

    async def slow(holder: str, *, ttl: float, above: int) -> int:
        fence = await lease(holder, ttl=ttl, above=above)
        ring = replica.signing_keys.ring
        await put(store, replace(ring, fence=fence + 7, generation=ring.generation + 1))  # another, meanwhile
        return fence

    replica.signing_keys.store.lease = slow  # type: ignore[method-assign]  # a pause between two steps
    await replica.rotator.tick()
    assert replica.signs_with() == old


async def test_private_halves_elsewhere_are_destroyed_once_nobody_signs(machine: Machine, clock: FakeClock) -> None:
    elsewhere = Elsewhere()
    replica = machine.replica(source=elsewhere)
    await replica.start()
    assert len(elsewhere.keys) == 2
    old = replica.signing_keys.ring.only("ES256", KeyState.ACTIVE)
    assert old is not None
    assert old.key_ref in elsewhere.keys
    assert old.sealed is None
    await replica.rotator.rotate(None, force=True)
    await replica.rotator.tick()
    assert old.key_ref in elsewhere.keys  # a replica that lags may still sign with it
    clock.advance(replica.signing_keys.schedule.replica_lag)
    await replica.signing_keys.refresh()
    await replica.rotator.tick()
    assert old.key_ref not in elsewhere.keys
    gone = replica.signing_keys.ring.find(old.key_id)
    assert gone is not None
    assert gone.key_ref is None
    revoked = await replica.rotator.revoke(replica.signs_with(), "leaked")
    await replica.rotator.tick()
    assert revoked.revoked.key_ref not in elsewhere.keys


async def test_keys_that_were_made_in_vain_are_destroyed(machine: Machine) -> None:
    elsewhere = Elsewhere()
    replica = machine.replica(source=elsewhere)
    await replica.start()
    before = set(elsewhere.keys)
    with pytest.raises(WrongState):
        await replica.rotator.rotate(None, force=False)
    assert set(elsewhere.keys) == before
    with pytest.raises(Conflict):
        await replica.rotator.revoke(replica.signs_with(), "x", etag="another")
    assert set(elsewhere.keys) == before


async def test_no_key_is_made_for_a_rotation_that_is_not_allowed(machine: Machine) -> None:
    elsewhere = Elsewhere()
    replica = machine.replica(source=elsewhere)
    await replica.start()
    made = elsewhere.made
    with pytest.raises(WrongState):
        await replica.rotator.rotate(None, force=False)
    with pytest.raises(Conflict):
        await replica.rotator.rotate(None, force=True, etag="another")
    assert elsewhere.made == made
    await replica.rotator.rotate(None, force=True, etag=replica.signing_keys.ring.etag)
    assert elsewhere.made == made + 1


async def test_a_revocation_does_not_wait_for_the_signer_that_makes_the_next_key(machine: Machine) -> None:
    elsewhere = Elsewhere()
    replica = machine.replica(source=elsewhere)
    await replica.start()
    leaked = replica.signs_with()
    elsewhere.away = True
    done = await replica.rotator.revoke(leaked, "leaked")
    assert done.active is not None
    assert done.active.key_id == replica.signs_with() != leaked
    assert replica.signing_keys.ring.only("ES256", KeyState.PREPARED) is None
    with pytest.raises(SignerUnavailable):
        await replica.rotator.tick()
    elsewhere.away = False
    await replica.rotator.tick()
    assert replica.signing_keys.ring.only("ES256", KeyState.PREPARED)


async def test_a_key_counts_as_published_from_its_publication_however_long_it_was_in_the_making(
    machine: Machine, clock: FakeClock
) -> None:
    elsewhere = Elsewhere()
    replica = machine.replica(source=elsewhere)
    await replica.start()
    began, elsewhere.takes = clock.now(), lambda: clock.advance(5.0)
    done = await replica.rotator.rotate(None, force=True)
    assert (done.prepared.create_time, done.prepared.publish_time) == (began + 5.0, began + 5.0)
    revoked = await replica.rotator.revoke(replica.signs_with(), "leaked")
    assert revoked.revoked.revoke_time == began + 5.0
    prepared = replica.signing_keys.ring.only("ES256", KeyState.PREPARED)
    assert prepared is not None
    assert prepared.publish_time == began + 10.0


async def test_keys_of_a_change_whose_outcome_is_unknown_are_kept(machine: Machine, clock: FakeClock) -> None:
    elsewhere = Elsewhere()
    replica = machine.replica(source=elsewhere)
    await replica.start()
    swap = replica.signing_keys.store.swap

    async def unconfirmed(expected: bytes | None, ring: KeyRing, *, until: float | None = None) -> bool:
        assert await swap(expected, ring, until=until)
        raise OutcomeUnknown

    clock.advance(replica.signing_keys.schedule.rotation_interval)
    await replica.signing_keys.refresh()
    replica.signing_keys.store.swap = unconfirmed  # type: ignore[method-assign]  # a connection that breaks
    with pytest.raises(OutcomeUnknown):
        await replica.rotator.tick()
    replica.signing_keys.store.swap = swap  # type: ignore[method-assign]
    await replica.signing_keys.refresh()
    prepared = replica.signing_keys.ring.only("ES256", KeyState.PREPARED)
    assert prepared is not None
    assert prepared.key_ref in elsewhere.keys
    assert replica.signs_with()


async def test_moving_to_another_signer_lets_old_keys_go_on_where_they_are(machine: Machine) -> None:
    before = machine.replica()
    await before.start()
    old = before.signs_with()
    elsewhere = Elsewhere()
    after = machine.replica(source=elsewhere)
    await after.start()
    assert after.signs_with() == old
    assert elsewhere.made == 0
    await before.signing_keys.refresh()
    await after.rotator.rotate(None, force=True)
    assert elsewhere.made == 1
    await after.signing_keys.store.acknowledge(before.signing_keys.replica, after.signing_keys.ring.generation, 10.0)
    done = await after.rotator.rotate(None, force=True)
    assert done.active.signer == "elsewhere"
    assert isinstance(elsewhere.keys[done.active.key_ref or ""], ec.EllipticCurvePrivateKey)


async def test_a_longer_lifetime_is_noted_before_it_is_given(machine: Machine) -> None:
    short = machine.replica()
    await short.start()
    done = await short.rotator.rotate(None, force=True)
    assert done.retiring is not None
    longer = machine.replica(max_lifetime=7200.0)
    await longer.start()
    kept = longer.signing_keys.ring.find(done.retiring.key_id)
    assert kept is not None
    assert kept.delete_time == (kept.retire_time or 0.0) + longer.signing_keys.schedule.retention()
    assert longer.signing_keys.ring.max_lifetime == 7200.0
