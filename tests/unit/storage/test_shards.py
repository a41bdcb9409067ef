"""The names of a stream's shards, and positions in all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from tokenmint.config.tables import AuditTable
from tokenmint.storage.shards import (
    LONGEST,
    MOST,
    Position,
    following,
    in_use,
    names,
    parse,
    place_of,
    preceding,
)
from tokenmint.storage.slots import SLOTS

PLACE = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
PLACES = st.dictionaries(st.integers(0, MOST), PLACE, min_size=1)


@pytest.mark.parametrize("prefix", ["tm:", "t:", "a-long-prefix_of-32-characters:x:"])
@pytest.mark.parametrize(
    ("shards", "primaries"), [(3, 3), (6, 3), (6, 6), (12, 3), (12, 4), (12, 6), (24, 8), (24, 12)]
)
def test_shards_are_spread_evenly_over_primaries_with_equal_ranges(prefix: str, shards: int, primaries: int) -> None:
    slots = [key_slot((prefix + key).encode()) for key in in_use("audit", shards)]
    shares = [sum(slot * primaries // SLOTS == index for slot in slots) for index in range(primaries)]
    assert shares == [shards // primaries] * primaries


def test_the_names_do_not_depend_on_the_number_in_use() -> None:
    every = names("audit")
    assert len(set(every)) == MOST + 1
    assert in_use("audit", 1) == every[:1] == ("audit",)
    for count in range(2, MOST + 1):
        assert in_use("audit", count) == every[1 : count + 1]


def test_the_configuration_allows_as_many_shards_as_there_are_names() -> None:
    [limit] = [item for item in AuditTable.model_fields["shards"].metadata if hasattr(item, "le")]
    assert limit.le == MOST


@given(PLACES)
def test_a_position_is_read_as_it_was_written_within_its_length(places: dict[int, tuple[int, int]]) -> None:
    text = Position(places).text
    assert parse(text, MOST + 1) == places
    assert len(text) <= LONGEST


@given(PLACES, st.integers(0, MOST), PLACE)
def test_the_position_of_an_entry_begins_with_its_id(
    places: dict[int, tuple[int, int]], number: int, place: tuple[int, int]
) -> None:
    text = Position(places).moved(number, place)
    assert text.startswith(f"{place[0]}-{place[1]}")
    assert parse(text, MOST + 1) == places | {number: place}


@pytest.mark.parametrize(
    "text",
    [
        "", ",", "x", "1-0,", ",1-0", "1-0,1-0", "1-0/1,2-0/1", "1-0,2-0/0", "1-0/25", "1-0/-1", "1-0/999", "1-0/",
        "/1", f"{2**64}-0", f"0-{2**64}/3", "1-0 ", "1-0\n", "1-0;2-0/1", "\u0661-0", "1-0/\u0661", "+", "-", "$",
        "(1-0", ",".join(f"1-0/{number}" for number in range(MOST + 2)), "0" * LONGEST + "1-0", "1-0," * 100_000,
    ],
)  # fmt: skip
def test_another_text_is_no_position(text: str) -> None:
    assert parse(text, MOST + 1) is None


@given(st.text(max_size=200))
def test_any_text_is_a_position_or_none(text: str) -> None:
    places = parse(text, MOST + 1)
    assert places is None or parse(Position(places).text, MOST + 1) == places


def test_a_stream_of_one_key_has_no_further_shards() -> None:
    assert parse("5-1", 1) == {0: (5, 1)}
    assert parse("5-1/1", 1) is None


@given(PLACE)
def test_neighbours_of_an_id_have_none_between_them(place: tuple[int, int]) -> None:
    if place != (2**64 - 1, 2**64 - 1):
        assert preceding(following(place)) == place
        assert following(place) > place
    if place != (0, 0):
        assert following(preceding(place)) == place
    assert place_of("12-3") == (12, 3)
