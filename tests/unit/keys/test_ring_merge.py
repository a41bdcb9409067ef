"""Two states of one key ring, after the store went back: what each may forget, and what neither may."""

from dataclasses import replace

import pytest
from tests.unit.keys.rings import EVERYBODY, NOW, SCHEDULE, Supply, first, merge, only, revoked, rotated

from tokenmint.keys import key_life, ring_merge
from tokenmint.keys import ring as rings
from tokenmint.keys.types import KeyRing, KeyState


def test_merging_with_what_is_older_changes_nothing() -> None:
    supply = Supply()
    base = first(supply)
    newer = rotated(revoked(base, only(base, KeyState.ACTIVE).key_id, supply), supply)
    assert merge(newer, base) is newer
    assert merge(newer, newer) is newer
    assert merge(base, KeyRing("line", 1)) == base
    assert merge(newer, KeyRing("line")) is newer


def test_a_store_that_went_back_gets_every_newer_state() -> None:
    supply = Supply()
    base = first(supply)
    held = revoked(base, only(base, KeyState.ACTIVE).key_id, supply)
    for stored in (base, KeyRing("line")):
        merged = merge(stored, held, NOW + 5)
        assert {key.key_id: key.state for key in merged.keys} == {key.key_id: key.state for key in held.keys}
        assert merged.generation == held.generation


def test_a_revocation_is_not_lost_to_a_store_that_went_on_from_an_older_state() -> None:
    supply = Supply()
    base = first(supply)
    bad = only(base, KeyState.ACTIVE).key_id
    held = revoked(base, bad, supply)
    # Others did more changes on the older state than the revocation's own generation counts.
    stored = rotated(rotated(rotated(base, supply), supply), supply)
    assert stored.generation > held.generation
    merged = merge(stored, held, NOW + 5)
    kept = merged.find(bad)
    assert kept is not None
    assert kept.state is KeyState.REVOKED
    assert merged.generation == stored.generation
    assert [key.state for key in merged.keys].count(KeyState.ACTIVE) == 1
    assert [key.state for key in merged.keys].count(KeyState.PREPARED) == 1


def test_a_prepared_key_that_the_store_had_lost_waits_anew() -> None:
    supply = Supply()
    base = first(supply)
    stored = replace(base, keys=tuple(key for key in base.keys if key.state is KeyState.ACTIVE))
    later = NOW + SCHEDULE.ahead
    back = only(merge(stored, replace(base, generation=2), later), KeyState.PREPARED)
    assert back.publish_time == later
    assert back.publish_generation == 3


def test_of_two_active_keys_the_newest_wins_and_the_other_stays_published() -> None:
    supply = Supply()
    base = first(supply)
    one, other = rotated(base, supply, NOW + 10), rotated(rotated(base, supply, NOW + 20), supply, NOW + 30)
    merged = merge(one, other, NOW + 40)
    assert only(merge(other, one, NOW + 40), KeyState.ACTIVE).key_id == only(merged, KeyState.ACTIVE).key_id
    assert only(merged, KeyState.ACTIVE).activate_time == NOW + 30
    late = KeyRing("line", 9, keys=(only(one, KeyState.ACTIVE), *other.keys))
    beaten = merge(late, replace(other, generation=10), NOW + 40)
    assert [key.state for key in beaten.keys].count(KeyState.ACTIVE) == 1


@pytest.mark.parametrize("state", [KeyState.ACTIVE, KeyState.RETIRING])
def test_a_key_that_was_withdrawn_for_a_rival_and_had_signed_elsewhere_stays_published(state: KeyState) -> None:
    """The store went back, and who merged first knew the key as prepared alone, beside one published earlier."""
    supply = Supply()
    base = first(supply)
    held = rotated(base, supply, NOW + 10)
    signed = only(held, KeyState.ACTIVE)
    if state is KeyState.RETIRING:
        held = rotated(held, supply, NOW + 20)
    withdrawn = replace(signed, state=KeyState.RETIRED, sealed=None, activate_time=None, delete_time=NOW + 15)
    stored = replace(base, generation=9, keys=(only(base, KeyState.ACTIVE), supply.key(NOW), withdrawn))
    for merged in (merge(stored, held, NOW + 30), merge(held, stored, NOW + 30)):
        kept = merged.find(signed.key_id)
        assert kept is not None
        assert (kept.state, kept.activate_time, kept.sealed) == (KeyState.RETIRING, NOW + 10, None)
        assert kept.delete_time is not None
        assert kept.delete_time >= NOW + (30 if state is KeyState.ACTIVE else 20) + SCHEDULE.retention()
        again = merge(replace(merged, generation=10), stored, NOW + 40)
        assert again.find(signed.key_id) == kept, "who has not heard of it changes nothing"


def test_a_revocation_by_a_replica_that_had_not_seen_the_key_sign_forgets_no_activation() -> None:
    supply = Supply()
    base = first(supply)
    held = rotated(base, supply, NOW + 10)
    signed = only(held, KeyState.ACTIVE).key_id
    stored = revoked(base, signed, supply)
    for merged in (merge(stored, held, NOW + 30), merge(held, stored, NOW + 30)):
        kept = merged.find(signed)
        assert kept is not None
        assert (kept.state, kept.activate_time) == (KeyState.REVOKED, NOW + 10)


