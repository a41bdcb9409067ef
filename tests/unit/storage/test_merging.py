"""A stream that is spread over shards is read as one: each entry once, and those of a shard in their order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import PATIENT

from tokenmint.base.errors import CorruptRecord
from tokenmint.storage import merging, shards, streams
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

KEYS = shards.names("s")
ROOM = {"most_entries": 1000, "most_bytes": 1 << 20}
Written: TypeAlias = dict[int, list[bytes]]


class World:
    """Shards whose servers' clocks differ, and all entries that were written to them."""

    def __init__(self, store: Store, skews: Sequence[int]) -> None:
        self.store = store
        self.written: Written = {}
        self._skews = skews
        self._now = 1_000_000
        self._count = 0

    async def write(self, shard: int, lengths: Sequence[int]) -> None:
        """Append entries of these lengths to a shard, by its clock, which never goes back. Ids may be equal."""
        self._now += len(lengths) % 2
        stamp = self._now + self._skews[shard % len(self._skews)]
        pipeline: Any = self.store.server.client.pipeline(transaction=False)
        for length in lengths:
            self._count += 1
            value = b"%d:%06d:" % (shard, self._count) + b"x" * length
            held = self.written.setdefault(shard, [])
            held.append(value)
            pipeline.xadd(self.store.prefix + KEYS[shard], {"event": value}, id=f"{stamp}-{len(held)}")
        await pipeline.execute()


@asynccontextmanager
async def world(redis_url: str, skews: Sequence[int] = (0,)) -> AsyncIterator[World]:
    store = await Store.open(redis_url, prefix=f"t{uuid4().hex}:", options=PATIENT)
    try:
        yield World(store, skews)
    finally:
        await store.close()


def by_shard(values: Sequence[bytes]) -> Written:
    found: Written = {}
    for value in values:
        found.setdefault(int(value.split(b":")[0]), []).append(value)
    return found


async def rest(store: Store, position: str, **limits: int) -> list[bytes]:
    """Return everything after ``position``, page by page."""
    found: list[bytes] = []
    while True:
        page = await merging.after(store, KEYS, position, **(ROOM | limits))
        assert len(page.entries) <= limits.get("most_entries", 1000)
        assert not page.gap
        found += [value for _, value in page.entries]
        position = page.following
        if not page.more:
            return found
        assert page.entries


COUNTS = st.sampled_from([1, 2, 3, 6, 24])
WRITE = st.tuples(st.just("write"), COUNTS, st.integers(0, 23), st.lists(st.integers(0, 900), min_size=1, max_size=5))
READ = st.tuples(st.just("read"), st.integers(1, 7), st.sampled_from([1, 1000, 1 << 20]), st.none())
HISTORY = st.lists(st.one_of(WRITE, READ), min_size=1, max_size=14)
SKEWS = st.lists(st.integers(-3000, 3000), min_size=1, max_size=5)


def shard_of(count: int, turn: int) -> int:
    """Return the shard of a batch, as a replica with ``count`` shards chooses one."""
    used = shards.in_use("s", count)
    return KEYS.index(used[turn % len(used)])


@given(history=HISTORY, skews=SKEWS)
def test_reading_onwards_gives_each_entry_once_while_the_number_of_shards_changes(
    redis_url: str, history: list[tuple[Any, ...]], skews: list[int]
) -> None:
    async def play() -> None:
        async with world(redis_url, skews) as told:
            found: list[bytes] = []
            position = streams.BEGINNING
            for kind, first, second, lengths in history:
                if kind == "write":
                    await told.write(shard_of(first, second), lengths)
                    continue
                page = await merging.after(told.store, KEYS, position, most_entries=first, most_bytes=second)
                assert len(page.entries) <= first
                assert sum(len(value) for _, value in page.entries[1:]) <= second
                found += [value for _, value in page.entries]
                position = page.following
            found += await rest(told.store, position, most_entries=3)
            assert by_shard(found) == told.written

    asyncio.run(play())


