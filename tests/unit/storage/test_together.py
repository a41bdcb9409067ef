"""Reads that are made together: each caller gets its own values, and none older than its question."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.storage.together import BATCH, ReadsTogether


class Held:
    """A store whose reads the test answers."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.answers: list[asyncio.Future[list[Any]]] = []

    async def get_many(self, keys: Sequence[str]) -> list[Any]:
        self.asked.append(list(keys))
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    async def until(self, reads: int) -> None:
        async with asyncio.timeout(20):
            while len(self.asked) < reads:  # noqa: ASYNC110  # until a task has begun
                await asyncio.sleep(0)

    def answer(self, read: int, **values: Any) -> None:
        self.answers[read].set_result([values.get(key) for key in self.asked[read]])


@pytest.fixture
def store() -> Held:
    return Held()


def start(reads: ReadsTogether, *keys: str) -> "asyncio.Task[list[Any]]":
    return asyncio.get_running_loop().create_task(reads.get_many(keys))


async def test_calls_of_one_turn_are_read_together_and_each_gets_its_own(store: Held) -> None:
    reads = ReadsTogether(store)  # type: ignore[arg-type]
    calls = [start(reads, "a", "b"), start(reads, "b"), start(reads, "c", "a"), start(reads)]
    await store.until(1)
    assert store.asked == [["a", "b", "c"]]
    corrupt = CorruptRecord()
    store.answer(0, a=b"1", b=corrupt)
    assert await asyncio.gather(*calls) == [[b"1", corrupt], [corrupt], [None, b"1"], []]


async def test_a_call_never_joins_a_read_that_is_on_its_way(store: Held) -> None:
    reads = ReadsTogether(store)  # type: ignore[arg-type]
    first = start(reads, "a")
    await store.until(1)
    second, third = start(reads, "a"), start(reads, "b")
    await asyncio.sleep(0)
    store.answer(0, a=b"old")
    assert await first == [b"old"]
    await store.until(2)
    assert store.asked[1:] == [["a", "b"]]
    store.answer(1, a=b"new")
    assert (await second, await third) == ([b"new"], [None])


async def test_a_read_that_hangs_holds_up_no_later_call(store: Held) -> None:
    reads = ReadsTogether(store)  # type: ignore[arg-type]
    hanging = start(reads, "a")
    await store.until(1)
    later = start(reads, "b")
    await store.until(2)  # after a moment, without an answer of the first
    store.answer(1, b=b"2")
    assert await later == [b"2"]
    store.answer(0)
    assert await hanging == [None]


async def test_an_error_of_the_store_is_the_answer_of_each_call_and_of_no_later_one(store: Held) -> None:
    reads = ReadsTogether(store)  # type: ignore[arg-type]
    calls = [start(reads, "a"), start(reads, "b")]
    await store.until(1)
    store.answers[0].set_exception(StoreUnavailable())
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call
    later = start(reads, "a")
    await store.until(2)
    store.answer(1, a=b"1")
    assert await later == [b"1"]


async def test_a_call_that_was_given_up_takes_nothing_from_the_others(store: Held) -> None:
    reads = ReadsTogether(store)  # type: ignore[arg-type]
    early, kept = start(reads, "a"), start(reads, "b")
    await asyncio.sleep(0)
    early.cancel()
    await store.until(1)
    late = start(reads, "c")
    await store.until(2)
    late.cancel()
    store.answer(0, b=b"2")
    assert await kept == [b"2"]
    store.answer(1, c=b"3")
    for call in (early, late):
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_read_that_is_cancelled_is_an_answer_too(store: Held) -> None:
    reads = ReadsTogether(store)  # type: ignore[arg-type]
    call = start(reads, "a")
    await store.until(1)
    [read] = reads._reads
    read.cancel()
    with pytest.raises(StoreUnavailable):
        await call


async def test_a_read_has_a_bounded_number_of_calls(store: Held) -> None:
    reads = ReadsTogether(store)  # type: ignore[arg-type]
    calls = [start(reads, str(number)) for number in range(2 * BATCH + 1)]
    await store.until(3)
    assert [len(keys) for keys in store.asked] == [BATCH, BATCH, 1]
    for read in range(3):
        store.answer(read, **{key: key.encode() for key in store.asked[read]})
    assert await asyncio.gather(*calls) == [[str(number).encode()] for number in range(2 * BATCH + 1)]