def test_the_newer_seal_of_a_key_is_the_one_that_is_kept() -> None:
    base = first(Supply())
    key_id = only(base, KeyState.ACTIVE).key_id
    resealed = replace(rings.reseal(base, {key_id: "under the new one"}, NOW + 1), generation=2)
    assert only(merge(base, resealed), KeyState.ACTIVE).sealed == "under the new one"
    assert merge(resealed, base) is resealed
    assert rings.reseal(resealed, {key_id: "under the new one"}, NOW + 2) is resealed


def test_a_retired_key_that_the_store_forgot_and_then_remembers_does_not_come_back_to_life() -> None:
    """Found by the random histories: the store went back to before a key, and then to when it was active."""
    supply = Supply()
    before = first(supply)
    active = rotated(rotated(before, supply), supply)
    key_id = only(active, KeyState.ACTIVE).key_id
    assert before.find(key_id) is None
    ring = rotated(active, supply)
    ring = rings.advance(ring, SCHEDULE, NOW + SCHEDULE.retention(), {}, EVERYBODY)
    ring = replace(ring, generation=ring.generation + 1)
    for older in (before, active):
        merged = merge(older, ring)
        found = merged.find(key_id)
        assert found is not None
        assert found.state is KeyState.RETIRED
        ring = replace(merged, generation=merged.generation + 1)


def test_a_record_that_was_pruned_does_not_come_back_and_two_replicas_agree_on_which_were() -> None:
    supply = Supply()
    base = first(supply)
    retired = [
        replace(supply.key(NOW), state=KeyState.RETIRED, sealed=None, delete_time=NOW + number // 3)
        for number in range(key_life.MAX_RECORDS + 20)
    ]
    older = replace(base, keys=(*base.keys, *retired[: key_life.MAX_RECORDS]))
    newer = replace(base, generation=9, keys=(*base.keys, *retired[20:]))
    assert merge(newer, older) is newer
    here, there = (replace(older, keys=(*older.keys, *extra)) for extra in (retired[50:60], retired[60:]))
    agreed = merge(here, there)
    assert sum(key.state is KeyState.RETIRED for key in agreed.keys) == key_life.MAX_RECORDS
    stored = replace(agreed, generation=agreed.generation + 1)
    assert merge(stored, here) is merge(stored, there) is stored
    assert {key.key_id for key in merge(there, here).keys} == {key.key_id for key in agreed.keys}


def test_a_retired_key_that_is_revoked_brings_back_no_record_that_was_pruned() -> None:
    """A replica that is two changes behind would take what it holds for lost, and the whole service would stop."""
    supply = Supply()
    base = first(supply)
    retired = [
        replace(supply.key(NOW), state=KeyState.RETIRED, sealed=None, delete_time=NOW + number)
        for number in range(key_life.MAX_RECORDS)
    ]
    ends = replace(
        supply.key(NOW), state=KeyState.RETIRING, sealed=None, delete_time=NOW + key_life.MAX_RECORDS, key_ref=None
    )
    held = replace(base, generation=7, keys=(*base.keys, *retired, ends))
    later = NOW + key_life.MAX_RECORDS
    pruned = replace(rings.advance(held, SCHEDULE, later, {}, EVERYBODY), generation=8)
    assert pruned.find(retired[0].key_id) is None
    stored = pruned
    for key_id in (ends.key_id, retired[30].key_id):
        stored = rings.revoke(stored, key_id, "leaked", None, SCHEDULE, later, acknowledged=EVERYBODY)
        stored = replace(stored, generation=stored.generation + 1)
    assert ring_merge.merge(stored, held, SCHEDULE, later) is stored
    assert ring_merge.merge(stored, pruned, SCHEDULE, later) is stored


def test_keys_that_were_retired_and_pruned_at_once_do_not_come_back() -> None:
    """As after a pause in which nobody advanced the ring; nor does one whose private half was destroyed elsewhere."""
    supply = Supply()
    base = first(supply)
    count = key_life.MAX_RECORDS + 10
    ending = [
        replace(
            supply.key(NOW), state=KeyState.RETIRING, sealed=None, delete_time=NOW + number, key_ref=f"key/{number}"
        )
        for number in range(count)
    ]
    held = replace(base, generation=7, keys=(*base.keys, *ending))
    later = NOW + count
    stored = rings.destroyed(rings.advance(held, SCHEDULE, later, {}, EVERYBODY), [key.key_id for key in ending])
    fresh = replace(supply.key(NOW), state=KeyState.RETIRING, sealed=None, delete_time=later)
    stored = rings.advance(replace(stored, keys=(*stored.keys, fresh)), SCHEDULE, later, {}, EVERYBODY)
    stored = replace(stored, generation=9)
    assert sum(key.state is KeyState.RETIRED for key in stored.keys) == key_life.MAX_RECORDS
    assert ring_merge.merge(stored, held, SCHEDULE, later) is stored
