"""A store that went back: it is noticed, told to every replica, and stays noticed until an operator accepts it."""

import asyncio
import fcntl
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.keys.replicas import Machine, Replica
from tests.unit.keys.test_signing_keys import put

from tokenmint.base.errors import ConfigurationError, OutcomeUnknown, StoreUnavailable, StoreWentBack
from tokenmint.keys import high_water_mark, ring_merge
from tokenmint.keys.high_water_mark import Mark
from tokenmint.keys.losses import BEAT_JUMP
from tokenmint.keys.store import RingStore
from tokenmint.keys.types import KeyRing, KeyState
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

PATIENT = 864_000.0
"""An R that passes on no machine before the test has."""


def serves(replica: Replica) -> bool:
    if not replica.signing_keys.loss():
        replica.signing_keys.require_serving()
        return True
    with pytest.raises(StoreWentBack) as told:
        replica.signing_keys.require_serving()
    assert "accept-store" in told.value.detail
    return False


async def save(store: Store) -> Callable[[], Awaitable[None]]:
    """Copy what the store holds; return what puts the copy back in its place."""
    client = store.server.client
    names = [name async for name in client.scan_iter(match=f"{store.prefix}*")]
    strings = {
        name: value for name in names if await client.type(name) == b"string" and (value := await client.get(name))
    }

    async def roll_back() -> None:
        for name in [name async for name in client.scan_iter(match=f"{store.prefix}*")]:
            if await client.type(name) == b"string":
                await client.delete(name)
        for name, value in strings.items():
            await client.set(name, value)

    return roll_back


async def empty(store: Store) -> None:
    client = store.server.client
    for name in [name async for name in client.scan_iter(match=f"{store.prefix}*")]:
        await client.delete(name)


async def accept(replica: Replica) -> None:
    """As the command does."""
    await replica.signing_keys.change(ring_merge.accepted)


async def test_a_ring_that_went_back_stops_every_replica_and_those_that_start_afterwards(
    machine: Machine, store: Store
) -> None:
    here, there = machine.replica(), machine.replica()
    await here.start()
    await there.start()
    old = await save(store)
    await here.rotator.revoke(here.signs_with(), "leaked")
    await there.signing_keys.refresh()
    await old()
    assert serves(here)  # it has not looked
    await here.signing_keys.refresh()
    assert not serves(here)
    await there.signing_keys.refresh()
    assert not serves(there)
    for mark in ("mark.json", "of another machine.json"):
        later = machine.replica(mark=mark)
        await later.start()
        assert not serves(later)
    await accept(there)
    for replica in (here, there):
        await replica.signing_keys.refresh()
        assert serves(replica)
    again = machine.replica()
    await again.start()
    assert serves(again)


async def test_an_older_store_is_noticed_though_the_ring_has_not_changed_since(machine: Machine, store: Store) -> None:
    """A ring changes once a month; profiles do every day, and a backup is of last night."""
    here, there = machine.replica(), machine.replica()
    await here.start()
    await there.start()
    old = await save(store)
    ring = here.signing_keys.ring
    for _ in range(3):
        await here.signing_keys.refresh()
    await old()
    assert (await RingStore(store).read())[1] == ring
    await here.signing_keys.refresh()
    assert not serves(here)
    await there.signing_keys.refresh()
    assert not serves(there)
    losses = there.signing_keys.ring.losses
    for replica in (here, there, here, there):
        await replica.signing_keys.refresh()
    assert there.signing_keys.ring.losses == losses, "one loss is counted once"


async def test_an_emptied_store_gets_its_ring_back_and_is_not_served(machine: Machine, store: Store) -> None:
    replica = machine.replica()
    await replica.start()
    await replica.signing_keys.refresh()
    await empty(store)
    await replica.signing_keys.refresh()
    assert not serves(replica)
    ring = (await RingStore(store).read())[1]
    assert ring is not None
    assert ring.went_back
    await accept(replica)
    assert serves(replica)


async def test_what_the_store_never_confirmed_is_no_loss(machine: Machine, store: Store) -> None:
    """A failover may lose what was not confirmed; a replica that read it before has it put back, and goes on."""
    here, there = machine.replica(), machine.replica()
    await here.start()
    await there.start()
    old = here.signing_keys.ring
    beat = there.signing_keys.store.beat

    async def unconfirmed(by: int = 1) -> int:
        raise OutcomeUnknown

    there.signing_keys.store.beat = unconfirmed  # type: ignore[method-assign]  # the replicas are away
    newer = replace(old, fence=old.fence + 1, generation=old.generation + 1)
    await put(store, newer)  # by a third one, to which it was never confirmed
    await there.signing_keys.refresh()
    assert there.signing_keys.ring == newer
    await put(store, old)  # the failover
    there.signing_keys.store.beat = beat  # type: ignore[method-assign]
    await there.signing_keys.refresh()
    assert serves(there)
    assert there.signing_keys.ring.fence == newer.fence
    await here.signing_keys.refresh()
    assert serves(here)


