"""The keychain against a real store: first start, following, and when it stops signing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import jwt
import pytest
from tests.fakes import FakeClock
from tests.unit.keys.replicas import KEK, Machine, Replica

from tokenmint.base.background import Background
from tokenmint.base.errors import (
    ConfigurationError,
    Conflict,
    CorruptRecord,
    DependencyUnavailable,
    SignerUnavailable,
    WrongState,
)
from tokenmint.base.telemetry import Metrics
from tokenmint.keys import ring as rings
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.store import RingStore, dump
from tokenmint.keys.types import KeyRing, KeyState
from tokenmint.model.secret import Secret
from tokenmint.storage.redis import Store


@asynccontextmanager
async def following(replica: Replica) -> AsyncIterator[None]:
    """Let a replica hear of changes, as a running service does."""
    background = Background(replica.signing_keys._clock, lambda: 0.5, Metrics())
    replica.signing_keys.follow(background)
    try:
        yield
    finally:
        await background.close()


async def put(store: Store, ring: KeyRing) -> None:
    """Make ``ring`` what the store holds, as a failover or a restored file does."""
    raw = await store.get("ring")
    assert await store.swap("ring", raw, dump(ring))


async def test_two_replicas_that_start_at_once_share_one_ring(machine: Machine) -> None:
    first, second = machine.replica(), machine.replica()
    await asyncio.gather(first.start(), second.start())
    assert first.signing_keys.ring == second.signing_keys.ring
    assert first.signs_with() == second.signs_with()
    assert first.signing_keys.published() == second.signing_keys.published()


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_what_it_signs_verifies_with_what_it_publishes(machine: Machine, algorithm: str) -> None:
    replica = machine.replica((algorithm,))
    await replica.start()
    signer = replica.signing_keys.signer(algorithm)
    jwk = next(key for key in replica.signing_keys.published().keys if key["kid"] == signer.key_id)
    assert jwk["alg"] == algorithm
    signature = await signer.sign(b"message")
    verify = jwt.get_algorithm_by_name(algorithm)
    assert verify.verify(b"message", jwt.PyJWK(jwk).key, signature)
    assert not verify.verify(b"other", jwt.PyJWK(jwk).key, signature)


async def test_a_restart_signs_with_the_same_key(machine: Machine) -> None:
    before, after = machine.replica(), machine.replica()
    await before.start()
    await after.start()
    assert after.signing_keys.ring == before.signing_keys.ring
    assert after.signs_with() == before.signs_with()


async def test_another_key_encryption_key_is_refused_with_the_way_out(machine: Machine, store: Store) -> None:
    await machine.replica().start()
    before = await store.get("ring")
    with pytest.raises(ConfigurationError, match=r"sealed under another key-encryption key.*runbooks"):
        await machine.replica(kek=Secret(b"x" * 32)).start()
    assert await store.get("ring") == before  # nothing is overwritten


async def test_a_key_of_a_signer_that_is_no_longer_configured_is_refused(machine: Machine, store: Store) -> None:
    replica = machine.replica()
    await replica.start()
    ring = replica.signing_keys.ring
    elsewhere = replace(ring, keys=tuple(replace(key, signer="hsm-7") for key in ring.keys))
    await put(store, replace(elsewhere, generation=ring.generation + 1))
    with pytest.raises(ConfigurationError, match="'hsm-7', which is not configured"):
        await machine.replica().start()


async def test_a_repeated_change_of_the_ring_writes_again_because_the_first_may_not_be_durable(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keys revoke` after OUTCOME_UNKNOWN finds the key revoked already."""
    replica = machine.replica()
    await replica.start()
    generation, swap, written = replica.signing_keys.ring.generation, RingStore.swap, list[int]()

    async def recorded(store: RingStore, expected: bytes | None, ring: KeyRing, *, until: float | None = None) -> bool:
        written.append(ring.generation)
        return await swap(store, expected, ring, until=until)

    monkeypatch.setattr(RingStore, "swap", recorded)
    await replica.signing_keys.change(lambda ring: ring, timely=False)
    assert written == [generation] == [replica.signing_keys.ring.generation]


async def test_replicas_hear_of_a_change_without_polling(machine: Machine) -> None:
    here, there = machine.replica(), machine.replica()
    await here.start()
    await there.start()
    updates = there.signing_keys.subscribe()
    first = await anext(updates)
    async with following(there), asyncio.timeout(10):
        next_set = asyncio.ensure_future(anext(updates))
        done = await here.rotator.rotate("ES256", force=True)
        second = await next_set
    assert done.prepared.key_id in second.jwks_json.decode()
    assert first.etag != second.etag


async def test_signing_stops_when_the_ring_was_not_confirmed_within_r(machine: Machine, clock: FakeClock) -> None:
    replica = machine.replica()
    await replica.start()
    signing_keys, schedule = replica.signing_keys, replica.signing_keys.schedule
    clock.advance(10)
    assert signing_keys.signer("ES256")
    clock.advance(0.001)
    with pytest.raises(SignerUnavailable):
        signing_keys.signer("ES256")
    clock.advance(schedule.serve_unconfirmed - 10.001)
    assert signing_keys.published()  # verifiers are served from memory ...
    clock.advance(0.001)
    with pytest.raises(DependencyUnavailable):  # ... until a key that was prepared elsewhere could be missed
        signing_keys.published()
    await signing_keys.refresh()
    assert signing_keys.signer("ES256")


