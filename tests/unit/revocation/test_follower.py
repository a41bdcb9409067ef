"""Each process's copy of the log: complete, never smaller until entries expire, and honest about its age."""

import asyncio
from dataclasses import dataclass, field

import pytest
from tests.fakes import FakeClock

from tokenmint.base.errors import CorruptRecord, DependencyUnavailable
from tokenmint.revocation.entries import Kind, Revocation
from tokenmint.revocation.follower import PRUNE, STALE, Revocations, World
from tokenmint.revocation.log import KEY, Reach, RevocationLog
from tokenmint.storage.redis import Store


@dataclass
class Elsewhere:
    """The facts from elsewhere, which tests change."""

    losses: int = 0
    accepted: int = 0
    keys: dict[str, float] = field(default_factory=dict)
    clock_problem: str = ""


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def log(store: Store, clock: FakeClock) -> RevocationLog:
    return RevocationLog(store, Reach(clock.now, lambda: 600.0), most=10_000)


@pytest.fixture
def copy(log: RevocationLog, clock: FakeClock, elsewhere: Elsewhere) -> Revocations:
    world = World(
        clock.now,
        lambda: elsewhere.losses,
        lambda: elsewhere.losses > elsewhere.accepted,
        lambda: elsewhere.keys,
        lambda: elsewhere.clock_problem,
    )
    return Revocations(log, world, clock)


def names(copy: Revocations) -> list[str]:
    held, _, more = copy.after(0, 10_000)
    assert not more
    return [one.revocation.name for one in held]


def test_it_tells_no_time_while_a_clock_is_wrong(copy: Revocations, clock: FakeClock, elsewhere: Elsewhere) -> None:
    assert copy.time() == clock.now()
    elsewhere.clock_problem = "the clocks differ"
    assert copy.time() is None


async def test_it_has_everything_over_any_number_of_pages(
    log: RevocationLog, copy: Revocations, clock: FakeClock
) -> None:
    tokens = [Revocation(Kind.TOKEN, f"t{number}", 0, int(clock.now()) + 600) for number in range(2500)]
    for start in range(0, 2500, 500):
        await log.append(*tokens[start : start + 500])
    await copy.refresh()
    assert names(copy) == [one.name for one in tokens]
    cursor, pages, more = 0, [], True
    while more:
        held, cursor, more = copy.after(cursor, 1000)
        pages.append(len(held))
    assert pages == [1000, 1000, 500]
    await log.append(log.of(Kind.CLIENT, "web", int(clock.now())))
    await copy.refresh()
    held, _, more = copy.after(cursor, 1000)
    assert ([one.revocation.name for one in held], more) == (["web"], False)


async def test_a_superseded_entry_is_not_shown_again(log: RevocationLog, copy: Revocations, clock: FakeClock) -> None:
    now = int(clock.now())
    await log.append(log.of(Kind.CLIENT, "web", now), log.of_token("a", now))
    await copy.refresh()
    await log.append(log.of(Kind.CLIENT, "web", now + 1))
    await copy.refresh()
    assert names(copy) == ["a", "web"]
    assert copy.valid_after(Kind.CLIENT, "web") == now + 1
    assert copy.bulk.covers(Kind.CLIENT, "web", now + 1.5)
    assert not copy.bulk.covers(Kind.CLIENT, "web", now + 2)


async def test_an_entry_is_never_replaced_by_a_weaker_one(
    log: RevocationLog, copy: Revocations, store: Store, clock: FakeClock
) -> None:
    """As after a loss of the store, when a clock is behind: the log itself keeps the later second."""
    now = int(clock.now())
    await log.append(Revocation(Kind.CLIENT, "web", now + 5, now + 100))
    await copy.refresh()
    await store.server.client.delete(store.prefix + KEY)
    await log.append(Revocation(Kind.CLIENT, "web", now, now + 900))
    await copy.refresh(anew=True)
    [held], _, _ = copy.after(0, 10)
    assert held.revocation == Revocation(Kind.CLIENT, "web", now + 5, now + 900)