async def test_a_second_loss_after_the_first_was_accepted_stops_again(machine: Machine, store: Store) -> None:
    replica = machine.replica()
    await replica.start()
    first = await save(store)
    await replica.signing_keys.refresh()
    await first()
    await replica.signing_keys.refresh()
    during = await save(store)
    await accept(replica)
    await replica.signing_keys.refresh()
    accepted = await save(store)
    await replica.signing_keys.refresh()
    for back in (accepted, during, first):
        assert serves(replica)
        await back()
        await replica.signing_keys.refresh()
        assert not serves(replica)
        await accept(replica)
        await replica.signing_keys.refresh()


async def test_a_version_that_knows_of_no_losses_neither_hides_one_nor_causes_one(
    machine: Machine, store: Store
) -> None:
    replica = machine.replica()
    await replica.start()
    await replica.signing_keys.refresh()

    async def change_as_before() -> None:
        raw = await store.get("ring")
        value = json.loads(raw or b"")
        kept = {name: value[name] for name in ("v", "lineage", "fence", "max_lifetime", "keys")}
        assert await store.swap("ring", raw, json.dumps(kept | {"generation": value["generation"] + 1}).encode())

    await change_as_before()
    await replica.signing_keys.refresh()
    assert serves(replica)
    old = await save(store)
    await replica.signing_keys.refresh()
    await old()
    await replica.signing_keys.refresh()
    assert not serves(replica)
    await change_as_before()
    await replica.signing_keys.refresh()
    assert not serves(replica)
    await accept(replica)
    losses = replica.signing_keys.ring.losses
    await change_as_before()
    await replica.signing_keys.refresh()
    assert serves(replica)
    assert replica.signing_keys.ring.losses == losses


async def test_a_start_where_nobody_runs_tells_everybody_what_its_mark_knows(machine: Machine, store: Store) -> None:
    replica = machine.replica(replica_lag=0.01)
    await replica.start()
    old = await save(store)
    leaked = replica.signs_with()
    await replica.rotator.revoke(leaked, "leaked")
    newest = replica.signing_keys.ring.generation
    await old()
    without = machine.replica(mark="of another machine.json", replica_lag=PATIENT)
    await without.start()
    assert without.signs_with() == leaked  # nothing here says otherwise
    again = machine.replica(replica_lag=0.0)
    await again.start()
    assert not serves(again)
    assert again.signing_keys.ring.generation > newest
    await without.signing_keys.refresh()
    assert not serves(without)
    for one in (again, without):
        found = one.signing_keys.ring.find(leaked)
        assert found is not None
        assert found.state is KeyState.REVOKED
        assert leaked not in one.signing_keys.published().jwks_json.decode()
    await accept(without)
    for mark in ("mark.json", "of another machine.json"):
        last = machine.replica(mark=mark, replica_lag=0.0)
        await last.start()
        assert serves(last)


async def test_a_start_notices_an_older_store_though_the_ring_is_the_same(machine: Machine, store: Store) -> None:
    replica = machine.replica(replica_lag=0.0)
    await replica.start()
    old = await save(store)
    for _ in range(30):  # a mark is written once in a while
        await replica.signing_keys.refresh()
    await old()
    again = machine.replica(replica_lag=0.0)
    await again.start()
    assert not serves(again)


async def test_a_key_that_the_mark_knows_to_be_revoked_stays_out_though_an_older_store_brings_it_back(
    machine: Machine, store: Store
) -> None:
    """The store goes back to before the key, is accepted, and then goes on to a copy in which it signs."""
    replica = machine.replica(replica_lag=0.0)
    await replica.start()
    before = replica.signing_keys.ring
    done = await replica.rotator.rotate(None, force=True)
    signing = replica.signing_keys.ring
    await replica.rotator.revoke(done.prepared.key_id, "leaked")
    await put(store, replace(before, generation=before.generation))
    again = machine.replica(replica_lag=0.0)
    await again.start()
    assert done.prepared.key_id in again.signing_keys.ring.disowned
    await accept(again)
    await put(store, signing)
    await again.signing_keys.refresh()
    found = again.signing_keys.ring.find(done.prepared.key_id)
    assert found is not None
    assert found.state is KeyState.REVOKED


async def test_another_ring_than_the_marks_is_refused_and_not_touched(machine: Machine, store: Store) -> None:
    """A replica that is pointed to another service's store must not stop that one."""
    await machine.replica(mark="theirs.json").start()
    theirs = await store.get("ring")
    await machine.replica(mark="theirs.json").mark.raise_to(KeyRing("another", generation=7))
    ours = machine.replica(mark="ours.json", replica_lag=0.0)
    ours.mark.replace(KeyRing("ours", generation=900))
    with pytest.raises(ConfigurationError, match="holds another key ring"):
        await ours.start()
    assert await store.get("ring") == theirs