async def test_an_algorithm_that_is_not_configured_has_no_signer(machine: Machine) -> None:
    replica = machine.replica()
    await replica.start()
    with pytest.raises(SignerUnavailable):
        replica.signing_keys.signer("RS256")


async def test_a_store_that_went_back_gets_the_newer_ring_back(machine: Machine, store: Store) -> None:
    replica = machine.replica()
    await replica.start()
    old = replica.signing_keys.ring
    done = await replica.rotator.revoke(replica.signs_with(), "leaked")
    newest = replica.signing_keys.ring.generation
    await put(store, old)  # a failover to a replica that lagged
    await replica.signing_keys.refresh()
    _, ring = await RingStore(store).read()
    assert ring is not None
    revoked = ring.find(done.revoked.key_id)
    assert revoked is not None
    assert revoked.state is KeyState.REVOKED
    assert ring.generation > newest


async def test_an_emptied_store_gets_the_ring_back(machine: Machine, store: Store) -> None:
    replica = machine.replica()
    await replica.start()
    held = replica.signing_keys.ring
    await store.server.client.delete(f"{store.prefix}ring")
    await replica.signing_keys.refresh()
    _, ring = await RingStore(store).read()
    assert ring is not None
    assert {key.key_id for key in ring.keys} == {key.key_id for key in held.keys}
    assert ring.ring_id == held.ring_id


async def test_a_change_puts_back_what_the_store_lost_before_it_is_made(machine: Machine, store: Store) -> None:
    replica = machine.replica()
    await replica.start()
    old = replica.signing_keys.ring
    revoked = await replica.rotator.revoke(replica.signs_with(), "leaked")
    await put(store, old)
    with pytest.raises(WrongState):  # the prepared key was lost too, and is published anew
        await replica.rotator.rotate("ES256", force=True)
    done = await replica.rotator.rotate("ES256", force=True)
    _, ring = await RingStore(store).read()
    assert ring is not None
    found = ring.find(revoked.revoked.key_id)
    assert found is not None
    assert found.state is KeyState.REVOKED
    assert ring.only("ES256", KeyState.ACTIVE) == done.active


async def test_a_ring_of_another_lineage_is_not_served(machine: Machine, store: Store, clock: FakeClock) -> None:
    replica = machine.replica()
    await replica.start()
    await put(store, replace(replica.signing_keys.ring, ring_id="another"))
    with pytest.raises(CorruptRecord):
        await replica.signing_keys.refresh()
    clock.advance(11)
    with pytest.raises(SignerUnavailable):
        replica.signing_keys.signer("ES256")


async def test_a_key_that_can_not_be_opened_is_left_out_and_tried_again(machine: Machine, store: Store) -> None:
    here, there = machine.replica(), machine.replica()
    await here.start()
    await there.start()
    whole = here.signing_keys.ring
    broken = replace(whole, keys=tuple(replace(key, sealed="v1.x.AAAA") for key in whole.keys))
    await put(store, replace(broken, generation=whole.generation + 1))
    fresh = machine.replica()
    with pytest.raises(ConfigurationError):  # sealed under a key-encryption key named x
        await fresh.start()
    await there.signing_keys.refresh()
    assert there.signs_with() == here.signs_with()  # opened before, and the same key still
    mended = replace(whole, generation=whole.generation + 2)
    await put(store, mended)
    await fresh.start()
    assert fresh.signs_with() == here.signs_with()


async def test_changes_at_once_are_made_one_after_the_other(machine: Machine) -> None:
    replicas = [machine.replica() for _ in range(3)]
    for replica in replicas:
        await replica.start()
    before = replicas[0].signing_keys.ring
    await asyncio.gather(
        *(replica.signing_keys.change(lambda ring: replace(ring, fence=ring.fence + 10)) for replica in replicas)
    )
    for replica in replicas:
        await replica.signing_keys.refresh()
        ring = replica.signing_keys.ring
        assert (ring.fence, ring.generation) == (before.fence + 30, before.generation + 3)


async def test_a_change_that_comes_too_late_is_decided_anew(machine: Machine, clock: FakeClock) -> None:
    """A process may stand still between its decision and the store, and the store may: the times would be wrong."""
    replica = machine.replica()
    await replica.start()
    decided: list[float] = []
    now = replica.signing_keys.store.clock

    async def long_ago() -> float:
        late = len(decided) < 2
        if late:
            clock.advance(1.0)
        return await now() - (replica.signing_keys.schedule.skew + 1.0 if late else 0.0)

    def change(ring: KeyRing) -> KeyRing:
        decided.append(clock.now())
        return replace(ring, fence=ring.fence + 1)

    replica.signing_keys.store.clock = long_ago  # type: ignore[method-assign]  # the stand-still
    before = replica.signing_keys.ring
    after = await replica.signing_keys.change(change)
    assert len(decided) == 3
    assert (after.fence, after.generation) == (before.fence + 1, before.generation + 1)


