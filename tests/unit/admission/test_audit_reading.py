"""Reading of the audit stream: bounded pages, and counts that read each entry once."""

from typing import Any

import orjson
import pytest
from tests.fakes import FakeClock

from tokenmint.admission import audit_reading
from tokenmint.admission.audit import EXCHANGES
from tokenmint.admission.audit_reading import DAY, OTHER, PAGE, Query, RefusalCounts, events, shaped
from tokenmint.base.errors import CorruptRecord
from tokenmint.storage import merging
from tokenmint.storage.redis import Store

KNOWN = frozenset({"EXPIRED", "MALFORMED"})


async def note(store: Store, *events: dict[str, Any]) -> None:
    values = [orjson.dumps(event) for event in events]
    await store.append(EXCHANGES, values, most_entries=100_000, most_bytes=1 << 30, durable=False)


def refused(clock: FakeClock, ago: float = 0.0, reason: str = "EXPIRED", **more: Any) -> dict[str, Any]:
    return {
        "kind": "exchange",
        "outcome": "refused",
        "caller": "web",
        "reason": reason,
        "time": clock.now() - ago,
        **more,
    }


@pytest.fixture
def counts(store: Store, clock: FakeClock) -> RefusalCounts:
    return RefusalCounts(store, clock, KNOWN)


async def test_entries_are_read_newest_first_between_two_ids(store: Store) -> None:
    await store.append("s", [b"a", b"b", b"c", b"d"], most_entries=10, most_bytes=1000, durable=False)
    whole, _, _ = await merging.backwards(store, ("s",), count=10)
    assert [value for _, value in whole] == [b"d", b"c", b"b", b"a"]
    ids = [at for at, _ in whole]
    between, _, _ = await merging.backwards(store, ("s",), count=10, before=ids[0], after=ids[3])
    assert [value for _, value in between] == [b"c", b"b"]
    assert [value for _, value in (await merging.backwards(store, ("s",), count=1))[0]] == [b"d"]
    assert await merging.backwards(store, ("none",), count=1) == ([], False, "")
    with pytest.raises(ValueError, match="not a position"):
        await merging.backwards(store, ("s",), count=1, before="+")


async def test_a_key_of_another_type_is_an_error_that_names_it(store: Store) -> None:
    await store.swap("s", None, b"text")
    with pytest.raises(CorruptRecord):
        await merging.backwards(store, ("s",), count=1)


async def test_refusals_are_counted_by_hour_and_day(store: Store, clock: FakeClock, counts: RefusalCounts) -> None:
    await note(
        store,
        refused(clock, DAY + 100),
        refused(clock, 7200, "MALFORMED"),
        refused(clock, 60, count=40),
        {"kind": "exchange", "outcome": "done", "time": clock.now(), "refused": ["EXPIRED", "NEW"]},
        {"kind": "exchange", "outcome": "done", "time": clock.now()},
    )
    found = await counts.read()
    assert found.hour == {"EXPIRED": 41, OTHER: 1}
    assert found.day == {"EXPIRED": 41, OTHER: 1, "MALFORMED": 1}
    assert found.complete
    assert await counts.read() == found


async def test_times_of_wrong_clocks_take_no_room(store: Store, clock: FakeClock, counts: RefusalCounts) -> None:
    await note(store, *(refused(clock, ago) for ago in range(-90_000_000, 90_000_000, 300_000)))
    found = await counts.read()
    assert found.day == {"EXPIRED": 301}  # those of the future count as now
    assert len(counts._minutes) <= 1441


async def test_each_entry_is_counted_once_and_what_is_new_is_added(
    store: Store, clock: FakeClock, counts: RefusalCounts
) -> None:
    assert (await counts.read()).day == {}
    for number in range(1, 4):
        await note(store, *[refused(clock)] * (PAGE // 2 + 10))
        assert (await counts.read()).day == {"EXPIRED": number * (PAGE // 2 + 10)}
    clock.advance(DAY + 120)
    await note(store, refused(clock))
    assert (await counts.read()).day == {"EXPIRED": 1}


async def test_a_long_stream_is_counted_in_turns(
    store: Store, clock: FakeClock, counts: RefusalCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_reading, "MOST_COUNTED", 2 * PAGE)
    await note(store, *(refused(clock, ago) for ago in range(5 * PAGE - 10, 0, -1)))
    seen = [await counts.read() for _ in range(4)]
    assert [sum(found.day.values()) for found in seen] == [2 * PAGE, 4 * PAGE, 5 * PAGE - 10, 5 * PAGE - 10]
    assert [found.complete for found in seen] == [False, False, True, True]


async def test_more_news_than_one_count_reads_is_counted_anew_and_never_twice(
    store: Store, clock: FakeClock, counts: RefusalCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_reading, "MOST_COUNTED", 2 * PAGE)
    await note(store, *[refused(clock)] * 10)
    await counts.read()
    await note(store, *[refused(clock)] * (3 * PAGE))
    seen = [await counts.read() for _ in range(3)]
    assert [sum(found.day.values()) for found in seen] == [2 * PAGE, 3 * PAGE + 10, 3 * PAGE + 10]
    assert seen[-1].complete


async def test_a_count_that_breaks_off_loses_nothing(
    store: Store, clock: FakeClock, counts: RefusalCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await note(store, *[refused(clock)] * 5)
    await counts.read()
    await note(store, *[refused(clock)] * (PAGE + 5))
    read, calls = merging.backwards, 0

    async def breaks(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError
        return await read(*arguments, **options)

    monkeypatch.setattr(merging, "backwards", breaks)
    with pytest.raises(OSError):
        await counts.read()
    assert (await counts.read()).day == {"EXPIRED": PAGE + 10}


async def test_a_query_goes_on_where_it_stopped(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_reading, "MOST_SCANNED", PAGE)
    await note(store, *(refused(clock, caller=f"c{number % 7}") for number in range(PAGE + 40)))
    query, found, before = Query(client="c3"), 0, ""
    while True:
        page = await events(store, query, most=30, before=before)
        assert len(page.events) <= 30
        assert page.scanned <= PAGE
        found += len(page.events)
        if not page.older:
            break
        before = page.older
    assert found == sum(number % 7 == 3 for number in range(PAGE + 40))


@pytest.mark.parametrize("value", [b"", b"x", b"[]", b"1", b"null", b"\xff", b'"' + b"x" * 9000, orjson.dumps("text")])
def test_an_entry_of_another_form_is_none(value: bytes) -> None:
    assert shaped(value, details=True) is None


def test_every_field_that_is_shown_is_a_bounded_text_of_its_kind() -> None:
    names = ("method", "outcome", "reason", "caller", "provider", "principal", "actor", "trace_id", "detail")
    long = "\u202e<b>" * 4000
    hostile = dict.fromkeys(names, long) | {
        "audience": [long] * 500, "refused": {"a": 1}, "minted": [{"jti": long, "kid": {}}] * 500 + [5], "time": 1e300,
        "count": "9", "secret": "never shown",
    }  # fmt: skip
    event = shaped(orjson.dumps(hostile), details=True)
    assert event is not None
    assert "secret" not in event
    assert event["time"] == 0.0
    assert all(len(event[name]) <= 256 and event[name].isascii() for name in names)
    assert len(event["audience"]) == len(event["minted"]) == 16
    assert "refused" not in event
    assert len(orjson.dumps(event)) < 16_000
    assert "detail" not in (shaped(orjson.dumps(hostile), details=False) or {})
