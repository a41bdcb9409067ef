"""The near cache: what the store tells of is never used, nor what it may not have told of."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.fakes import FakeClock

from tokenmint.base.background import Background
from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.model.secret import Secret
from tokenmint.profiles import near_cache as nearcache
from tokenmint.profiles.near_cache import PROFILE, NearCache
from tokenmint.profiles.near_entries import Lane, size_of
from tokenmint.storage.reading import Reading
from tokenmint.storage.redis import Store

KEY = "profile:ada"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # what is awaited comes from the store
            await asyncio.sleep(0.005)


async def advance_until(clock: FakeClock, holds: Callable[[], bool]) -> None:
    """Let an interval pass until something holds. A write that was late begins its next interval late, so try again."""
    patience = 0.25
    async with asyncio.timeout(60):
        while not holds():
            clock.advance(nearcache.PROOF_INTERVAL)
            patience *= 2
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while not holds():  # noqa: ASYNC110  # as above
                        await asyncio.sleep(0.005)


def the_lane(cache: NearCache) -> Lane:
    """Return the reports of the one server."""
    (lane,) = cache._lanes.values()
    return lane


def place(store: Store) -> str:
    """Return the one server, as a read names it."""
    return store.url.socket_path or "{}:{}".format(*store.url.hosts[0])


@pytest.fixture
async def cache(store: Store, clock: FakeClock, background: Background, monkeypatch: pytest.MonkeyPatch) -> NearCache:
    """A cache that follows changes. Its connection bears a silence of the store: the machine may be busy."""
    track = store.track
    monkeypatch.setattr(store, "track", lambda prefixes, _: track(prefixes, 60.0))
    made = NearCache(store, ("profile:",), 100 * PROFILE, clock)
    made.follow(background)
    await until(lambda: made.live)
    return made


@pytest.fixture
def reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The keys that were read from the store, a list for each round trip."""
    asked: list[list[str]] = []
    real = store.read_many

    async def read_many(keys: Sequence[str]) -> Reading:
        asked.append(list(keys))
        return await real(keys)

    monkeypatch.setattr(store, "read_many", read_many)
    return asked


async def test_a_value_is_remembered_and_its_absence_too(
    cache: NearCache, store: Store, reads: list[list[str]]
) -> None:
    await store.swap(KEY, None, b"1", durable=False)
    assert [await cache.get(KEY), await cache.get(KEY), await cache.get("profile:none")] == [b"1", b"1", None]
    assert await cache.get("profile:none") is None
    assert sum(len(keys) for keys in reads) <= 3  # the notice of the first write may have come between


async def test_what_is_wanted_at_the_same_time_is_one_round_trip(cache: NearCache, reads: list[list[str]]) -> None:
    await until(lambda: not cache._batches)
    await asyncio.gather(*(cache.get(f"profile:{number % 20}") for number in range(100)))
    assert [sorted(keys) for keys in reads] == [sorted(f"profile:{number}" for number in range(20))]


async def test_another_process_changes_a_value(cache: NearCache, store: Store) -> None:
    await store.swap(KEY, None, b"1", durable=False)
    assert await cache.get(KEY) == b"1"
    await store.swap(KEY, b"1", b"2", durable=False)
    await until(lambda: KEY not in cache._entries)
    assert await cache.get(KEY) == b"2"