async def test_a_mark_that_can_not_be_written_is_told_until_it_can(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    replica = machine.replica(mark="file/mark.json")
    with pytest.raises(ConfigurationError, match="can't be read as a high-water mark"):
        await replica.start()
    (tmp_path / "folder").mkdir()
    replica = machine.replica(mark="folder/mark.json")
    (tmp_path / "folder" / "mark.lock").mkdir()  # root may write where others may not, and no one opens a folder
    await replica.start()
    assert "the high-water mark can't be kept (IsADirectoryError)" in replica.mark.problem()
    (tmp_path / "folder" / "mark.lock").rmdir()
    await replica.signing_keys.refresh()
    assert replica.mark.problem() == ""
    assert replica.mark.read() is not None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '{"lineage": "l", "generation": 1e999, "revoked": []}', "[" * 100_000, '{"revoked": 5}', "\0"],
)
async def test_a_mark_that_becomes_garbage_is_told_and_fails_no_change(
    machine: Machine, tmp_path: Path, text: str
) -> None:
    replica = machine.replica()
    await replica.start()
    (tmp_path / "mark.json").write_text(text)
    generation = replica.signing_keys.ring.generation
    await replica.rotator.rotate("ES256", force=True)
    assert replica.signing_keys.ring.generation > generation
    assert "the high-water mark can't be kept (ConfigurationError)" in replica.mark.problem()


async def test_a_mark_that_hangs_is_told_and_holds_up_neither_a_start_nor_a_change(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(high_water_mark, "PATIENCE", 0.05)
    replica = machine.replica()
    with (tmp_path / "mark.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        await replica.start()
        assert "the high-water mark can't be kept (TimeoutError)" in replica.mark.problem()
        assert replica.mark.read() is None
        generation = replica.signing_keys.ring.generation
        await replica.rotator.rotate("ES256", force=True)
        assert replica.signing_keys.ring.generation > generation
        assert replica.mark.problem()
    async with asyncio.timeout(20):
        while replica.mark.problem():
            await replica.signing_keys.refresh()
            await asyncio.sleep(0.001)
    mark = replica.mark.read()
    assert mark is not None
    assert mark.generation == replica.signing_keys.ring.generation


async def test_a_mark_of_an_earlier_version_is_read(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "mark.json").write_text('{"lineage": "l", "generation": 3, "revoked": ["a"]}')
    assert machine.replica().mark.read() == Mark("l", 3, frozenset("a"), beat=0)


@pytest.mark.parametrize("loss", ["emptied", "an old copy", "noted by another process"])
async def test_nothing_is_concluded_from_what_a_store_lacks_that_went_back(
    machine: Machine, store: Store, loss: str
) -> None:
    """From its first answer on, before anybody looks at the ring."""
    here = machine.replica()
    await here.start()
    old = await save(store)
    await here.signing_keys.note()
    assert await store.current("profile:ada") is None
    assert await store.add("replay:one", b"1", ttl=60) is None
    if loss == "emptied":
        await empty(store)
    else:
        await old()
    if loss == "noted by another process":
        await RingStore(store).beat(BEAT_JUMP)
    for read in (store.current("profile:ada"), store.get_many(["profile:ada", "identity:x"])):
        with pytest.raises(StoreUnavailable) as told:
            await read
        assert "lost changes" in told.value.detail
    with pytest.raises(OutcomeUnknown):  # it was set, in a store whose changes may all be put right again
        await store.add("replay:two", b"1", ttl=60)
    with pytest.raises(StoreUnavailable) as told:  # it was there: nothing was changed
        await store.add("replay:two", b"2", ttl=60)
    assert type(told.value) is StoreUnavailable
    await here.signing_keys.refresh()
    await here.signing_keys.note()
    assert serves(here) == (loss == "noted by another process")  # which would have said so in the ring
    assert await store.current("profile:ada") is None  # what is refused is the exchange, with its own reason


@pytest.mark.parametrize("foreign", [b"garbage", b"9" * 5000])
async def test_a_beat_that_is_no_number_is_told_until_it_was_deleted_which_counts_as_a_loss(
    machine: Machine, store: Store, foreign: bytes
) -> None:
    here = machine.replica()
    await here.start()
    await here.signing_keys.note()
    key = f"{store.prefix}{{{store.prefix}ring}}-beat"
    assert await store.server.client.exists(key)
    await store.server.client.set(key, foreign)
    await here.signing_keys.note()
    assert key in here.signing_keys.beat_problem()
    assert "old-store.md" in here.signing_keys.beat_problem()
    with pytest.raises(StoreUnavailable):
        await store.current("profile:ada")
    await store.server.client.delete(key)
    await here.signing_keys.note()
    await here.signing_keys.note()
    assert here.signing_keys.beat_problem() == ""
    assert not serves(here)
