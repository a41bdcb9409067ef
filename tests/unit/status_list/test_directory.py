"""Blocks of indices: no two processes have the same, and none is used again."""

import asyncio
import os

import pytest
from tests.fakes import FakeClock
from tests.unit.formats.test_minter import grant

from tokenmint.base.errors import CorruptRecord, OutcomeUnknown, StoreUnavailable
from tokenmint.status_list import directory as module
from tokenmint.status_list.directory import BLOCK, LEASE, NAME, OPEN, Directory, Need
from tokenmint.status_list.indices import StatusIndices
from tokenmint.status_list.records import TokenRecords
from tokenmint.storage.redis import Store

NEED = Need("https://orders.example", "ES256", 3600)


class Losses:
    number = 0


@pytest.fixture
def losses() -> Losses:
    return Losses()


def made(store: Store, clock: FakeClock, losses: Losses, size: int = 1000) -> Directory:
    return Directory(store, clock.now, os.urandom, lambda: losses.number, size=size)


async def test_processes_that_take_blocks_at_the_same_time_share_no_index(
    store: Store, clock: FakeClock, losses: Losses
) -> None:
    processes = [made(store, clock, losses) for _ in range(4)]
    blocks = await asyncio.gather(*(process.take(NEED) for process in processes for _ in range(4)))
    taken = [(block.of.list_id, number) for block in blocks for number in range(block.first, block.end)]
    assert len(set(taken)) == len(taken)
    lists = await processes[0].lists()
    assert len(lists) == 4  # of a thousand each, in blocks of which the last is smaller
    assert all(one.next <= one.size for one in lists.values())


async def test_a_list_is_for_one_audience_and_one_algorithm(store: Store, clock: FakeClock, losses: Losses) -> None:
    directory = made(store, clock, losses)
    needs = NEED, Need("https://other.example", "ES256", 3600), Need(NEED.audience, "RS256", 3600)
    assert len({(await directory.take(need)).of.list_id for need in needs}) == 3
    assert (await directory.take(NEED)).first == BLOCK


async def test_a_loss_of_the_store_closes_every_list(store: Store, clock: FakeClock, losses: Losses) -> None:
    """Indices that were taken before it may be unknown to the store."""
    directory = made(store, clock, losses)
    before = await directory.take(NEED)
    losses.number += 1
    after = await directory.take(NEED)
    assert after.of.list_id != before.of.list_id
    assert before.of.list_id in await directory.lists()


async def test_a_list_is_closed_when_it_is_old_and_goes_after_its_last_token(
    store: Store, clock: FakeClock, losses: Losses
) -> None:
    directory = made(store, clock, losses)
    first = await directory.take(NEED)
    clock.advance(OPEN)
    second = await directory.take(NEED)
    assert second.of.list_id != first.of.list_id
    assert first.until >= clock.now() - OPEN + LEASE + NEED.longest
    clock.set(first.until - 1.0)
    assert first.of.list_id in await directory.lists()
    clock.set(first.until + 1.0)
    assert set(await directory.lists()) == {second.of.list_id}
    await directory.take(NEED)
    assert first.of.list_id.encode() not in (await store.get(NAME) or b"")


async def test_there_is_a_bound_of_lists(
    store: Store, clock: FakeClock, losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LISTS", 2)
    directory = made(store, clock, losses)
    for number in range(2):
        await directory.take(Need(f"https://{number}.example", "ES256", 60))
    with pytest.raises(StoreUnavailable):
        await directory.take(NEED)


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"v":2,"lists":[]}', b'{"v":1,"lists":[[1]]}', b'{"v":1,"lists":3}',
                                 b'{"v":1,"lists":[["l","a","ES256","zz",1,2,3,4,5]]}', b"x"])  # fmt: skip
async def test_another_form_is_refused(store: Store, clock: FakeClock, losses: Losses, raw: bytes) -> None:
    await store.swap(NAME, None, raw)
    with pytest.raises(CorruptRecord):
        await made(store, clock, losses).take(NEED)


class TestIndices:
    """Tokens get indices without a round trip for each."""

    async def test_a_block_is_taken_once_for_many_tokens_that_come_together(
        self, store: Store, clock: FakeClock, losses: Losses, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        directory = made(store, clock, losses)
        taken = 0
        take = Directory.take

        async def counted(self: Directory, need: Need) -> object:
            nonlocal taken
            taken += 1
            return await take(self, need)

        monkeypatch.setattr(Directory, "take", counted)
        indices = StatusIndices("https://me", directory, TokenRecords(store))
        now = int(clock.now())
        grants = grant(status_list=3600, issued_at=now, expires_at=now + 600)
        entries = await asyncio.gather(*(indices.enter(grants, "k", f"t{number}") for number in range(300)))
        assert taken == 2
        assert len({str(one["status_list"]) for one in entries}) == 300

    async def test_a_block_that_ends_before_the_token_or_its_lease_is_left(
        self, store: Store, clock: FakeClock, losses: Losses
    ) -> None:
        indices = StatusIndices("https://me", made(store, clock, losses), TokenRecords(store))
        now = int(clock.now())
        await indices.enter(grant(status_list=60, issued_at=now, expires_at=now + 60), "k", "one")
        [held] = indices._held.values()
        clock.advance(LEASE)
        later = now + int(LEASE)
        await indices.enter(grant(status_list=60, issued_at=later, expires_at=later + 60), "k", "two")
        [now_held] = indices._held.values()
        assert now_held.block.first == held.block.end
        assert now_held.block.until >= later + 60

    async def test_a_record_that_is_not_confirmed_refuses_the_token(
        self, store: Store, clock: FakeClock, losses: Losses, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        indices = StatusIndices("https://me", made(store, clock, losses), TokenRecords(store))

        async def away(*_: object, **__: object) -> None:
            raise OutcomeUnknown()

        monkeypatch.setattr(store, "run", away)
        now = int(clock.now())
        with pytest.raises(OutcomeUnknown):
            await indices.enter(grant(status_list=60, issued_at=now, expires_at=now + 60), "k", "one")
