"""Pages of a stream: their limits, the place of the next one, and entries that are gone or foreign."""

import socket

import pytest
from tests.conftest import PATIENT

from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.storage import merging, streams, urls
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

ROOM = {"most_entries": 1000, "most_bytes": 1 << 20}


async def fill(store: Store, *entries: bytes) -> None:
    await store.append("s", entries, most_entries=10_000, most_bytes=1 << 24, durable=False)


async def every(store: Store, position: str, **limits: int) -> list[bytes]:
    """Everything after ``position``, page by page."""
    found, more = [], True
    while more:
        page = await streams.after(store, "s", position, **(ROOM | limits))
        found += [entry for _, entry in page.entries]
        position, more = page.following, page.more
    return found


@pytest.mark.parametrize(
    "limits", [{"most_entries": 7}, {"most_bytes": 100}, {"most_bytes": 1}, {"most_entries": 1}, {}]
)
async def test_the_pages_hold_each_entry_once_in_their_order(store: Store, limits: dict[str, int]) -> None:
    entries = [b"%020d" % number for number in range(120)]
    await fill(store, *entries)
    assert await every(store, streams.BEGINNING, **limits) == entries


@pytest.mark.parametrize(("limits", "length"), [({"most_entries": 33}, 33), ({"most_bytes": 700}, 35), ({}, 120)])
async def test_a_page_ends_before_its_limit(store: Store, limits: dict[str, int], length: int) -> None:
    entries = [b"%020d" % number for number in range(120)]
    await fill(store, *entries)
    page = await streams.after(store, "s", streams.BEGINNING, **(ROOM | limits))
    assert ([entry for _, entry in page.entries], page.more) == (entries[:length], length < 120)
    latest = await merging.newest(store, ("s",), **(ROOM | limits))
    assert ([entry for _, entry in latest.entries], latest.more) == (entries[-length:], False)
    assert latest.following == latest.entries[-1][0]


async def test_an_entry_beyond_the_limit_has_a_page_of_its_own(store: Store) -> None:
    await fill(store, b"a" * 5000, b"b")
    page = await streams.after(store, "s", streams.BEGINNING, most_entries=10, most_bytes=1024)
    assert ([len(entry) for _, entry in page.entries], page.more) == ([5000], True)


async def test_the_next_page_has_what_was_appended_meanwhile(store: Store) -> None:
    empty = await merging.newest(store, ("s",), **ROOM)
    assert (empty.entries, empty.following) == ((), streams.BEGINNING)
    await fill(store, b"1")
    page = await streams.after(store, "s", empty.following, **ROOM)
    assert ([entry for _, entry in page.entries], page.gap) == ([b"1"], False)
    nothing = await streams.after(store, "s", page.following, **ROOM)
    assert (nothing.entries, nothing.following, nothing.gap) == ((), page.following, False)
    await fill(store, b"2")
    assert await every(store, nothing.following) == [b"2"]


async def test_a_page_begins_at_a_time_of_the_stores_clock(store: Store) -> None:
    await store.server.client.xadd(store.prefix + "s", {"event": "old"}, id="1000000-0")
    await store.server.client.xadd(store.prefix + "s", {"event": "at"}, id="2000000-0")
    await store.server.client.xadd(store.prefix + "s", {"event": "later"}, id="2000000-1")
    page = await merging.since(store, ("s",), (2_000_000, 0), **ROOM)
    assert [entry for _, entry in page.entries] == [b"at", b"later"]
    none = await merging.since(store, ("s",), (3_000_000, 0), **ROOM)
    assert (none.entries, none.following) == ((), "2000000-1")


async def test_entries_that_were_dropped_meanwhile_are_a_gap(store: Store) -> None:
    await fill(store, b"1", b"2", b"3")
    first = (await streams.after(store, "s", streams.BEGINNING, most_entries=1, most_bytes=100)).following
    name = store.prefix + "s"
    await store.server.client.xtrim(name, maxlen=2, approximate=False)
    assert (await streams.after(store, "s", first, **ROOM)).gap  # it may be: the entry of the position is gone too
    await store.server.client.delete(name)
    assert not (await streams.after(store, "s", first, **ROOM)).gap
    await fill(store, b"4")
    assert (await streams.after(store, "s", first, **ROOM)).gap


async def test_foreign_entries_are_read_as_empty_ones(store: Store) -> None:
    name = store.prefix + "s"
    await store.server.client.xadd(name, {"other": "x"})
    await store.server.client.xadd(name, {"event": b"x" * (streams.LONGEST + 1)})
    page = await merging.newest(store, ("s",), **ROOM)
    assert [entry for _, entry in page.entries] == [b"", b""]
    await store.swap("other", None, b"text")
    with pytest.raises(CorruptRecord):
        await merging.newest(store, ("other",), **ROOM)


async def test_a_store_that_is_away_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = Store(urls.parse(f"redis://127.0.0.1:{unused.getsockname()[1]}"), "t:", PATIENT)
        with pytest.raises(StoreUnavailable):
            await merging.newest(store, ("s",), **ROOM)
        await store.close()


@pytest.mark.parametrize(
    ("text", "valid"),
    [("0-0", True), ("1700000000000-12", True), (f"{2**64 - 1}-0", True), (f"{2**64}-0", False), ("1", False),
     ("", False), ("-1-0", False), ("1-0\n", False), ("+", False), ("\u0661-0", False)],
)  # fmt: skip
def test_the_form_of_a_position(text: str, valid: bool) -> None:
    assert streams.is_position(text) is valid


async def test_reading_backwards_is_bounded_in_bytes_and_goes_on_where_it_ended(store: Store) -> None:
    """Another program may write entries of any size into the stream."""
    await fill(store, b"own", *[b"%01000000d" % number for number in range(6)], b"x" * (streams.LONGEST + 1))
    found, before, more, pages = [], "", True, 0
    while more:
        page, more, _ = await merging.backwards(store, ("s",), count=500, before=before)
        assert page
        assert sum(len(entry) for _, entry in page) <= max(streams.LONGEST, len(page[0][1]))
        found += [entry for _, entry in page]
        before, pages = page[-1][0], pages + 1
    assert [len(entry) for entry in found] == [0, *[1_000_000] * 6, 3]
    assert pages == 6


@pytest.mark.parametrize("before", ["", "0-0", "00-00", "1-0", f"{2**64 - 1}-{2**64 - 1}"])
@pytest.mark.parametrize("after", ["", "0-0", "1-0", f"{2**64 - 1}-{2**64 - 1}"])
async def test_a_position_at_the_ends_of_the_range_is_a_position(store: Store, before: str, after: str) -> None:
    await fill(store, b"1", b"2")
    page, more, _ = await merging.backwards(store, ("s",), count=10, before=before, after=after)
    everything = before[:2] in ("", "18") and after[:2] != "18"
    assert ([entry for _, entry in page], more) == ([b"2", b"1"] if everything else [], False)


async def test_a_position_with_leading_zeros_is_the_same_position(store: Store) -> None:
    await fill(store, b"1", b"2", b"3")
    first, middle, last = [position for position, _ in (await merging.newest(store, ("s",), **ROOM)).entries]
    page = await streams.after(store, "s", f"0{first}", **ROOM)
    assert [entry for _, entry in page.entries] == [b"2", b"3"]
    between, _, _ = await merging.backwards(store, ("s",), count=10, before=f"0{last}", after=f"0{first}")
    assert between == [(middle, b"2")]
