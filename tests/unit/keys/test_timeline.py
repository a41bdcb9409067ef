"""The lives of keys on a time axis: the spans, the planned changes, and now between them."""

import pytest

from tokenmint.keys.ring import activation_planned
from tokenmint.keys.schedule import DAY, Schedule
from tokenmint.keys.timeline import UNPUBLISHED, Life, life_of, timeline
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

NOW = 1_800_000_000.0
S = KeyState
Shown = list[tuple[str, float, float, bool]]


def life(state: KeyState, key_id: str = "k", **days: float) -> Life:
    return Life(key_id, "ES256", state, **{name: NOW + at * DAY for name, at in days.items()})


def spans(of: Life, *others: Life) -> Shown:
    row = timeline([of, *others], NOW).rows[0]
    return [
        (str(one.state), round((one.begin - NOW) / DAY, 6), round((one.end - NOW) / DAY, 6), one.planned)
        for one in row.spans
    ]


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (
            life(S.ACTIVE, published=-3, activated=-1, retired=2, deleted=3),
            [
                ("prepared", -3, -1, False), ("active", -1, 0, False), ("active", 0, 2, True),
                ("retiring", 2, 3, True),
            ],
        ),
        (
            life(S.RETIRING, published=-5, activated=-3, retired=-1, deleted=1),
            [
                ("prepared", -5, -3, False), ("active", -3, -1, False), ("retiring", -1, 0, False),
                ("retiring", 0, 1, True),
            ],
        ),
        (
            life(S.RETIRED, published=-5, activated=-3, retired=-2, deleted=-1),
            [("prepared", -5, -3, False), ("active", -3, -2, False), ("retiring", -2, -1, False)],
        ),
        (
            life(S.REVOKED, published=-5, activated=-3, revoked=-1, deleted=-1),
            [("prepared", -5, -3, False), ("active", -3, -1, False), ("revoked", -1, 0, False)],
        ),
        (
            life(S.REVOKED, published=-5, revoked=-1, deleted=-1),
            [("prepared", -5, -1, False), ("revoked", -1, 0, False)],
        ),
    ],
    ids=["active", "retiring", "retired", "revoked", "revoked before it signed"],
)  # fmt: skip
def test_a_span_is_past_or_planned_and_none_is_both(of: Life, expected: Shown) -> None:
    assert spans(of) == expected


def test_a_key_whose_successor_is_overdue_stops_signing_now_and_not_in_the_past() -> None:
    of = life(S.ACTIVE, published=-40, activated=-31, retired=-1, deleted=1)
    assert spans(of)[-2:] == [("active", -31, 0, False), ("retiring", 0, 1, True)]
    waits = life(S.PREPARED, published=-2, activated=-1)
    assert spans(waits, of)[0] == ("prepared", -2, 0, False)
    assert spans(waits, of)[1][:2] == ("active", 0)


def test_the_axis_holds_every_time_and_its_ticks_have_room_for_their_labels() -> None:
    picture = timeline([life(S.ACTIVE, published=-3, activated=-1, retired=2, deleted=3)], NOW)
    assert picture.begin < NOW - 3 * DAY
    assert picture.end > NOW + 3 * DAY
    length = picture.end - picture.begin
    assert all(0.05 < (tick - picture.begin) / length < 0.95 for tick in picture.ticks)


def test_a_ring_without_keys_has_an_axis() -> None:
    picture = timeline([], NOW)
    assert picture.begin < NOW < picture.end
    assert (picture.rows, picture.coming) == ((), ())


def ring() -> KeyRing:
    jwk = {"kty": "EC"}
    active = SigningKey("a", "ES256", S.ACTIVE, jwk, NOW - 9 * DAY, NOW - 9 * DAY, activate_time=NOW - 8 * DAY)
    prepared = SigningKey("p", "ES256", S.PREPARED, jwk, NOW - 8 * DAY, NOW - 8 * DAY)
    other = SigningKey("o", "RS256", S.ACTIVE, jwk, NOW - DAY, NOW - DAY, activate_time=NOW - DAY)
    return KeyRing("ring", 3, keys=(active, prepared, other))


def test_an_active_key_stops_when_its_successor_begins_and_leaves_after_the_retention() -> None:
    of, schedule = ring(), Schedule()
    active, prepared, other = of.keys
    begins = activation_planned(of, prepared, schedule)
    assert life_of(prepared, schedule, of).activated == begins
    stopping = life_of(active, schedule, of)
    assert (stopping.retired, stopping.deleted) == (begins, begins + schedule.retention())
    alone = life_of(other, schedule, of)
    assert (alone.retired, alone.deleted) == (None, None)  # nothing follows it


def test_the_changes_to_come_are_in_order_and_name_their_keys() -> None:
    of, schedule = ring(), Schedule()
    picture = timeline([life_of(key, schedule, of) for key in of.keys], NOW)
    assert [(change.key_id, change.to) for change in picture.coming] == [
        ("a", "retiring"), ("p", "active"), ("a", UNPUBLISHED),
    ]  # fmt: skip
    assert picture.coming[0].time == picture.coming[1].time == NOW + 22 * DAY
