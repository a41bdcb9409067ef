"""The life of the keys: each transition, and random histories of operations, crashes and clocks."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.keys.rings import EVERYBODY, NOW, SCHEDULE, Supply, first, merge, only, revoked, rotated

from tokenmint.base.errors import CorruptRecord, NotFound, WrongState
from tokenmint.keys import key_life
from tokenmint.keys import ring as rings
from tokenmint.keys.published import max_age_at, next_change, publish
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.store import dump, parse
from tokenmint.keys.types import KeyRing, KeyState


def test_a_first_start_signs_at_once_and_has_the_next_key_published() -> None:
    ring = first(Supply(), algorithms=("ES256", "RS256"))
    for algorithm in ("ES256", "RS256"):
        assert only(ring, KeyState.ACTIVE, algorithm).activate_time == NOW
        assert only(ring, KeyState.PREPARED, algorithm).publish_time == NOW
    assert len(publish(ring, SCHEDULE).keys) == 4
    supply = Supply()
    assert rings.advance(ring, SCHEDULE, NOW, supply.fresh(ring, NOW), EVERYBODY) is ring


def test_an_algorithm_that_is_added_later_is_published_before_it_signs() -> None:
    supply = Supply()
    ring = first(supply)
    ring = rings.advance(ring, SCHEDULE, NOW, supply.fresh(ring, NOW, ("ES256", "RS256")), EVERYBODY)
    assert ring.only("RS256", KeyState.ACTIVE) is None
    later = NOW + SCHEDULE.ahead
    early = rings.advance(ring, SCHEDULE, later - 1, supply.fresh(ring, later - 1, ("ES256", "RS256")), EVERYBODY)
    assert early is ring
    ring = rings.advance(ring, SCHEDULE, later, supply.fresh(ring, later, ("ES256", "RS256")), EVERYBODY)
    assert only(ring, KeyState.ACTIVE, "RS256").activate_time == later
    assert ring.only("RS256", KeyState.PREPARED)


def test_a_key_may_not_sign_before_verifiers_had_time_to_see_it() -> None:
    ring = first(Supply())
    prepared = only(ring, KeyState.PREPARED)
    allowed = NOW + SCHEDULE.ahead
    with pytest.raises(WrongState) as early:
        rings.activate(ring, prepared.key_id, SCHEDULE, allowed - 0.5, force=False, acknowledged=EVERYBODY)
    assert early.value.violation == "PUBLISH_AHEAD"
    assert early.value.metadata["allowed_time"] in early.value.message
    assert rings.activate(ring, prepared.key_id, SCHEDULE, allowed, force=False, acknowledged=EVERYBODY).find(
        prepared.key_id
    )
    forced = rings.activate(ring, prepared.key_id, SCHEDULE, NOW, force=True, acknowledged=EVERYBODY)
    assert only(forced, KeyState.ACTIVE).key_id == prepared.key_id


def test_the_replaced_key_stays_published_until_its_last_token_expired() -> None:
    supply = Supply()
    ring = first(supply)
    old = only(ring, KeyState.ACTIVE)
    ring = rings.rotate(ring, "ES256", supply.key(NOW), SCHEDULE, NOW, force=True, acknowledged=EVERYBODY)
    retiring = ring.find(old.key_id)
    assert retiring is not None
    assert (retiring.state, retiring.sealed) == (KeyState.RETIRING, None)
    assert retiring.delete_time == NOW + SCHEDULE.max_lifetime + 2 * SCHEDULE.skew + SCHEDULE.replica_lag
    assert rings.advance(ring, SCHEDULE, retiring.delete_time - 1, {}, EVERYBODY) is ring
    done = rings.advance(ring, SCHEDULE, retiring.delete_time, {}, EVERYBODY)
    assert done.find(old.key_id) == replace(retiring, state=KeyState.RETIRED)
    assert old.key_id not in publish(done, SCHEDULE).jwks_json.decode()


def test_rotation_happens_by_itself_when_it_is_due() -> None:
    supply = Supply()
    ring = first(supply)
    due = NOW + SCHEDULE.rotation_interval
    assert rings.advance(ring, SCHEDULE, due - 1, supply.fresh(ring, due - 1), EVERYBODY) is ring
    turned = rings.advance(ring, SCHEDULE, due, supply.fresh(ring, due), EVERYBODY)
    assert only(turned, KeyState.ACTIVE).key_id == only(ring, KeyState.PREPARED).key_id
    assert only(turned, KeyState.PREPARED).publish_time == due


def test_what_can_not_be_activated() -> None:
    supply = Supply()
    ring = first(supply)
    active = only(ring, KeyState.ACTIVE)
    assert rings.activate(ring, active.key_id, SCHEDULE, NOW, force=False, acknowledged=EVERYBODY) is ring
    with pytest.raises(NotFound):
        rings.activate(ring, "unknown", SCHEDULE, NOW, force=True, acknowledged=EVERYBODY)
    ring = rings.rotate(ring, "ES256", supply.key(NOW), SCHEDULE, NOW, force=True, acknowledged=EVERYBODY)
    with pytest.raises(WrongState, match="retiring"):
        rings.activate(ring, active.key_id, SCHEDULE, NOW, force=True, acknowledged=EVERYBODY)


def test_revoking_the_active_key_lets_the_prepared_one_sign() -> None:
    supply = Supply()
    ring = first(supply)
    active, prepared = only(ring, KeyState.ACTIVE), only(ring, KeyState.PREPARED)
    fresh = supply.key(NOW)
    ring = rings.revoke(ring, active.key_id, "leaked", fresh, SCHEDULE, NOW + 5, acknowledged=EVERYBODY)
    gone = ring.find(active.key_id)
    assert gone is not None
    assert (gone.state, gone.sealed, gone.revoke_reason) == (KeyState.REVOKED, None, "leaked")
    assert only(ring, KeyState.ACTIVE).key_id == prepared.key_id
    assert only(ring, KeyState.PREPARED).key_id == fresh.key_id
    assert active.key_id not in publish(ring, SCHEDULE).jwks_json.decode()
    assert rings.revoke(ring, active.key_id, "again", fresh, SCHEDULE, NOW + 6, acknowledged=EVERYBODY) is ring
    both = rings.revoke(ring, fresh.key_id, "too", supply.key(NOW), SCHEDULE, NOW, acknowledged=EVERYBODY)
    assert only(both, KeyState.ACTIVE).key_id == prepared.key_id
    with pytest.raises(NotFound):
        rings.revoke(ring, "unknown", "x", fresh, SCHEDULE, NOW, acknowledged=EVERYBODY)


def test_revoking_the_active_key_of_an_algorithm_with_nothing_prepared() -> None:
    supply = Supply()
    ring = first(supply)
    lonely = replace(ring, keys=tuple(key for key in ring.keys if key.state is KeyState.ACTIVE))
    after = revoked(lonely, lonely.keys[0].key_id, supply)
    assert [key.state for key in after.keys] == [KeyState.REVOKED, KeyState.PREPARED]
    behind = after.generation - 1
    assert rings.fresh_keys_needed(after, ["ES256"], SCHEDULE, NOW, behind) == {}
    going = rings.advance(after, SCHEDULE, NOW, {"ES256": [supply.key(NOW)]}, after.generation)
    assert [key.state for key in going.keys] == [KeyState.REVOKED, KeyState.ACTIVE, KeyState.PREPARED]


def test_old_records_are_forgotten_and_revoked_ones_never() -> None:
    supply = Supply()
    ring = first(supply)
    ring = revoked(ring, only(ring, KeyState.PREPARED).key_id, supply)
    now = NOW
    for _ in range(key_life.MAX_RECORDS + 20):
        now += SCHEDULE.retention() + 1
        ring = rings.rotate(ring, "ES256", supply.key(now), SCHEDULE, now, force=True, acknowledged=EVERYBODY)
        ring = rings.advance(ring, SCHEDULE, now + SCHEDULE.retention(), {}, EVERYBODY)
    assert sum(key.state is KeyState.RETIRED for key in ring.keys) == key_life.MAX_RECORDS
    assert sum(key.state is KeyState.REVOKED for key in ring.keys) == 1


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"publish_ahead": 86000.0}, "publish_ahead is 23h53m20s and has to be at least"),
        ({"rotation_interval": 3600.0}, "rotation_interval is 1h and has to be longer than publish_ahead"),
        ({"max_age": 100000.0, "publish_ahead": 90000.0}, "max(1d3h46m40s, 1d)"),
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
    ring = rings.rotate(first(supply), "ES256", supply.key(NOW), SCHEDULE, NOW, force=True, acknowledged=EVERYBODY)
    assert parse(dump(ring)) == ring


@pytest.mark.parametrize(
    "raw",
    [b"", b"x", b"[]", b"{}", b'{"v":2}', b'{"v":1,"lineage":1,"generation":1,"keys":[]}',
     b'{"v":1,"lineage":"l","generation":1,"keys":[{}]}', b'{"v":1,"lineage":"l","generation":"x","keys":[]}',
     b'{"v":1,"lineage":"l","generation":1,"keys":5}', dump(first(Supply())).replace(b"active", b"ACTIVE"),
     dump(first(Supply())).replace(b'"key_id":"', b'"key_id":5,"x":"'),
     *(dump(first(Supply())).replace(b'"generation":1', b'"generation":' + number)
       for number in (b"1e999", b"NaN", b"-1", b"1" + b"0" * 400)),
     dump(first(Supply())).replace(b'"fence":0', b'"fence":1e999'),
     dump(first(Supply())).replace(b'"max_lifetime":', b'"max_lifetime":NaN,"x":'),
     dump(first(Supply())).replace(b'"max_lifetime":', b'"max_lifetime":Infinity,"x":'),
     dump(first(Supply())).replace(b'"losses":0', b'"losses":1e300'), b"[" * 100_000],
)  # fmt: skip
def test_a_foreign_value_is_an_error_that_names_the_key(raw: bytes) -> None:
    with pytest.raises(CorruptRecord) as error:
        parse(raw)
    assert error.value.detail.startswith("ring: ")


def test_a_key_that_a_replica_does_not_publish_yet_may_not_sign_even_when_forced() -> None:
    supply = Supply()
    ring = rotated(first(supply), supply)
    prepared = only(ring, KeyState.PREPARED)
    assert prepared.publish_generation == ring.generation
    behind = ring.generation - 1
    with pytest.raises(WrongState) as early:
        rings.activate(ring, prepared.key_id, SCHEDULE, NOW, force=True, acknowledged=behind)
    assert early.value.violation == "REPLICA_BEHIND"
    due = NOW + SCHEDULE.rotation_interval
    assert rings.fresh_keys_needed(ring, ["ES256"], SCHEDULE, due, behind) == {}
    assert rings.fresh_keys_needed(ring, ["ES256"], SCHEDULE, due, ring.generation) == {"ES256": 1}


def test_revoking_where_the_prepared_key_is_not_published_everywhere_signs_nothing_until_it_is() -> None:
    supply = Supply()
    ring = rotated(first(supply), supply)
    active, prepared = only(ring, KeyState.ACTIVE), only(ring, KeyState.PREPARED)
    behind = ring.generation - 1
    stopped = rings.revoke(ring, active.key_id, "x", supply.key(NOW), SCHEDULE, NOW, acknowledged=behind)
    assert stopped.only("ES256", KeyState.ACTIVE) is None
    assert only(stopped, KeyState.PREPARED) == prepared
    assert rings.fresh_keys_needed(stopped, ["ES256"], SCHEDULE, NOW, behind) == {}
    assert rings.fresh_keys_needed(stopped, ["ES256"], SCHEDULE, NOW, ring.generation) == {"ES256": 1}
    fresh = {"ES256": [supply.key(NOW)]}
    going = rings.advance(stopped, SCHEDULE, NOW, fresh, ring.generation)
    assert only(going, KeyState.ACTIVE).key_id == prepared.key_id


def test_where_the_store_leaked_the_prepared_key_is_burned_too() -> None:
    supply = Supply()
    ring = first(supply)
    active, prepared = only(ring, KeyState.ACTIVE), only(ring, KeyState.PREPARED)
    fresh = supply.key(NOW)
    ring = rings.revoke(ring, active.key_id, "store", fresh, SCHEDULE, NOW, with_prepared=True, acknowledged=EVERYBODY)
    assert {key.key_id for key in ring.keys if key.state is KeyState.REVOKED} == {active.key_id, prepared.key_id}
    assert only(ring, KeyState.PREPARED).key_id == fresh.key_id
    assert ring.only("ES256", KeyState.ACTIVE) is None  # until every replica publishes the fresh one


def test_a_longer_lifetime_keeps_retiring_keys_published_for_longer() -> None:
    supply = Supply()
    ring = replace(rotated(first(supply), supply), max_lifetime=SCHEDULE.max_lifetime)
    longer = replace(SCHEDULE, max_lifetime=SCHEDULE.max_lifetime * 4)
    raised = rings.with_lifetime(ring, longer)
    assert only(raised, KeyState.RETIRING).delete_time == NOW + longer.retention()
    assert rings.with_lifetime(raised, SCHEDULE) is raised  # another replica still signs for that long
    done = rings.rotate(raised, "ES256", supply.key(NOW), SCHEDULE, NOW, force=True, acknowledged=EVERYBODY)
    assert {key.delete_time for key in done.keys if key.state is KeyState.RETIRING} == {NOW + longer.retention()}


def test_a_private_half_elsewhere_is_remembered_until_it_is_destroyed() -> None:
    supply = Supply()
    ring = first(supply)
    ring = replace(ring, keys=tuple(replace(key, key_ref=f"arn:{key.key_id}", sealed=None) for key in ring.keys))
    old = only(ring, KeyState.ACTIVE)
    ring = rotated(ring, supply)
    assert only(ring, KeyState.RETIRING).key_ref == old.key_ref
    gone = rings.destroyed(ring, [old.key_id])
    assert only(gone, KeyState.RETIRING).key_ref is None
    assert rings.destroyed(gone, [old.key_id]) is gone
    gone = replace(gone, generation=ring.generation + 1)  # as a change is stored
    assert merge(gone, ring) is gone
    assert only(merge(ring, gone), KeyState.RETIRING).key_ref is None


@pytest.mark.parametrize(
    ("until_change", "expected"),
    [(10_000.0, 300), (300.0, 300), (299.9, 299), (1.5, 1), (0.5, 0), (0.0, 10), (-50.0, 10)],
)
def test_max_age_never_reaches_past_the_next_change_of_the_set(until_change: float, expected: int) -> None:
    assert max_age_at(NOW + until_change, SCHEDULE, NOW) == expected


def test_the_next_change_is_a_withdrawal_or_the_next_preparation() -> None:
    supply = Supply()
    ring = first(supply)
    assert next_change(ring, SCHEDULE) == NOW + SCHEDULE.rotation_interval
    ring = rotated(ring, supply)
    assert next_change(ring, SCHEDULE) == NOW + SCHEDULE.retention()
    assert next_change(KeyRing("line"), SCHEDULE) == float("inf")


def test_trust_domain_and_bundle_section_4_2_a_bundle_has_keys_of_jwt_svids_alone() -> None:
    supply = Supply()
    ring = first(supply, algorithms=("ES256", "EdDSA"))
    keys = tuple(
        replace(key, public_jwk={"kty": "OKP" if key.algorithm == "EdDSA" else "EC", "x": key.key_id})
        for key in ring.keys
    )
    published = publish(replace(ring, keys=keys, generation=7), SCHEDULE)
    bundle = json.loads(published.bundle_json)
    assert (bundle["spiffe_sequence"], bundle["spiffe_refresh_hint"]) == (7, 300)
    assert {key["kty"] for key in json.loads(published.jwks_json)["keys"]} == {"EC", "OKP"}
    assert all(key.keys() == {"kid", "kty", "use", "x"} for key in bundle["keys"])
    assert {(key["kty"], key["use"]) for key in bundle["keys"]} == {("EC", "jwt-svid")}
