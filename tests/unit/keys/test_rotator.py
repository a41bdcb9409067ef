"""The rotator against a real store: what happens by itself, what operators do, and what the answers promise."""

import asyncio
from dataclasses import replace

import pytest
from tests.fakes import FakeClock
from tests.unit.keys.replicas import Machine
from tests.unit.keys.test_signing_keys import following, put

from tokenmint.base.background import Background
from tokenmint.base.errors import Conflict, InvalidRequest, NotFound, SignerUnavailable, WrongState
from tokenmint.keys import rotator
from tokenmint.keys.types import KeyState
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

PATIENT = 864_000.0
"""An R that passes on no machine before the test has, though the machine be suspended and its clock set on."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait for a replica that is behind ends soon: in these tests it stays behind."""
    monkeypatch.setattr(rotator, "REPLICAS_LIMIT", 0.1)
    monkeypatch.setattr(rotator, "NOTICE_LIMIT", 0.1)


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


@pytest.mark.usefixtures("impatient")
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


async def test_the_first_key_of_a_region_waits_until_it_may_begin_and_later_ones_do_not(
    machine: Machine, clock: FakeClock
) -> None:
    complete: list[bool] = []
    replica = machine.replica(may_begin=lambda: bool(complete), region_lag=100.0)
    await replica.start()

    async def after_publication() -> None:
        clock.advance(replica.signing_keys.schedule.ahead + 1)
        await replica.signing_keys.refresh()
        await replica.rotator.tick()

    await after_publication()
    with pytest.raises(SignerUnavailable):
        replica.signs_with()
    complete.append(True)
    await replica.rotator.tick()
    first = replica.signs_with()
    complete.clear()
    clock.advance(replica.signing_keys.schedule.rotation_interval)
    await after_publication()
    assert replica.signs_with() != first


async def test_an_algorithm_that_is_not_configured_is_refused(machine: Machine) -> None:
    replica = machine.replica()
    await replica.start()
    with pytest.raises(InvalidRequest):
        await replica.rotator.prepare("RS256")
    two = machine.replica(("ES256", "EdDSA"))
    with pytest.raises(InvalidRequest):
        await two.rotator.rotate(None, force=True)


@pytest.mark.usefixtures("impatient")
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
    assert done.verifiers_may_accept == 3660  # a token lives no longer, cached or not
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


@pytest.mark.usefixtures("impatient")
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
