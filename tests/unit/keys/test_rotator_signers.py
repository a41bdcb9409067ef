"""The rotator and a signer that keeps private halves to itself: which keys it makes, and which it destroys."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes import FakeClock
from tests.unit.keys.replicas import Machine

from tokenmint.base.errors import Conflict, OutcomeUnknown, SignerUnavailable, WrongState
from tokenmint.keys.signers import local
from tokenmint.keys.signers.types import NewKey, Signer
from tokenmint.keys.types import KeyRing, KeyState, SigningKey


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


async def test_a_revocation_is_stored_however_long_ago_it_was_decided(machine: Machine, clock: FakeClock) -> None:
    """On a machine that stands still between the decision and the store, it would be decided anew and anew else."""
    replica = machine.replica()
    await replica.start()
    now, swap, late = replica.signing_keys.store.clock, replica.signing_keys.store.swap, 0

    async def long_ago() -> float:
        return await now() - 60.0

    async def counting(expected: bytes | None, ring: KeyRing, *, until: float | None = None) -> bool:
        nonlocal late
        stored = await swap(expected, ring, until=until)
        late += not stored
        return stored

    replica.signing_keys.store.clock = long_ago  # type: ignore[method-assign]  # the stand-still
    replica.signing_keys.store.swap = counting  # type: ignore[method-assign]
    key_id = replica.signs_with()
    before = late
    done = await replica.rotator.revoke(key_id, "leaked")
    assert done.revoked.key_id == key_id
    assert late > before  # as the key that follows it is: its times have to be true


async def test_a_revoked_key_signs_no_more_while_another_is_being_opened(machine: Machine) -> None:
    """A key management service may take seconds to open one."""
    elsewhere = Elsewhere()
    here, there = machine.replica(source=elsewhere), machine.replica(source=elsewhere)
    await here.start()
    await there.start()
    revoked = there.signs_with()
    opening, opened, open_ = asyncio.Event(), asyncio.Event(), elsewhere.open

    async def slow(key: SigningKey) -> Signer:
        opening.set()
        await opened.wait()
        return await open_(key)

    await here.rotator.revoke(revoked, "leaked")
    elsewhere.open = slow  # type: ignore[method-assign]
    looking = asyncio.ensure_future(there.signing_keys.refresh())
    async with asyncio.timeout(20):
        await opening.wait()
    assert there.signs_with() == here.signs_with() != revoked
    opened.set()
    await looking
    assert there.signs_with() == here.signs_with()