async def test_a_late_reply_never_overwrites_an_invalidation(
    cache: NearCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, real = asyncio.Event(), store.read_many
    await store.swap(KEY, None, b"old", durable=False)

    async def slow(keys: Sequence[str]) -> Reading:
        values = await real(keys)
        await gate.wait()
        return values

    monkeypatch.setattr(store, "read_many", slow)
    first = asyncio.ensure_future(cache.get(KEY))
    await until(lambda: KEY in cache._flights)
    await asyncio.sleep(0)
    flight = cache._flights[KEY]
    cache.forget(KEY)
    monkeypatch.setattr(store, "read_many", real)
    await store.swap(KEY, b"old", b"new", durable=False)
    assert await cache.get(KEY) == b"new"  # not answered by the read that was overtaken
    gate.set()
    assert await first in (b"old", b"new")
    assert flight.overtaken
    entry = cache._entries.get(KEY)
    assert entry is None or entry.raw == b"new"


async def test_nothing_is_used_that_is_older_than_a_minute_or_not_told_of_for_1_s(
    cache: NearCache, clock: FakeClock, reads: list[list[str]]
) -> None:
    assert await cache.get(KEY) is None
    clock.advance(nearcache.HEARTBEAT + 0.01)  # and no heartbeat yet at the new time
    assert not cache.live
    await cache.get(KEY)
    assert len(reads) == 2
    await until(lambda: cache.live)
    cache._entries[KEY].reading.asked -= nearcache.MAX_AGE + 0.01
    await cache.get(KEY)
    assert len(reads) == 3


async def test_nothing_is_used_while_reports_are_of_another_server_than_the_one_that_is_written_to(
    cache: NearCache, store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    async def elsewhere(key: str, *, ttl: float) -> None:
        written.append(key)

    async def pass_time(seconds: float) -> None:
        begun = clock.monotonic()
        while clock.monotonic() - begun <= seconds:
            before = len(written)
            await advance_until(clock, lambda: len(written) > before)  # noqa: B023  # awaited within the round

    await cache.get(KEY)
    lane = the_lane(cache)
    await until(lambda: lane.unproven is None)
    monkeypatch.setattr(store, "touch", elsewhere)
    await pass_time(nearcache.PROOF)
    assert not cache.live
    heard = lane.complete_until
    await until(
        lambda: (
            lane.complete_until > heard
            or clock.monotonic() - heard <= nearcache.HEARTBEAT
            or lane not in cache._lanes.values()
        )
    )
    assert not cache.live  # the heartbeat goes on
    await pass_time(nearcache.UNREPORTED * nearcache.PROOF_INTERVAL)
    await until(lambda: lane not in cache._lanes.values())  # another connection may lead to the other server
    monkeypatch.undo()
    await advance_until(clock, lambda: cache.live)
    assert the_lane(cache) is not lane


async def test_a_late_report_proves_the_time_of_the_first_write_that_it_may_be_of(
    cache: NearCache, clock: FakeClock
) -> None:
    lane = the_lane(cache)
    lane.unproven = first = clock.monotonic() - 3.0
    await cache._prove()
    await until(lambda: lane.unproven is None)
    assert lane.proven_at == first


async def test_what_is_too_old_is_let_go(cache: NearCache, clock: FakeClock) -> None:
    await cache.get("profile:old")
    clock.advance(nearcache.MAX_AGE)
    await until(lambda: cache.live)
    await cache.get("profile:new")
    clock.advance(nearcache.PROOF_INTERVAL)
    await until(lambda: "profile:old" not in cache._entries)
    assert (list(cache._entries), cache.size) == (["profile:new"], size_of("profile:new", None))


async def test_a_broken_connection_forgets_everything_until_it_is_told_again(cache: NearCache, store: Store) -> None:
    await cache.get(KEY)
    clients = await store.server.client.execute_command("CLIENT", "LIST")
    for line in clients.decode().splitlines():
        fields = dict(item.partition("=")[::2] for item in line.split())
        if "B" in fields["flags"] or "t" in fields["flags"]:
            await store.server.client.execute_command("CLIENT", "KILL", "ID", fields["id"])
    await until(lambda: not cache.live)
    assert len(cache) == 0
    await cache.get(KEY)
    assert len(cache) == 0 or cache.live  # bypassed until it is told of changes again
    await until(lambda: cache.live)


async def test_it_is_bounded_and_off_at_0(store: Store, clock: FakeClock) -> None:
    cache = NearCache(store, ("profile:",), 100 * PROFILE, clock)
    lane = cache._lanes[place(store)] = Lane("near:", None)
    lane.complete_until = clock.monotonic()  # as if the store reported changes
    keys = [f"profile:{number}" for number in range(1000)]
    await store.swap(keys[-1], None, b"x" * 20_000, durable=False)
    for some in (keys, keys[::-1], keys):
        await asyncio.gather(*map(cache.get, some))
        assert cache.size == sum(size_of(key, entry.raw) for key, entry in cache._entries.items()) <= 100 * PROFILE
        assert len(cache) > 100
    cache.flush()
    assert (len(cache), cache.size) == (0, 0)
    off = NearCache(store, ("profile:",), 0, clock)
    assert await off.get(KEY) is None
    assert (off.enabled, len(off)) == (False, 0)


async def test_an_invalidation_before_a_read_has_left_leaves_nobody_waiting(cache: NearCache, store: Store) -> None:
    await store.swap(KEY, None, b"1", durable=False)
    first = asyncio.ensure_future(cache.get(KEY))
    await asyncio.sleep(0)  # it is wanted, and not asked for yet
    cache.forget(KEY)
    second = asyncio.ensure_future(cache.get(KEY))
    async with asyncio.timeout(20):
        assert [await first, await second] == [b"1", b"1"]


async def test_who_gives_up_takes_nobody_elses_answer_away(cache: NearCache, store: Store) -> None:
    await store.swap(KEY, None, b"1", durable=False)
    gives_up, waits = asyncio.ensure_future(cache.get(KEY)), asyncio.ensure_future(cache.get(KEY))
    await asyncio.sleep(0)
    gives_up.cancel()
    async with asyncio.timeout(20):
        assert await waits == b"1"


async def test_while_a_read_is_on_its_way_others_are_gathered(
    cache: NearCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, asked, real = asyncio.Event(), list[int](), store.read_many

    async def slow(keys: Sequence[str]) -> Reading:
        asked.append(len(keys))
        await gate.wait()
        return await real(keys)

    monkeypatch.setattr(store, "read_many", slow)
    monkeypatch.setattr(nearcache, "LINGER", 3600.0)
    first = asyncio.ensure_future(cache.get("profile:0"))
    await until(lambda: asked == [1])
    others = [asyncio.ensure_future(cache.get(f"profile:{number}")) for number in range(1, 30)]
    await asyncio.sleep(0)
    assert asked == [1]
    gate.set()
    await asyncio.gather(first, *others)
    assert asked == [1, 29]


async def test_a_noted_failure_is_that_of_the_next_reader_alone(
    cache: NearCache, store: Store, clock: FakeClock
) -> None:
    await store.swap(KEY, None, b"1", durable=False)
    failure = StoreUnavailable(detail="noted")
    cache.note_failure(KEY, failure)
    with pytest.raises(StoreUnavailable) as raised:
        await cache.get(KEY)
    assert raised.value is failure
    assert await cache.get(KEY) == b"1"
    cache.forget(KEY)
    cache.note_failure(KEY, failure)
    clock.advance(nearcache.FAILURE_LIFE + 0.01)
    assert await cache.get(KEY) == b"1", "nobody came for it in time"
    for number in range(nearcache.FAILURES + 10):
        cache.note_failure(str(number), failure)
    assert len(cache._failures) == nearcache.FAILURES


async def test_a_value_of_another_type_is_no_absence_and_nobody_elses_trouble(cache: NearCache, store: Store) -> None:
    await store.swap(KEY, None, b"1", durable=False)
    await store.server.client.hset(store.prefix + "profile:foreign", "a", "b")
    answers = await asyncio.gather(
        *(cache.get(key) for key in (KEY, "profile:foreign", "profile:none")), return_exceptions=True
    )
    assert [answers[0], answers[2]] == [b"1", None]
    assert isinstance(answers[1], CorruptRecord)
    with pytest.raises(CorruptRecord, match="names the record"):
        await cache.get("profile:foreign")


async def test_a_read_from_before_changes_were_told_of_is_not_remembered(
    store: Store, clock: FakeClock, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, asked = asyncio.Event(), asyncio.Event()
    real, cache = store.read_many, NearCache(store, ("profile:",), 100 * PROFILE, clock)
    await store.swap(KEY, None, b"old", durable=False)

    async def slow(keys: Sequence[str]) -> Reading:
        values = await real(keys)
        asked.set()
        await gate.wait()
        return values

    monkeypatch.setattr(store, "read_many", slow)
    first = asyncio.ensure_future(cache.get(KEY))
    await asyncio.wait_for(asked.wait(), 20)
    await store.swap(KEY, b"old", b"new", durable=False)  # told to nobody
    cache.follow(background)
    await until(lambda: cache.live)
    monkeypatch.setattr(store, "read_many", real)
    gate.set()
    assert await first == b"old"
    assert await cache.get(KEY) == b"new"


async def test_a_foreign_key_that_is_not_utf_8_ends_nothing(cache: NearCache, store: Store) -> None:
    await store.server.client.set(store.prefix.encode() + b"profile:\xff", b"x")
    await store.swap(KEY, None, b"1", durable=False)
    assert await cache.get(KEY) == b"1"
    await store.swap(KEY, b"1", b"2", durable=False)
    await until(lambda: KEY not in cache._entries)
    await until(lambda: cache.live)


async def test_a_user_of_the_store_who_may_not_follow_changes_reads_each_time(
    store: Store, redis_url: str, redis_prefix: str, clock: FakeClock, background: Background
) -> None:
    name = f"user-{redis_prefix.strip(':')}"
    await store.server.client.execute_command(
        "ACL", "SETUSER", name, "on", ">secret", "~*", "&*", "+@all", "-client|tracking"
    )
    await store.swap(KEY, None, b"1", durable=False)
    limited = await Store.open(
        redis_url, prefix=store.prefix, options=replace(store.options, username=name, password=Secret("secret"))
    )
    try:
        cache = NearCache(limited, ("profile:",), 100 * PROFILE, clock)
        cache.follow(background)
        await until(lambda: "near cache notices" in background.failing())
        assert [await cache.get(KEY), await cache.get(KEY)] == [b"1", b"1"]
        assert not cache.live
        assert len(cache) == 0
    finally:
        await limited.close()
