"""The stream of exchanges, spread over shards: where batches go, and what becomes of them if a shard fails."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.fakes import FakeClock

from tokenmint.admission import audit, audit_pages
from tokenmint.admission.audit import EXCHANGE_SHARDS, AuditLimits, AuditTrail
from tokenmint.admission.audit_reading import Query, RefusalCounts, events
from tokenmint.admission.audit_stream import BATCH, DROPPED_AT_ONCE, LAST_ATTEMPT, LONGEST_REST, REST, ROUNDS
from tokenmint.base.errors import AuditUnavailable, CorruptRecord, OutcomeUnknown, StoreUnavailable
from tokenmint.storage import merging, shards, streams
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

ROOM = {"most_events": 1000, "most_bytes": 1 << 20}


def trail_of(store: Store, clock: FakeClock, count: int, *, required: bool = False, most: int = 100_000) -> AuditTrail:
    return AuditTrail(store, clock, AuditLimits(shards=count, required=required, exchange_events=most))


def note(trail: AuditTrail, numbers: Sequence[int]) -> None:
    for number in numbers:
        trail.note({"kind": "exchange", "number": number})


async def numbers_in(store: Store, key: str) -> list[int]:
    entries = await store.server.client.xrange(store.prefix + key)
    return [json.loads(fields[b"event"])["number"] for _, fields in entries]


async def every_number(store: Store) -> list[int]:
    """Return the numbers of all events, read page by page."""
    found: list[int] = []
    position, more = streams.BEGINNING, True
    while more:
        page = await audit_pages.audit_page(store, EXCHANGE_SHARDS, position=position, **ROOM)
        found += [json.loads(value)["number"] for _, value in page.entries]
        position, more = page.following, page.more
    return found


async def spoil(store: Store, key: str) -> None:
    """Let a key hold something else than a stream."""
    await store.server.client.delete(store.prefix + key)
    await store.server.client.set(store.prefix + key, b"text")


async def test_each_batch_goes_to_one_shard_and_the_next_to_another(store: Store, clock: FakeClock) -> None:
    trail = trail_of(store, clock, 3)
    note(trail, range(7 * BATCH))
    await trail.flush()
    keys = shards.in_use(audit.EXCHANGES, 3)
    held = [await numbers_in(store, key) for key in keys]
    assert [len(numbers) for numbers in held] == [3 * BATCH, 2 * BATCH, 2 * BATCH]
    assert all(numbers == sorted(numbers) for numbers in held)
    assert held[1][:BATCH] == list(range(BATCH, 2 * BATCH))
    assert not await merging.present(store, EXCHANGE_SHARDS[:1] + EXCHANGE_SHARDS[4:])
    assert sorted(await every_number(store)) == list(range(7 * BATCH))


async def test_operators_actions_stay_one_stream(store: Store, clock: FakeClock) -> None:
    trail = trail_of(store, clock, 6)
    for _ in range(4):
        await trail.record({"kind": "admin"})
    assert await store.server.client.xlen(store.prefix + audit.ADMIN) == 4


@pytest.mark.parametrize("count", [1, 4])
async def test_all_shards_together_hold_about_as_many_events_as_one(store: Store, clock: FakeClock, count: int) -> None:
    trail = trail_of(store, clock, count, most=4000)
    for start in range(0, 12_000, 2000):
        note(trail, range(start, start + 2000))
        await trail.flush()
    kept = await every_number(store)
    assert 4000 <= len(kept) <= 4000 + count * 200
    assert set(kept) > set(range(12_000 - 3000, 12_000))


async def test_a_batch_goes_to_another_shard_if_its_own_fails(store: Store, clock: FakeClock) -> None:
    trail = trail_of(store, clock, 3, required=True)
    keys = shards.in_use(audit.EXCHANGES, 3)
    await spoil(store, keys[1])
    for number in range(6):
        note(trail, [number])
        await trail.flush()
    trail.check()
    assert sorted(await numbers_in(store, keys[0]) + await numbers_in(store, keys[2])) == list(range(6))
    assert trail.problem.startswith("audit.shards: 1 of 3 shards accept no events, which go to others (")
    assert keys[1] in trail.problem
    await store.server.client.delete(store.prefix + keys[1])
    clock.advance(REST)
    for number in range(6, 9):
        note(trail, [number])
        await trail.flush()
    assert trail.problem == ""
    assert sorted(await every_number(store)) == list(range(9))
    assert trail.dropped == {"exchanges": 0, "admin": 0}


async def test_a_shard_that_failed_is_left_out_for_a_while(store: Store, clock: FakeClock) -> None:
    """Each attempt may last until its time-out, and events wait meanwhile."""
    trail = trail_of(store, clock, 2)
    keys = shards.in_use(audit.EXCHANGES, 2)
    await spoil(store, keys[0])
    tried: list[str] = []
    append = store.append

    async def counted(key: str, *arguments: object, **options: object) -> None:
        tried.append(key)
        await append(key, *arguments, **options)  # type: ignore[arg-type]  # passed on

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "append", counted)
        for number in range(4):
            note(trail, [number])
            await trail.flush()
        assert tried == [keys[0], *[keys[1]] * 4]
        clock.advance(REST)
        note(trail, [4])
        await trail.flush()
        note(trail, [5])
        await trail.flush()
        assert tried[5:].count(keys[0]) == 1
        for rest in (2 * REST, 4 * REST, 8 * REST, LONGEST_REST, LONGEST_REST):
            tried.clear()
            for pause in (rest - 1, 1.0):
                clock.advance(pause)
                for number in range(2):
                    note(trail, [number])
                    await trail.flush()
                assert tried.count(keys[0]) == (pause == 1.0)


async def test_an_exchange_that_has_to_be_recorded_is_refused_only_if_all_shards_fail(
    store: Store, clock: FakeClock
) -> None:
    trail = trail_of(store, clock, 2, required=True)
    keys = shards.in_use(audit.EXCHANGES, 2)
    for key in keys:
        await spoil(store, key)
    note(trail, [1])
    with pytest.raises(CorruptRecord):
        await trail.flush()
    with pytest.raises(AuditUnavailable):
        trail.check()
    assert trail.problem.startswith("1 events wait for the store (")
    await store.server.client.delete(store.prefix + keys[1])
    await trail.flush()  # though both rest: there is no other
    trail.check()
    assert await numbers_in(store, keys[1]) == [1]


async def test_shards_that_hang_are_not_all_waited_for(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a batch has reached one, no exchange may rely on the stream; the next attempt begins with other shards."""
    trail = trail_of(store, clock, 6, required=True)
    keys = shards.in_use(audit.EXCHANGES, 6)
    tried: list[str] = []
    append = store.append

    async def hangs(key: str, *arguments: object, **options: object) -> None:
        tried.append(key)
        if key not in keys[:3]:
            await append(key, *arguments, **options)  # type: ignore[arg-type]  # passed on
            return
        clock.advance(6.0)
        raise OutcomeUnknown(detail="too late")

    monkeypatch.setattr(store, "append", hangs)
    note(trail, [1])
    with pytest.raises(OutcomeUnknown):
        await trail.flush()
    assert tried == list(keys[:2])
    assert trail.problem.startswith("1 events wait for the store (too late)")
    with pytest.raises(AuditUnavailable):
        trail.check()
    await trail.flush()
    assert tried[2:] == [keys[2], keys[3]]
    trail.check()


