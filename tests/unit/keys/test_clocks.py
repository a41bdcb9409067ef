"""A wrong clock, of a replica or of the store: nothing is signed or moved by it, and it leaves nothing behind."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.fakes import FakeClock
from tests.unit.keys.replicas import Machine, Replica
from tests.unit.keys.test_signing_keys import put

from tokenmint.base.errors import ClockWrong, ConfigurationError, StoreUnavailable
from tokenmint.keys.clock_check import LEAST_SKEW, ClockCheck, Offset
from tokenmint.keys.store import LEASE
from tokenmint.keys.types import KeyRing, KeyState, SigningKey
from tokenmint.model.profile import Profile
from tokenmint.profiles.store import ProfileStore
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

DAY = 86_400.0


def checking(clock: FakeClock, takes: float = 0.0, skew: float = 60.0) -> ClockCheck:
    """Compare ``clock`` with the store's, whose answer ``takes`` so many seconds, half of them each way."""

    async def store_time() -> float:
        clock.advance(takes / 2)
        time = await clock.store_time()
        clock.advance(takes / 2)
        return time

    return ClockCheck(store_time, clock, skew)


@pytest.mark.parametrize(("ahead", "wrong"), [(0, False), (59, False), (61, True), (-59, False), (-61, True)])
async def test_beyond_s_the_clock_is_wrong_in_either_direction(clock: FakeClock, ahead: float, wrong: bool) -> None:
    check = checking(clock)
    clock.store_ahead = -ahead
    await check.look()
    assert check.offset == pytest.approx(ahead, abs=1e-3)
    assert bool(check.problem()) == wrong
    assert check.now() == pytest.approx(clock.now() - ahead, abs=1e-3), "the ring's time is the store's"


async def test_a_slow_answer_proves_no_offset_and_a_larger_offset_is_proved_by_it(clock: FakeClock) -> None:
    slow = checking(clock, takes=100.0)
    clock.store_ahead = 49.0  # as far as the answer's way may have taken
    await slow.look()
    assert (slow.offset, slow.problem()) == (0.0, "")
    clock.store_ahead = 150.0
    await slow.look()
    assert slow.offset == pytest.approx(-100.0)
    assert slow.problem()


@pytest.mark.parametrize("skew", [0.0, 0.05])
async def test_a_skew_that_no_two_machines_keep_is_not_held_against_them(clock: FakeClock, skew: float) -> None:
    check = checking(clock, skew=skew)
    clock.store_ahead = LEAST_SKEW * 0.9
    await check.look()
    assert not check.problem()


def test_the_certain_part_of_an_offset_is_what_is_nearest_to_none() -> None:
    assert [Offset(*ends).certain for ends in [(1.0, 2.0), (-2.0, -1.0), (-1.0, 2.0)]] == [1.0, -1.0, 0.0]


async def test_a_problem_names_both_clocks_and_which_way_they_differ(clock: FakeClock) -> None:
    check = checking(clock)
    clock.store_ahead = -600.0
    await check.look()
    text = check.problem()
    assert "600.0 s ahead of the store's, more than keys.skew allows (60 s)" in text
    assert "here it is 2027-01-15T08:00:00Z, there 2027-01-15T07:50:00Z" in text
    assert "one of the two is wrong" in text


async def test_a_step_of_its_own_clock_is_seen_without_asking_the_store(clock: FakeClock) -> None:
    check = checking(clock)
    await check.look()
    clock.set(clock.now() + 600.0)
    assert check.offset == pytest.approx(600.0)
    with pytest.raises(ClockWrong) as told:
        check.require()
    assert told.value.retry_after > 0
    clock.set(clock.now() - 600.0)
    check.require()


# --- replicas --------------------------------------------------------------------------------------------------------


def only(ring: KeyRing, state: KeyState) -> str:
    """The id of the key that is in this state."""
    key = ring.only("ES256", state)
    assert key is not None
    return key.key_id


