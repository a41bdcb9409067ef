"""The record of another region only moves forward, and a revoked key never returns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.base.errors import CorruptRecord
from tokenmint.keys.types import RegionKey
from tokenmint.regions import given_up, records
from tokenmint.regions.document import Document, RevocationPage
from tokenmint.regions.given_up import GivenUp
from tokenmint.regions.identity import RegionRefused
from tokenmint.regions.records import MOST_SEEN, Record

NOW: Final = 1000.0
PAGE: Final = RevocationPage(0, (), "0-0", more=False)


def key(number: int) -> RegionKey:
    """Return a key of the region."""
    return RegionKey(f"eu.{number}", "ES256", {"kty": "EC"})


def told(generation: int, *keys: int, as_of: float = NOW, revoked: Sequence[int] = (), ring: str = "ring") -> Document:
    """Return a document."""
    gone = {f"eu.{number}": NOW for number in revoked}
    return Document("eu", ring, generation, as_of, 3600.0, tuple(map(key, keys)), gone, (), PAGE)


def accept(record: Record | None, document: Document, now: float = NOW) -> Record:
    """Return the record after a document."""
    return records.accepted(record, document, now=now, skew=60.0, memory=100.0)


def ids(record: Record) -> set[str]:
    """Return the ids of the published keys."""
    return {one.key_id for one in record.keys}


def test_a_generation_never_goes_back() -> None:
    record = accept(None, told(5, 1, 2))
    with pytest.raises(RegionRefused, match="from generation 5 to 4"):
        accept(record, told(4, 1, as_of=NOW + 10))
    assert accept(record, told(5, 1, as_of=NOW - 1)) is record
    assert ids(accept(record, told(6, 2, 3))) == {"eu.2", "eu.3"}


def test_another_ring_is_refused_until_an_operator_accepts_it() -> None:
    record = accept(None, told(5, 1, revoked=[9]))
    with pytest.raises(RegionRefused, match="regions accept"):
        accept(record, told(6, 1, ring="other"))
    accepted = accept(records.forgiven(record), told(1, 1, 9, ring="other", as_of=NOW - 5))
    assert (accepted.ring_id, accepted.generation, ids(accepted)) == ("other", 1, {"eu.1"})


def test_a_document_of_the_future_is_refused() -> None:
    with pytest.raises(RegionRefused, match="in the future"):
        accept(None, told(1, 1, as_of=NOW + 61))
    assert accept(None, told(1, 1, as_of=NOW + 60)).as_of == NOW + 60


def test_a_revoked_key_never_returns() -> None:
    record = accept(None, told(1, 1, 2, revoked=[]))
    record = accept(record, told(2, 2, revoked=[1]))
    again = accept(record, told(3, 1, 2))
    assert ids(again) == {"eu.2"}
    assert again.revoked == {"eu.1": NOW}


def test_every_key_that_a_verifier_may_hold_is_told_once_the_region_is_given_up() -> None:
    record = accept(accept(None, told(1, 1, 2)), told(2, 2, 3), NOW + 50)
    assert records.told(record, None) == {}
    assert records.told(record, NOW + 60) == {"eu.1": NOW + 60, "eu.2": NOW + 60, "eu.3": NOW + 60}
    later = accept(accept(record, told(3, 3), NOW + 60), told(4, 3, as_of=NOW + 200), NOW + 200)
    assert records.told(later, NOW + 200).keys() == {"eu.3"}


@pytest.mark.parametrize("time", [0.0, 1.0, NOW - 101, NOW + 61, 2.0**52])
def test_a_region_can_not_choose_for_how_long_verifiers_are_told_of_a_revoked_key(time: float) -> None:
    published = accept(None, told(1, 1, 2))
    record = accept(published, replace(told(2, 2), revoked={"eu.1": time}), NOW + 10)
    assert NOW + 10 <= records.told(record, None)["eu.1"] <= NOW + 10 + 60
    assert NOW + 20 <= records.told(record, NOW + 20)["eu.1"] <= NOW + 10 + 60


def test_a_region_can_not_push_out_the_keys_that_are_remembered() -> None:
    record: Record | None = None
    for generation in range(MOST_SEEN):
        record = accept(record, told(generation, generation))
    with pytest.raises(RegionRefused, match="more than 200 keys"):
        accept(record, told(MOST_SEEN, MOST_SEEN))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)), st.integers(0, 20)))
)
def test_no_order_of_documents_moves_a_record_back(history: list[tuple[int, set[int], set[int], int]]) -> None:
    record: Record | None = None
    gone: set[str] = set()
    for generation, keys, revoked, time in history:
        before = record
        try:
            record = accept(record, told(generation, *keys, as_of=NOW + time, revoked=sorted(revoked)), NOW + time)
        except RegionRefused:
            continue
        if before is not None:
            assert (record.generation, record.changes) >= (before.generation, before.changes)
            assert record.as_of >= before.as_of
            assert record.revoked.keys() >= before.revoked.keys()
        gone |= record.revoked.keys()
        assert not ids(record) & gone
        assert records.parse("region:eu", records.dump(record), "eu") == record
        assert records.newer(record, before) == record == records.newer(before, record)


def test_a_copy_that_knows_of_a_revocation_keeps_it_beside_a_newer_record() -> None:
    newer = accept(None, told(7, 1, 2))
    older = accept(None, told(3, 2, revoked=[1]))
    assert ids(records.newer(newer, older) or newer) == {"eu.2"}


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"v":2}', b"[]", b'{"v":1,"region":"us"}'])
def test_a_foreign_value_is_corrupt(raw: bytes) -> None:
    with pytest.raises(CorruptRecord) as refused:
        records.parse("region:eu", raw, "eu")
    assert "region:eu" in refused.value.detail
    with pytest.raises(CorruptRecord):
        given_up.parse(raw.replace(b'"v":1', b'"v":3'))


def test_a_record_of_another_region_is_corrupt() -> None:
    with pytest.raises(CorruptRecord):
        records.parse("region:us", records.dump(accept(None, told(1, 1))), "us")


def test_regions_that_were_given_up_are_read_as_they_were_written() -> None:
    gone = {"eu": GivenUp("statement", NOW)}
    assert given_up.parse(given_up.dump(gone)) == gone
    assert given_up.parse(None) == {}


def test_a_replica_that_missed_the_acceptance_does_not_undo_it() -> None:
    held = accept(None, told(17, 1, 2))
    stored = accept(records.forgiven(held), told(15, 1))
    assert records.newer(stored, held) == records.newer(held, stored) == stored


def test_only_times_are_no_difference() -> None:
    record = accept(None, told(1, 1))
    assert not records.differs(record, replace(record, as_of=NOW + 5, revocations_as_of=NOW))
    assert records.differs(record, replace(record, position="5-0"))