@given(before=HISTORY, later=HISTORY, skews=SKEWS, most=st.integers(1, 9))
def test_the_newest_and_all_before_and_after_them_are_each_entry_once(
    redis_url: str, before: list[tuple[Any, ...]], later: list[tuple[Any, ...]], skews: list[int], most: int
) -> None:
    """A console shows the newest, reads older ones, and follows new ones, which come between the pages."""

    async def play() -> None:
        async with world(redis_url, skews) as told:
            for kind, count, turn, lengths in before:
                if kind == "write":
                    await told.write(shard_of(count, turn), lengths)
            shown = await merging.newest(told.store, KEYS, most_entries=most, most_bytes=1 << 20)
            page = await merging.backwards(told.store, KEYS, count=most)
            newest, backwards = page.newest, list(page.entries)
            assert [value for _, value in shown.entries] == [value for _, value in reversed(page.entries)]
            assert (newest or streams.BEGINNING) == shown.following
            for kind, count, turn, lengths in later:
                if kind == "write":
                    await told.write(shard_of(count, turn), lengths)
                elif page.more:
                    page = await merging.backwards(told.store, KEYS, count=most, before=page.entries[-1][0])
                    backwards += page.entries
            while page.more:
                page = await merging.backwards(told.store, KEYS, count=most, before=page.entries[-1][0])
                backwards += page.entries
            news = await rest(told.store, shown.following)
            assert by_shard([value for _, value in reversed(backwards)] + news) == told.written
            again = await merging.backwards(told.store, KEYS, count=1000, after=newest)
            assert sorted(value for _, value in again.entries) == sorted(news)

    asyncio.run(play())


@given(history=HISTORY, skews=SKEWS, start=st.integers(999_000, 1_001_000), most=st.integers(1, 9))
def test_reading_goes_on_after_any_entry_of_a_page(
    redis_url: str, history: list[tuple[Any, ...]], skews: list[int], start: int, most: int
) -> None:
    async def play() -> None:
        async with world(redis_url, skews) as told:
            for kind, count, turn, lengths in history:
                if kind == "write":
                    await told.write(shard_of(count, turn), lengths)
            limits = {"most_entries": most, "most_bytes": 2000}
            store = told.store
            whole = [value for _, value in (await merging.newest(store, KEYS, **ROOM)).entries]
            for page in (
                await merging.newest(store, KEYS, **limits),
                await merging.after(store, KEYS, streams.BEGINNING, **limits),
                await merging.since(store, KEYS, (start, 0), **limits),
            ):
                for position, value in page.entries:
                    assert await rest(store, position) == whole[whole.index(value) + 1 :]
                if page.entries:
                    assert await rest(store, page.following) == whole[whole.index(page.entries[-1][1]) + 1 :]

    asyncio.run(play())


async def test_entries_are_in_the_order_of_their_ids(redis_url: str) -> None:
    async with world(redis_url) as told:
        for number in range(60):
            await told.write(1 + number % 7, [number])
        whole = sorted((value for values in told.written.values() for value in values), key=lambda one: one[2:])
        assert await rest(told.store, streams.BEGINNING, most_entries=11) == whole
        page = await merging.since(told.store, KEYS, (1_000_031, 0), most_entries=5, most_bytes=1 << 20)
        assert [value for _, value in page.entries] == whole[30:35]


async def test_an_entry_that_arrives_late_in_another_shard_is_read_on_the_next_page(redis_url: str) -> None:
    async with world(redis_url, [0, -5000]) as told:
        await told.write(2, [1])
        first = await merging.after(told.store, KEYS, streams.BEGINNING, **ROOM)
        await told.write(1, [1, 1])  # earlier ids than that of the first
        assert by_shard(await rest(told.store, first.following)) == {1: told.written[1]}