class Fleet:
    """Two replicas, of which the first has a clock of its own."""

    def __init__(self, machine: Machine, clock: FakeClock, store: Store) -> None:
        self.clock = clock
        self.store = store
        self.own = FakeClock(clock.now())
        self.here, self.there = self._replica(machine, self.own), self._replica(machine, clock)

    def _replica(self, machine: Machine, clock: FakeClock) -> Replica:
        """P is 302 s, a replaced key stays published for 430 s."""
        return machine.replica(
            own_clock=clock, replica_lag=10.0, max_age=200.0, verifier_cache=232.0, skew=60.0, max_lifetime=300.0,
            rotation_interval=900.0,
        )  # fmt: skip

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.own.advance(seconds)

    async def start(self) -> None:
        await self.here.start()
        await self.there.start()

    async def lease(self) -> bytes:
        raw: bytes = await self.store.server.client.get(self.store.prefix + LEASE)
        return raw

    async def lease_ends(self) -> None:
        """Its time is the server's, which no test moves."""
        fence, _, holder = (await self.lease()).split()
        await self.store.server.client.set(self.store.prefix + LEASE, b"%s 0 %s" % (fence, holder))

    async def look(self, *replicas: Replica) -> None:
        for replica in replicas or (self.here, self.there):
            await replica.signing_keys.refresh()
            await replica.rotator.tick()

    async def lives(self, seconds: float, *replicas: Replica) -> None:
        """Let time pass, with the looks that replicas take in it."""
        for _ in range(int(seconds // 9)):
            self.advance(9.0)
            await self.look(*replicas)


@pytest.fixture
def fleet(machine: Machine, clock: FakeClock, store: Store) -> Fleet:
    return Fleet(machine, clock, store)


async def test_a_replica_whose_clock_is_ten_minutes_ahead_signs_nothing_until_it_is_right(fleet: Fleet) -> None:
    await fleet.start()
    assert fleet.here.signs_with() == fleet.there.signs_with()
    fleet.own.set(fleet.own.now() + 600.0)
    for look in (False, True):
        if look:
            await fleet.look()
        with pytest.raises(ClockWrong) as told:
            fleet.here.signs_with()
        assert "ahead of the store's" in told.value.detail
        with pytest.raises(ClockWrong):
            fleet.here.signing_keys.require_serving()
    assert fleet.there.signs_with()
    assert fleet.here.signing_keys.published().keys, "the key set is public, and right"
    fleet.own.set(fleet.clock.now())
    assert fleet.here.signs_with() == fleet.there.signs_with()


async def test_a_holder_of_the_lease_that_is_a_day_ahead_lets_no_key_sign_before_its_time(fleet: Fleet) -> None:
    await fleet.start()
    await fleet.here.rotator.rotate(None, force=True)
    await fleet.look()
    fleet.advance(17.0)
    await fleet.look()
    before = fleet.here.signing_keys.ring
    fleet.own.set(fleet.own.now() + DAY)
    lease = await fleet.lease()
    assert lease.endswith(fleet.here.signing_keys.replica.encode())
    await fleet.look(fleet.here)
    assert fleet.here.signing_keys.ring == before
    assert await fleet.lease() == lease, "it is not renewed"
    await fleet.lease_ends()
    await fleet.look(fleet.here)
    assert b" 0 " in await fleet.lease(), "nor taken"
    # The other one goes on with what is due, in its time.
    active = fleet.there.signs_with()
    await fleet.lives(920.0)
    assert fleet.there.signs_with() != active


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "behind"])
async def test_rotation_goes_on_after_a_jump_that_was_corrected(fleet: Fleet, jump: float) -> None:
    await fleet.start()
    fleet.own.set(fleet.own.now() + jump)
    await fleet.lives(60.0)
    fleet.own.set(fleet.clock.now())
    active = fleet.there.signs_with()
    await fleet.lives(920.0)
    assert fleet.here.signs_with() == fleet.there.signs_with() != active
    prepared = fleet.here.signing_keys.ring.only("ES256", KeyState.PREPARED)
    assert prepared is not None
    assert prepared.publish_time <= fleet.clock.now()


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "behind"])
async def test_a_jump_of_the_stores_clock_stops_everybody_and_moves_no_key(fleet: Fleet, jump: float) -> None:
    await fleet.start()
    before = fleet.here.signing_keys.ring
    fleet.clock.store_ahead = jump
    await fleet.lives(920.0)
    for replica in (fleet.here, fleet.there):
        with pytest.raises(ClockWrong):
            replica.signs_with()
        assert replica.signing_keys.ring == before
    fleet.clock.store_ahead = 0.0
    await fleet.lives(60.0)
    prepared = only(before, KeyState.PREPARED)  # it was due meanwhile, and had been published for long
    assert fleet.here.signs_with() == fleet.there.signs_with() == prepared
    await fleet.lives(920.0)
    assert fleet.here.signs_with() == fleet.there.signs_with() != prepared


async def test_with_a_wrong_clock_an_operator_can_revoke_and_not_rotate(fleet: Fleet) -> None:
    await fleet.start()
    leaked = fleet.here.signs_with()
    prepared = fleet.here.signing_keys.ring.only("ES256", KeyState.PREPARED)
    assert prepared is not None
    fleet.own.set(fleet.own.now() + DAY)
    with pytest.raises(ClockWrong):
        await fleet.here.rotator.rotate(None, force=True)
    with pytest.raises(ClockWrong):
        await fleet.here.rotator.activate(prepared.key_id, force=True)
    done = await fleet.here.rotator.revoke(leaked, "leaked")
    assert done.revoked.state is KeyState.REVOKED
    assert done.revoked.revoke_time == pytest.approx(fleet.clock.now(), abs=1.0), "by the store's clock"
    with pytest.raises(ClockWrong):  # nothing is prepared any more
        await fleet.here.rotator.prepare(None)
    await fleet.look(fleet.there)
    assert fleet.there.signs_with() == prepared.key_id
    await fleet.lease_ends()
    await fleet.look()
    assert fleet.there.signing_keys.ring.only("ES256", KeyState.PREPARED)


