"""The entries of the near cache: their names in memory, and the times that they share."""

from tokenmint.model.profile import Identity
from tokenmint.profiles.near_entries import TOGETHER, Lane, place_of
from tokenmint.profiles.records import identity_key, profile_key


def test_an_identity_is_named_by_the_hash_in_its_key() -> None:
    keys = [identity_key(Identity("idp", str(number))) for number in range(100)]
    assert [f"identity:{place_of(key):064x}" for key in keys] == keys


def test_other_keys_are_their_own_names() -> None:
    for key in (profile_key("ada"), profile_key("identity:00"), "erased:00", "identity:not a hash", "identity:"):
        assert place_of(key) == key


def test_values_that_are_requested_together_share_a_time_that_is_never_later_than_their_own() -> None:
    lane = Lane("near:", None)
    first = lane.reading_at(100.0)
    assert lane.reading_at(100.0 + TOGETHER / 2) is first
    after = lane.reading_at(100.0 + 2 * TOGETHER)
    assert (first.asked, after.asked) == (100.0, 100.0 + 2 * TOGETHER)
    assert lane.reading_at(100.0).asked == 100.0  # its answer came after a later request's
    assert first.lane is after.lane is lane