async def test_a_shard_that_hangs_while_a_process_stops_leaves_time_for_others(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time-out of a write is longer than the time in which a process stops."""
    assert 2 * LAST_ATTEMPT < audit.CLOSING
    monkeypatch.setattr(audit, "LAST_ATTEMPT", 3.0)  # a shard that works has more of it on a busy machine
    monkeypatch.setattr(audit, "CLOSING", 40.0)
    trail = trail_of(store, clock, 3)
    keys = shards.in_use(audit.EXCHANGES, 3)
    append = store.append

    async def hangs(key: str, *arguments: object, **options: object) -> None:
        if key == keys[1]:
            await asyncio.Event().wait()
        await append(key, *arguments, **options)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(store, "append", hangs)
    note(trail, range(4 * BATCH))
    await trail.close()
    assert sorted(await every_number(store)) == list(range(4 * BATCH))


async def test_a_failed_record_outside_of_batches_refuses_no_exchange(store: Store, clock: FakeClock) -> None:
    """No exchange would follow it, whose batch could show that the stream works again."""
    trail = trail_of(store, clock, 1, required=True)
    await spoil(store, audit.EXCHANGES)
    with pytest.raises(CorruptRecord):
        await trail.record({"kind": "exchange"})
    await trail.flush()
    trail.check()


async def test_events_of_exchanges_do_not_wait_for_operators_stream(store: Store, clock: FakeClock) -> None:
    trail = trail_of(store, clock, 3, required=True)
    await spoil(store, audit.ADMIN)
    trail.note({"kind": "admin"})
    note(trail, [1])
    with pytest.raises(CorruptRecord):
        await trail.flush()
    trail.check()
    assert await every_number(store) == [1]
    assert audit.ADMIN in trail.problem


async def test_events_that_no_shard_takes_are_kept_or_counted(store: Store, clock: FakeClock) -> None:
    broken = Store(replace(store.url, socket_path="/nonexistent"), store.prefix, store.options)
    trail = AuditTrail(broken, clock, AuditLimits(shards=4, waiting_events=5))
    note(trail, range(8))
    with pytest.raises(StoreUnavailable):
        await trail.flush()
    assert trail.dropped["exchanges"] == 3
    trail._store = store
    await trail.flush()
    assert await every_number(store) == list(range(5))
    await broken.close()


@pytest.mark.parametrize(("before", "later"), [(6, 1), (1, 6), (6, 2), (2, 3)])
async def test_shards_that_are_not_in_use_keep_what_newer_events_did_not_displace(
    store: Store, clock: FakeClock, before: int, later: int
) -> None:
    old = trail_of(store, clock, before, most=3000)
    note(old, range(1200))
    await old.flush()
    new = trail_of(store, clock, later, most=3000)
    note(new, range(1200, 1800))
    await new.flush()
    await new._tidy()
    assert sorted(await every_number(store)) == list(range(1800)), "there is room for all"
    for start in range(1800, 9000, BATCH):
        note(new, range(start, start + BATCH))
        await new.flush()
    await new._tidy()
    left = sorted(await every_number(store))
    assert left[0] > 1800
    assert left[-1] == 8999
    assert len(left) <= 3000 + 6 * 200
    assert await merging.present(store, EXCHANGE_SHARDS), "positions of readers stay valid"


async def test_what_is_dropped_at_once_is_bounded(store: Store, clock: FakeClock) -> None:
    many = DROPPED_AT_ONCE * ROUNDS + 300
    old = trail_of(store, clock, 2, most=10 * many)
    key = shards.in_use(audit.EXCHANGES, 2)[0]
    await store.append(key, [b"{}"] * many, most_entries=10 * many, most_bytes=1 << 30, durable=False)
    new = trail_of(store, clock, 1, most=1000)
    for start in range(0, 3000, BATCH):
        note(new, range(start, start + BATCH))
        await new.flush()
    await new._tidy()
    assert await store.server.client.xlen(store.prefix + key) == 300
    await new._tidy()
    assert await store.server.client.xlen(store.prefix + key) == 0
    await old.close()


async def test_replicas_with_different_numbers_take_nothing_from_each_other(store: Store, clock: FakeClock) -> None:
    trails = [trail_of(store, clock, count, most=1_000_000) for count in (1, 2, 6)]
    for number in range(300):
        trail = trails[number % 3]
        note(trail, [number])
        await trail.flush()
        if number % 50 == 0:
            for one in trails:
                await one._tidy()
    assert sorted(await every_number(store)) == list(range(300))


async def test_a_shard_that_others_keep_smaller_is_not_full(store: Store, clock: FakeClock) -> None:
    """A replica with a larger number drops older events of a shard earlier than those with a smaller number would."""
    old, new = trail_of(store, clock, 12, most=12_000), trail_of(store, clock, 2, most=12_000)
    for start in range(0, 24_000, 2 * BATCH):
        note(old, range(start, start + 2 * BATCH))
        await old.flush()
    unused = EXCHANGE_SHARDS[3:13]
    before = [await numbers_in(store, key) for key in unused]
    for start in range(24_000, 34_000, BATCH):
        trail = old if start % (2 * BATCH) == 0 else new
        note(trail, range(start, start + BATCH))
        await trail.flush()
        await new._tidy()
    after = [await numbers_in(store, key) for key in unused]
    kept = {number for numbers in after for number in numbers}
    newest = {number for numbers in before for number in numbers if number >= 34_000 - 12_000}
    assert newest <= kept, "one stream would have kept them"


async def test_a_shard_is_full_by_its_bytes_too(store: Store, clock: FakeClock) -> None:
    old = trail_of(store, clock, 2)
    note(old, range(10))
    await old.flush()
    new = AuditTrail(store, clock, AuditLimits(exchange_bytes=20_000))
    note(new, range(100))
    await new.flush()
    await new._tidy()
    assert len(await numbers_in(store, EXCHANGE_SHARDS[1])) == 10
    note(new, range(100, 400))
    await new.flush()
    await new._tidy()
    assert await numbers_in(store, EXCHANGE_SHARDS[1]) == []


async def test_refusals_of_all_shards_are_counted_and_listed_once(store: Store, clock: FakeClock) -> None:
    counts = RefusalCounts(store, clock, frozenset({"EXPIRED"}))
    number = 0
    for count in (1, 3, 6, 2):
        trail = trail_of(store, clock, count)
        for _ in range(7):
            trail.note({"kind": "exchange", "caller": f"c{number}", "reason": "EXPIRED", "time": clock.now()})
            number += 1
            await trail.flush()
        assert (await counts.read()).day == {"EXPIRED": number}
    found, before = [], ""
    while True:
        page = await events(store, Query(outcome="refused"), most=5, before=before)
        found += [event["caller"] for event in page.events]
        before = page.older
        if not before:
            break
    assert sorted(found) == sorted(f"c{each}" for each in range(number))
    newest = (await events(store, Query(), most=1)).newest
    assert (await events(store, Query(), most=9, after=newest)).events == ()
    trail = trail_of(store, clock, 6)
    note(trail, [1])
    await trail.flush()
    assert len((await events(store, Query(), most=9, after=newest)).events) == 1
