"""The life of the keys: each transition, and random histories of operations, crashes and clocks."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tokenmint.errors import CorruptRecord, NotFound, WrongState
from tokenmint.keys import ring as rings
from tokenmint.keys.published import publish
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.store import dump, parse
from tokenmint.keys.types import PUBLISHED, KeyRing, KeyState, SigningKey

NOW = 1_800_000_000.0
SCHEDULE = Schedule()
_ORDER = {state: index for index, state in enumerate(KeyState)}


class Supply:
    """Fresh keys, without the cost of making them."""

    def __init__(self) -> None:
        self.made = 0

    def key(self, now: float, algorithm: str = "ES256") -> SigningKey:
        self.made += 1
        key_id = f"{algorithm}-{self.made}"
        return SigningKey(key_id, algorithm, KeyState.PREPARED, {"kty": "EC", "x": key_id}, now, now, sealed="sealed")

    def fresh(self, ring: KeyRing, now: float, algorithms: tuple[str, ...] = ("ES256",)) -> dict[str, list[SigningKey]]:
        counts = rings.wanted(ring, algorithms, SCHEDULE, now)
        return {name: [self.key(now, name) for _ in range(count)] for name, count in counts.items()}


def first(supply: Supply, now: float = NOW, algorithms: tuple[str, ...] = ("ES256",)) -> KeyRing:
    empty = KeyRing("line")
    ring = rings.advance(empty, SCHEDULE, now, supply.fresh(empty, now, algorithms))
    return replace(ring, generation=1)


def only(ring: KeyRing, state: KeyState, algorithm: str = "ES256") -> SigningKey:
    key = ring.only(algorithm, state)
    assert key is not None
    return key


def test_a_first_start_signs_at_once_and_has_the_next_key_published() -> None:
    ring = first(Supply(), algorithms=("ES256", "RS256"))
    for algorithm in ("ES256", "RS256"):
        assert only(ring, KeyState.ACTIVE, algorithm).activate_time == NOW
        assert only(ring, KeyState.PREPARED, algorithm).publish_time == NOW
    assert len(publish(ring, SCHEDULE).keys) == 4
    supply = Supply()
    assert rings.advance(ring, SCHEDULE, NOW, supply.fresh(ring, NOW)) is ring


def test_an_algorithm_that_is_added_later_is_published_before_it_signs() -> None:
    supply = Supply()
    ring = first(supply)
    ring = rings.advance(ring, SCHEDULE, NOW, supply.fresh(ring, NOW, ("ES256", "RS256")))
    assert ring.only("RS256", KeyState.ACTIVE) is None
    later = NOW + SCHEDULE.ahead
    early = rings.advance(ring, SCHEDULE, later - 1, supply.fresh(ring, later - 1, ("ES256", "RS256")))
    assert early is ring
    ring = rings.advance(ring, SCHEDULE, later, supply.fresh(ring, later, ("ES256", "RS256")))
    assert only(ring, KeyState.ACTIVE, "RS256").activate_time == later
    assert ring.only("RS256", KeyState.PREPARED)


def test_a_key_may_not_sign_before_verifiers_had_time_to_see_it() -> None:
    ring = first(Supply())
    prepared = only(ring, KeyState.PREPARED)
    allowed = NOW + SCHEDULE.ahead
    with pytest.raises(WrongState) as early:
        rings.activate(ring, prepared.key_id, SCHEDULE, allowed - 0.5, force=False)
    assert early.value.violation == "PUBLISH_AHEAD"
    assert early.value.metadata["allowed_time"] in early.value.message
    assert rings.activate(ring, prepared.key_id, SCHEDULE, allowed, force=False).find(prepared.key_id)
    forced = rings.activate(ring, prepared.key_id, SCHEDULE, NOW, force=True)
    assert only(forced, KeyState.ACTIVE).key_id == prepared.key_id


def test_the_replaced_key_stays_published_until_its_last_token_expired() -> None:
    supply = Supply()
    ring = first(supply)
    old = only(ring, KeyState.ACTIVE)
    ring = rings.rotate(ring, "ES256", [supply.key(NOW), supply.key(NOW)], SCHEDULE, NOW, force=True)
    retiring = ring.find(old.key_id)
    assert retiring is not None
    assert (retiring.state, retiring.sealed) == (KeyState.RETIRING, None)
    assert retiring.delete_time == NOW + SCHEDULE.max_lifetime + SCHEDULE.skew + SCHEDULE.replica_lag
    assert rings.advance(ring, SCHEDULE, retiring.delete_time - 1, {}) is ring
    done = rings.advance(ring, SCHEDULE, retiring.delete_time, {})
    assert done.find(old.key_id) == replace(retiring, state=KeyState.RETIRED)
    assert old.key_id not in publish(done, SCHEDULE).jwks_json.decode()


def test_rotation_happens_by_itself_when_it_is_due() -> None:
    supply = Supply()
    ring = first(supply)
    due = NOW + SCHEDULE.rotation_interval
    assert rings.advance(ring, SCHEDULE, due - 1, supply.fresh(ring, due - 1)) is ring
    turned = rings.advance(ring, SCHEDULE, due, supply.fresh(ring, due))
    assert only(turned, KeyState.ACTIVE).key_id == only(ring, KeyState.PREPARED).key_id
    assert only(turned, KeyState.PREPARED).publish_time == due


def test_what_can_not_be_activated() -> None:
    supply = Supply()
    ring = first(supply)
    active = only(ring, KeyState.ACTIVE)
    assert rings.activate(ring, active.key_id, SCHEDULE, NOW, force=False) is ring
    with pytest.raises(NotFound):
        rings.activate(ring, "unknown", SCHEDULE, NOW, force=True)
    ring = rings.rotate(ring, "ES256", [supply.key(NOW), supply.key(NOW)], SCHEDULE, NOW, force=True)
    with pytest.raises(WrongState, match="retiring"):
        rings.activate(ring, active.key_id, SCHEDULE, NOW, force=True)


def test_revoking_the_active_key_lets_the_prepared_one_sign() -> None:
    supply = Supply()
    ring = first(supply)
    active, prepared = only(ring, KeyState.ACTIVE), only(ring, KeyState.PREPARED)
    fresh = [supply.key(NOW), supply.key(NOW)]
    ring = rings.revoke(ring, active.key_id, "leaked", fresh, SCHEDULE, NOW + 5)
    revoked = ring.find(active.key_id)
    assert revoked is not None
    assert (revoked.state, revoked.sealed, revoked.revoke_reason) == (KeyState.REVOKED, None, "leaked")
    assert only(ring, KeyState.ACTIVE).key_id == prepared.key_id
    assert only(ring, KeyState.PREPARED).key_id == fresh[0].key_id
    assert active.key_id not in publish(ring, SCHEDULE).jwks_json.decode()
    assert rings.revoke(ring, active.key_id, "again", fresh, SCHEDULE, NOW + 6) is ring
    both = rings.revoke(ring, fresh[0].key_id, "too", [supply.key(NOW), supply.key(NOW)], SCHEDULE, NOW)
    assert only(both, KeyState.ACTIVE).key_id == prepared.key_id
    with pytest.raises(NotFound):
        rings.revoke(ring, "unknown", "x", fresh, SCHEDULE, NOW)


def test_revoking_the_active_key_of_an_algorithm_with_nothing_prepared() -> None:
    supply = Supply()
    ring = first(supply)
    lonely = replace(ring, keys=tuple(key for key in ring.keys if key.state is KeyState.ACTIVE))
    fresh = [supply.key(NOW), supply.key(NOW)]
    after = rings.revoke(lonely, lonely.keys[0].key_id, "x", fresh, SCHEDULE, NOW)
    assert [key.state for key in after.keys] == [KeyState.REVOKED, KeyState.ACTIVE, KeyState.PREPARED]


def test_old_records_are_forgotten_and_revoked_ones_never() -> None:
    supply = Supply()
    ring = first(supply)
    ring = rings.revoke(ring, only(ring, KeyState.PREPARED).key_id, "x", [supply.key(NOW)] * 1, SCHEDULE, NOW)
    now = NOW
    for _ in range(rings.MAX_RECORDS + 20):
        now += SCHEDULE.retention + 1
        ring = rings.rotate(ring, "ES256", [supply.key(now), supply.key(now)], SCHEDULE, now, force=True)
        ring = rings.advance(ring, SCHEDULE, now + SCHEDULE.retention, {})
    assert sum(key.state is KeyState.RETIRED for key in ring.keys) == rings.MAX_RECORDS
    assert sum(key.state is KeyState.REVOKED for key in ring.keys) == 1


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"publish_ahead": 86000.0}, "publish_ahead is 86000 s and has to be at least"),
        ({"rotation_interval": 3600.0}, "rotation_interval is 3600 s and has to be longer than publish_ahead"),
        ({"max_age": 100000.0, "publish_ahead": 90000.0}, "max(100000, 86400)"),
    ],
)
def test_a_schedule_that_breaks_a_rule_is_named_with_its_numbers(changes: dict[str, Any], rule: str) -> None:
    assert any(rule in problem for problem in Schedule(**changes).problems())
    assert not Schedule().problems()


def test_the_published_set_is_the_same_bytes_everywhere() -> None:
    ring = first(Supply(), algorithms=("RS256", "ES256"))
    shuffled = replace(ring, keys=tuple(reversed(ring.keys)))
    assert publish(ring, SCHEDULE) == publish(shuffled, SCHEDULE)
    assert all("sealed" not in key and key["use"] == "sig" for key in publish(ring, SCHEDULE).keys)


def test_what_is_stored_is_read_as_it_was() -> None:
    supply = Supply()
    ring = rings.rotate(first(supply), "ES256", [supply.key(NOW), supply.key(NOW)], SCHEDULE, NOW, force=True)
    assert parse(dump(ring)) == ring


@pytest.mark.parametrize(
    "raw",
    [b"", b"x", b"[]", b"{}", b'{"v":2}', b'{"v":1,"lineage":1,"generation":1,"keys":[]}',
     b'{"v":1,"lineage":"l","generation":1,"keys":[{}]}', b'{"v":1,"lineage":"l","generation":"x","keys":[]}',
     b'{"v":1,"lineage":"l","generation":1,"keys":5}', dump(first(Supply())).replace(b"active", b"ACTIVE"),
     dump(first(Supply())).replace(b'"key_id":"', b'"key_id":5,"x":"')],
)  # fmt: skip
def test_a_foreign_value_is_an_error_that_names_the_key(raw: bytes) -> None:
    with pytest.raises(CorruptRecord) as error:
        parse(raw)
    assert error.value.detail.startswith("ring: ")


class Histories(RuleBasedStateMachine):
    """Random operations on a ring whose store may go back in time, with a verifier that keeps what it may."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.supply = Supply()
        self.ring = first(self.supply)
        self.past = [self.ring]
        self.forced: set[str] = set()
        self.states: dict[str, KeyState] = {}
        self.tokens: list[tuple[str, float]] = []

    def _set(self, ring: KeyRing) -> None:
        if ring is not self.ring:
            self.ring = replace(ring, generation=self.ring.generation + 1)
            self.past.append(self.ring)

    @rule(seconds=st.floats(0, 40 * 86400))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self._set(rings.advance(self.ring, SCHEDULE, self.now, self.supply.fresh(self.ring, self.now)))

    @rule(force=st.booleans())
    def rotate(self, force: bool) -> None:
        fresh = [self.supply.key(self.now), self.supply.key(self.now)]
        try:
            self._set(rings.rotate(self.ring, "ES256", fresh, SCHEDULE, self.now, force=force))
        except WrongState:
            return
        if force:
            self.forced.add(only(self.ring, KeyState.ACTIVE).key_id)

    @rule(index=st.integers(0, 30))
    def revoke(self, index: int) -> None:
        key = self.ring.keys[index % len(self.ring.keys)]
        fresh = [self.supply.key(self.now), self.supply.key(self.now)]
        self._set(rings.revoke(self.ring, key.key_id, "drill", fresh, SCHEDULE, self.now))
        self.forced.add(only(self.ring, KeyState.ACTIVE).key_id)

    @rule()
    def sign(self) -> None:
        key = only(self.ring, KeyState.ACTIVE)
        assert key.sealed is not None
        self.tokens.append((key.key_id, self.now + SCHEDULE.max_lifetime))

    @precondition(lambda self: len(self.past) > 2)
    @rule(back=st.integers(1, 10))
    def the_store_goes_back_in_time(self, back: int) -> None:
        stored = self.past[max(0, len(self.past) - 1 - back)]
        merged = rings.merge(stored, self.ring)
        assert {key.key_id for key in merged.keys} >= {key.key_id for key in self.ring.keys}
        self.ring = replace(merged, generation=self.ring.generation + 1)

    @invariant()
    def one_active_key_and_one_behind_it(self) -> None:
        states = [key.state for key in self.ring.keys]
        assert states.count(KeyState.ACTIVE) == 1
        assert states.count(KeyState.PREPARED) == 1

    @invariant()
    def states_only_move_forward(self) -> None:
        for key in self.ring.keys:
            assert _ORDER[key.state] >= _ORDER[self.states.get(key.key_id, KeyState.PREPARED)]
            self.states[key.key_id] = key.state

    @invariant()
    def private_halves_exist_only_while_they_are_needed(self) -> None:
        for key in self.ring.keys:
            assert (key.sealed is not None) == (key.state in (KeyState.PREPARED, KeyState.ACTIVE))

    @invariant()
    def no_key_signed_before_it_was_published_for_long_enough(self) -> None:
        for key in self.ring.keys:
            if key.activate_time is not None and key.activate_time != NOW and key.key_id not in self.forced:
                assert key.activate_time >= key.publish_time + SCHEDULE.ahead

    @invariant()
    def no_token_outlives_its_key(self) -> None:
        published = {key.key_id for key in self.ring.keys if key.state in PUBLISHED}
        revoked = {key.key_id for key in self.ring.keys if key.state is KeyState.REVOKED}
        for key_id, expires in self.tokens:
            assert key_id in published | revoked or self.now >= expires + SCHEDULE.skew


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestHistories = Histories.TestCase


def test_merging_keeps_what_only_one_side_knows() -> None:
    supply = Supply()
    base = first(supply)
    active = only(base, KeyState.ACTIVE)
    fresh = [supply.key(NOW), supply.key(NOW)]
    revoked = replace(rings.revoke(base, active.key_id, "x", fresh, SCHEDULE, NOW), generation=2)
    assert rings.merge(base, revoked) == revoked
    assert rings.merge(revoked, base) == revoked
    assert rings.merge(KeyRing("line"), revoked) == revoked
    # The store went on from the older state: two histories, of which both wrote.
    other = replace(
        rings.rotate(base, "ES256", [supply.key(NOW), supply.key(NOW)], SCHEDULE, NOW + 9, force=True), generation=2
    )
    ahead = replace(revoked, generation=3)
    merged = rings.merge(other, ahead)
    kept = merged.find(active.key_id)
    assert kept is not None
    assert kept.state is KeyState.REVOKED
    assert [key.state for key in merged.keys].count(KeyState.ACTIVE) == 1
    assert [key.state for key in merged.keys].count(KeyState.PREPARED) == 1