async def test_a_ring_that_never_rests_is_a_conflict(machine: Machine, store: Store) -> None:
    replica = machine.replica()
    await replica.start()
    swap = replica.signing_keys.store.swap

    async def always_late(expected: bytes | None, ring: KeyRing, *, until: float | None = None) -> bool:
        await put(store, replace(replica.signing_keys.ring, generation=replica.signing_keys.ring.generation + 1))
        return await swap(b"what was there before", ring)

    replica.signing_keys.store.swap = always_late  # type: ignore[method-assign]  # the network's delay
    with pytest.raises(Conflict):
        await replica.signing_keys.change(lambda ring: replace(ring, fence=ring.fence + 1))


async def test_who_is_slow_sees_the_newest_set_and_misses_those_between(machine: Machine) -> None:
    replica = machine.replica()
    await replica.start()
    updates = replica.signing_keys.subscribe()
    await anext(updates)
    for _ in range(3):
        done = await replica.rotator.rotate("ES256", force=True)
    async with asyncio.timeout(10):
        seen = await anext(updates)
    assert seen.etag == replica.signing_keys.published().etag
    assert done.prepared.key_id in seen.jwks_json.decode()


async def test_max_age_shortens_before_the_next_change(machine: Machine, clock: FakeClock) -> None:
    replica = machine.replica()
    await replica.start()
    assert replica.signing_keys.published().max_age == 300
    clock.advance(replica.signing_keys.schedule.rotation_interval - 100)
    await replica.signing_keys.refresh()
    assert replica.signing_keys.published().max_age == 100


async def test_a_replica_is_live_from_before_it_reads_the_ring(machine: Machine) -> None:
    here, there = machine.replica(), machine.replica()
    await here.start()
    await there.signing_keys.store.acknowledge(there.signing_keys.replica, 0, 10.0)  # as the first step of a start
    assert await here.signing_keys.acknowledged() == 0
    ring = here.signing_keys.ring
    prepared = ring.only("ES256", KeyState.PREPARED)
    assert prepared is not None
    assert (
        rings.fresh_keys_needed(ring, ["ES256"], Schedule(), here.signing_keys.schedule.rotation_interval + 2e9, 0)
        == {}
    )


async def test_a_wait_for_other_replicas_ends_though_the_driver_loses_the_cancellation(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`asyncio.wait_for` of Python 3.11 loses one that arrives together with the result; redis-py sends with it."""
    replica = machine.replica()
    await replica.start()
    asked = 0

    async def behind() -> dict[str, int]:
        nonlocal asked
        asked += 1
        if asked == 1:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return {"another": 0}

    monkeypatch.setattr(replica.signing_keys.store, "replicas", behind)
    async with asyncio.timeout(20):
        assert not await replica.signing_keys.await_acknowledged(1, limit=0.05)
    assert asked == 1


async def test_the_key_encryption_key_before_still_opens(machine: Machine) -> None:
    await machine.replica().start()
    newer = machine.replica(kek=Secret(b"n" * 32), others=(KEK,))
    await newer.start()
    resealed = await newer.rotator.reseal()
    assert {key.state for key in resealed} == {KeyState.PREPARED, KeyState.ACTIVE}
    assert await newer.rotator.reseal() == []
    alone = machine.replica(kek=Secret(b"n" * 32))
    await alone.start()
    assert alone.signs_with() == newer.signs_with()
    with pytest.raises(ConfigurationError):
        await machine.replica().start()


async def test_a_reseal_that_can_not_open_one_changes_nothing(machine: Machine, store: Store) -> None:
    replica = machine.replica()
    await replica.start()
    ring = replica.signing_keys.ring
    first = replace(ring.keys[0], sealed="v1.0123456789abcdef.AAAA")
    await put(store, replace(ring, keys=(first, *ring.keys[1:]), generation=ring.generation + 1))
    before = await store.get("ring")
    newer = machine.replica(kek=Secret(b"n" * 32), others=(KEK,))
    with pytest.raises(ConfigurationError):
        await newer.start()
    await replica.signing_keys.refresh()
    with pytest.raises(ConfigurationError):
        await replica.rotator.reseal()
    assert await store.get("ring") == before


async def test_a_ring_of_another_type_is_not_taken_for_the_beat_whose_key_may_be_deleted(
    machine: Machine, store: Store
) -> None:
    here = machine.replica()
    await here.start()
    client, name = store.server.client, f"{store.prefix}ring"
    raw = await client.getdel(name)
    await client.hset(name, "a", "b")
    here.signing_keys._losses._durable = None  # as after a change that waits for its confirmation
    await here.signing_keys.note()
    assert here.signing_keys.beat_problem() == ""
    with pytest.raises(CorruptRecord):
        await here.signing_keys.refresh()
    await client.delete(name)
    await client.set(name, raw)
    await here.signing_keys.refresh()