async def test_expired_entries_go(log: RevocationLog, copy: Revocations, clock: FakeClock) -> None:
    now = int(clock.now())
    await log.append(log.of_token("a", now + 600), log.of(Kind.CLIENT, "web", now), log.of_token("b", now + 7200))
    await copy.refresh()
    clock.advance(PRUNE + 700)
    await copy.refresh()
    assert (names(copy), len(copy.bulk)) == (["b"], 0)
    await copy.refresh(anew=True)
    assert names(copy) == ["b"], "the log still has them, and they do not come back"


async def test_nothing_is_dropped_while_a_clock_may_be_wrong(
    log: RevocationLog, copy: Revocations, clock: FakeClock, elsewhere: Elsewhere
) -> None:
    """The store's clock jumps to next year, and is set right: what was revoked before and meanwhile still counts."""
    now = int(clock.now())
    await log.append(log.of_token("before", now + 600), log.of(Kind.PROVIDER, "idp", now))
    await copy.refresh()
    await log.append(log.of_token("meanwhile", now + 600))
    elsewhere.clock_problem = "the store's clock is ahead"
    clock.advance(366 * 86400)
    await copy.refresh()
    clock.set(now + 1.0)
    elsewhere.clock_problem = ""
    await copy.refresh()
    assert names(copy) == ["before", "idp", "meanwhile"]
    assert copy.bulk.covers(Kind.PROVIDER, "idp", now)


async def test_what_a_store_loses_is_kept(
    log: RevocationLog, copy: Revocations, store: Store, clock: FakeClock, elsewhere: Elsewhere
) -> None:
    await log.append(log.of_token("a", int(clock.now()) + 600))
    await copy.refresh()
    first = copy.position
    await store.server.client.delete(store.prefix + KEY)
    elsewhere.losses = 1
    await log.append(log.of_token("b", int(clock.now()) + 600))
    await copy.refresh()
    assert names(copy) == ["a", "b"]
    assert copy.position.partition(".")[0] != first.partition(".")[0]


async def test_a_copy_of_a_store_that_lost_changes_grows_old_until_that_is_accepted(
    copy: Revocations, clock: FakeClock, elsewhere: Elsewhere
) -> None:
    await copy.refresh()
    elsewhere.losses = 1
    clock.advance(5)
    await copy.refresh()
    assert copy.confirmed_ago() == 5
    elsewhere.accepted = 1
    await copy.refresh()
    assert copy.confirmed_ago() == 0


async def test_a_copy_that_is_too_old_is_not_served(copy: Revocations, clock: FakeClock) -> None:
    with pytest.raises(DependencyUnavailable):
        copy.require()
    await copy.refresh()
    copy.require()
    clock.advance(STALE + 1)
    assert copy.problem()
    with pytest.raises(DependencyUnavailable):
        copy.require()


async def test_a_log_of_another_type_is_no_empty_log(copy: Revocations, store: Store) -> None:
    await store.server.client.set(store.prefix + KEY, b"x")
    with pytest.raises(CorruptRecord):
        await copy.refresh()
    assert copy.problem()


async def test_revoked_keys_come_from_the_ring(copy: Revocations, clock: FakeClock, elsewhere: Elsewhere) -> None:
    elsewhere.keys = {"kid": clock.now() + 60, "old": clock.now() - 1}
    await copy.refresh()
    await copy.refresh()
    assert names(copy) == ["kid"]


async def test_entries_of_another_form_are_left_out(
    log: RevocationLog, copy: Revocations, store: Store, clock: FakeClock
) -> None:
    for event in (b"x", b"9 1 2 token:x", b"1 0 99999999999 future:x"):
        await store.server.client.xadd(store.prefix + KEY, {b"event": event})
    await store.server.client.xadd(store.prefix + KEY, {b"other": b"x"})
    await log.append(log.of_token("a", int(clock.now()) + 600))
    await copy.refresh()
    assert names(copy) == ["a"]


async def test_a_reader_waits_until_there_is_news(log: RevocationLog, copy: Revocations, clock: FakeClock) -> None:
    await copy.refresh()
    waiting = asyncio.ensure_future(copy.changed(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    await log.append(log.of_token("a", int(clock.now()) + 600))
    await copy.refresh()
    await waiting