async def test_the_first_keys_are_not_made_by_a_wrong_clock(fleet: Fleet, store: Store) -> None:
    fleet.own.set(fleet.own.now() - DAY)
    with pytest.raises(ConfigurationError, match="first signing keys are not made by a clock that may be wrong"):
        await fleet.here.start()
    assert await store.get("ring") is None


async def test_a_start_with_a_wrong_clock_is_not_ready_until_it_is_right(fleet: Fleet) -> None:
    await fleet.there.start()
    fleet.own.set(fleet.own.now() + 600.0)
    await fleet.here.start()
    assert fleet.here.signing_keys.clocks.problem()
    fleet.own.set(fleet.clock.now())
    assert fleet.here.signs_with() == fleet.there.signs_with()


# --- what a wrong clock left behind ----------------------------------------------------------------------------------


async def test_a_key_that_was_published_in_the_future_neither_waits_for_ever_nor_signs_early(
    fleet: Fleet, store: Store
) -> None:
    """As a version wrote it that compared no clocks: ten years ahead."""
    await fleet.start()
    ring = fleet.here.signing_keys.ring
    late = fleet.clock.now() + 3650 * DAY
    keys = tuple(
        replace(key, publish_time=late, activate_time=late if key.activate_time is not None else None)
        for key in ring.keys
    )
    await put(store, replace(ring, keys=keys, generation=ring.generation + 1))
    await fleet.look()
    healed = fleet.here.signing_keys.ring
    assert all(
        (key.publish_time if key.state is KeyState.PREPARED else key.activate_time) == fleet.clock.now()
        for key in healed.keys
    )
    await fleet.lives(290.0)
    assert fleet.here.signs_with() == only(ring, KeyState.ACTIVE)
    await fleet.lives(920.0)
    assert fleet.here.signs_with() == only(ring, KeyState.PREPARED)


async def test_what_was_healed_is_not_put_back_by_a_replica_that_has_not_heard_of_it(
    fleet: Fleet, store: Store
) -> None:
    await fleet.start()
    done = await fleet.here.rotator.rotate(None, force=True)
    ring = fleet.here.signing_keys.ring
    late = fleet.clock.now() + 30 * DAY
    changes: dict[KeyState, Callable[[SigningKey], SigningKey]] = {
        KeyState.RETIRING: lambda key: replace(key, retire_time=late, delete_time=late + 430.0),
        KeyState.ACTIVE: lambda key: replace(key, activate_time=late),
        KeyState.PREPARED: lambda key: replace(key, publish_time=late),
    }
    keys = tuple(changes[key.state](key) for key in ring.keys)
    await put(store, replace(ring, keys=keys, generation=ring.generation + 1))
    await fleet.there.signing_keys.refresh()  # holds what is wrong
    await fleet.look(fleet.here)
    healed = fleet.here.signing_keys.ring
    await fleet.look()
    await fleet.look()
    assert fleet.here.signing_keys.ring == fleet.there.signing_keys.ring == healed
    assert done.retiring is not None
    await fleet.lives(300.0 + 2 * 60.0 + 10.0 + 30.0)
    gone = fleet.here.signing_keys.ring.find(done.retiring.key_id)
    assert gone is not None
    assert gone.state is KeyState.RETIRED, "withdrawn when its last token has expired"


async def test_after_the_stores_clock_was_set_back_who_is_gone_does_not_count_on(store: Store) -> None:
    client = store.server.client
    await store.join("group", "here", "7", ttl=10.0)
    far = int((await store.clock_of("group") + DAY) * 1000)
    await client.hset(f"{store.prefix}group", "gone", f"{far} 3")
    await store.join("group", "here", "7", ttl=0.2)
    raw = await client.hget(f"{store.prefix}group", "gone")
    assert int(raw.split()[0]) < far - 80_000_000
    assert raw.split()[1] == b"3"


async def test_after_the_stores_clock_was_set_back_a_lease_of_nobody_ends(store: Store) -> None:
    far = int((await store.clock_of("lease") + DAY) * 1000)
    client = store.server.client
    await client.set(f"{store.prefix}lease", f"41 {far} gone")
    assert await store.lease("lease", "here", ttl=0.001, above=0) == 0
    while not (fence := await store.lease("lease", "here", ttl=0.001, above=0)):
        pass
    assert fence == 42


async def test_a_principals_tokens_are_not_revoked_by_a_clock_that_may_be_wrong(store: Store, clock: FakeClock) -> None:
    check = checking(clock)
    profiles = ProfileStore(store, clock, store_time=check.right_store_time)
    await profiles.create(Profile("ada"))
    clock.store_ahead = -DAY
    with pytest.raises(ClockWrong):
        await profiles.revoke_tokens("ada")
    assert (await profiles.get("ada")).tokens_valid_after is None
    clock.store_ahead = 0.0
    assert await profiles.revoke_tokens("ada") == int(clock.now())


async def test_a_store_that_gives_no_answer_says_nothing_of_the_clock(clock: FakeClock) -> None:
    check = checking(clock)
    await check.look()

    async def away() -> float:
        raise StoreUnavailable

    check._store_time = away
    with pytest.raises(StoreUnavailable):
        await check.look()
    check.require()