async def test_a_position_of_before_there_were_shards_is_one_of_the_first_key(redis_url: str) -> None:
    async with world(redis_url) as told:
        await told.write(0, [1, 2, 3])
        page = await merging.after(told.store, KEYS[:1], streams.BEGINNING, most_entries=2, most_bytes=1000)
        assert "/" not in page.following
        await told.write(3, [1])
        assert by_shard(await rest(told.store, page.following)) == {0: told.written[0][2:], 3: told.written[3]}


async def test_only_entries_that_are_gone_are_a_gap(redis_url: str) -> None:
    async with world(redis_url) as told:
        client, prefix = told.store.server.client, told.store.prefix
        await told.write(1, [1, 1, 1])
        await told.write(2, [1, 1, 1])
        page = await merging.since(told.store, KEYS, (0, 0), most_entries=2, most_bytes=1000)
        assert not (await merging.after(told.store, KEYS, page.following, **ROOM)).gap, "of the second nothing was read"
        await client.xtrim(prefix + KEYS[2], maxlen=1, approximate=False)
        some = await merging.after(told.store, KEYS, page.following, most_entries=1, most_bytes=1000)
        assert not some.gap, "it has no entry of that shard yet"
        assert (await merging.after(told.store, KEYS, some.following, **ROOM)).gap
        await client.delete(prefix + KEYS[1])
        assert not (await merging.after(told.store, KEYS, (await newest(told.store)).following, **ROOM)).gap


async def newest(store: Store) -> streams.Page:
    return await merging.newest(store, KEYS, **ROOM)


async def test_shards_that_are_empty_or_missing_are_read_as_such(redis_url: str) -> None:
    async with world(redis_url) as told:
        assert await newest(told.store) == streams.Page((), streams.BEGINNING)
        assert await merging.backwards(told.store, KEYS, count=5) == ([], False, "")
        await told.write(4, [1])
        position = (await newest(told.store)).following
        await told.store.server.client.xtrim(told.store.prefix + KEYS[4], maxlen=0, approximate=False)
        for found in (await newest(told.store), await merging.since(told.store, KEYS, (0, 0), **ROOM)):
            assert found == streams.Page((), streams.BEGINNING)
        assert (await merging.after(told.store, KEYS, position, **ROOM)).following == position


@pytest.mark.parametrize("number", [0, 5])
async def test_another_type_in_one_of_the_shards_is_an_error_that_names_its_key(redis_url: str, number: int) -> None:
    async with world(redis_url) as told:
        await told.write(3, [1])
        await told.store.swap(KEYS[number], None, b"text")
        for reading in (
            merging.newest(told.store, KEYS, **ROOM),
            merging.after(told.store, KEYS, streams.BEGINNING, **ROOM),
            merging.backwards(told.store, KEYS, count=5),
        ):
            with pytest.raises(CorruptRecord) as refused:
                await reading
            assert KEYS[number] in refused.value.detail


async def test_large_entries_of_many_shards_are_not_in_memory_at_once(redis_url: str) -> None:
    async with world(redis_url) as told:
        for shard in range(1, 25):
            await told.write(shard, [20_000] * 20)
        asked: list[int] = []
        read = streams.read

        async def counted(store: Store, ranges: Sequence[streams.Range]) -> list[streams.Part]:
            parts = await read(store, ranges)
            asked.append(sum(len(value) for part in parts for _, value in part.entries))
            return parts

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "read", counted)
            page = await merging.after(told.store, KEYS, streams.BEGINNING, **ROOM)
        assert sum(len(value) for _, value in page.entries) <= ROOM["most_bytes"]
        assert len(page.entries) > 40
        assert max(asked) < 3 * ROOM["most_bytes"]


@pytest.mark.parametrize("position", ["x", "1-0/25", "1-0,1-0"])
async def test_what_is_no_position_is_refused(redis_url: str, position: str) -> None:
    async with world(redis_url) as told:
        with pytest.raises(ValueError, match="not a position"):
            await merging.after(told.store, KEYS, position, **ROOM)
        with pytest.raises(ValueError, match="not a position"):
            await merging.backwards(told.store, KEYS, count=1, before=position)
