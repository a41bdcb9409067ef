"""The log of revocations keeps one entry for each name, drops expired ones, and is bounded."""

import pytest
from tests.fakes import FakeClock

from tokenmint.revocation.entries import Kind, Revocation, parse
from tokenmint.revocation.log import KEY, Reach, RevocationLog
from tokenmint.storage import streams
from tokenmint.storage.redis import Store

HOUR = 3600


@pytest.fixture
def now(clock: FakeClock) -> int:
    return int(clock.now())


@pytest.fixture
def log(store: Store, clock: FakeClock) -> RevocationLog:
    return RevocationLog(store, Reach(clock.now, lambda: HOUR), most=8)


async def entries(log: RevocationLog) -> list[Revocation]:
    page = await log.after(streams.BEGINNING)
    return [one for _, raw in page.entries if (one := parse(raw)) is not None]


def token(name: str, expires: int) -> Revocation:
    return Revocation(Kind.TOKEN, name, 0, expires)


async def test_an_entry_has_the_end_of_its_tokens_with_a_margin(log: RevocationLog, now: int) -> None:
    assert await log.append(log.of_token("a", now + 600), log.of(Kind.CLIENT, "web", now), confirmed=True)
    assert await entries(log) == [
        Revocation(Kind.TOKEN, "a", 0, now + 660),
        Revocation(Kind.CLIENT, "web", now, now + HOUR + 60),
    ]


async def test_the_same_revocation_again_adds_nothing(log: RevocationLog, now: int) -> None:
    for _ in range(20):
        assert await log.append(token("a", now + 600))
    assert await entries(log) == [token("a", now + 600)]


async def test_a_later_revocation_of_a_name_takes_the_place_of_the_earlier_one(log: RevocationLog, now: int) -> None:
    await log.append(log.of(Kind.CLIENT, "web", now), token("a", now + 600))
    await log.append(log.of(Kind.CLIENT, "web", now + 5))
    assert await entries(log) == [token("a", now + 600), log.of(Kind.CLIENT, "web", now + 5)]


async def test_an_earlier_revocation_that_arrives_late_changes_nothing(log: RevocationLog, now: int) -> None:
    await log.append(log.of(Kind.CLIENT, "web", now + 5))
    await log.append(log.of(Kind.CLIENT, "web", now))
    assert await entries(log) == [log.of(Kind.CLIENT, "web", now + 5)]


async def test_a_longer_one_of_an_earlier_second_keeps_the_later_second(log: RevocationLog, now: int) -> None:
    await log.append(Revocation(Kind.CLIENT, "web", now + 5, now + 100))
    await log.append(Revocation(Kind.CLIENT, "web", now, now + 900))
    assert await entries(log) == [Revocation(Kind.CLIENT, "web", now + 5, now + 900)]


async def test_tokens_fill_three_quarters_and_operators_the_rest(log: RevocationLog, now: int) -> None:
    assert all([await log.append(token(f"t{number}", now + 600)) for number in range(6)])
    assert not await log.append(token("one more", now + 600))
    assert await log.append(log.of(Kind.CLIENT, "web", now), log.of(Kind.AUDIENCE, "a b", now))
    assert not await log.append(log.of(Kind.CLIENT, "batch", now))
    assert [one.name for one in await entries(log)] == ["t0", "t1", "t2", "t3", "t4", "t5", "web", "a b"]


async def test_principals_leave_a_tenth_to_operators(log: RevocationLog, now: int) -> None:
    """Signals of one provider name as many principals as it likes. The door for all of its tokens must still close."""
    assert all([await log.append(log.of(Kind.PRINCIPAL, f"p{number}", now)) for number in range(7)])
    assert not await log.append(log.of(Kind.PRINCIPAL, "one more", now))
    assert await log.append(log.of(Kind.PRINCIPAL, "p0", now + 1)), "a name that has its place keeps it"
    assert await log.append(Revocation(Kind.PROVIDER, "idp", now, now + HOUR))


async def test_of_several_revocations_those_with_room_are_written(log: RevocationLog, now: int) -> None:
    assert not await log.append(*(token(f"t{number}", now + 600) for number in range(9)))
    assert len(await entries(log)) == 6


async def test_expired_entries_make_room(log: RevocationLog, store: Store, now: int) -> None:
    for number in range(6):
        await log.append(token(f"t{number}", now + 600))
    # The server's clock can't be moved: the entries get an end that has passed.
    client, key = store.server.client, store.prefix + KEY
    for place, fields in await client.xrange(key):
        await client.xdel(key, place)
        await client.xadd(key, {**fields, b"till": b"1"})
    assert await log.append(token("new", now + 600))
    assert [one.name for one in await entries(log)] == ["new"]


async def test_an_entry_that_is_gone_is_written_again(log: RevocationLog, store: Store, now: int) -> None:
    """As after an operator has deleted the stream: a retry has to reach verifiers."""
    await log.append(token("a", now + 600))
    await store.server.client.delete(store.prefix + KEY)
    await log.append(token("a", now + 600))
    assert await entries(log) == [token("a", now + 600)]


@pytest.mark.parametrize("name", ["https://api.example/%s%d", "with space", "näme", "a\x00b", "1 2 3 token:x"])
async def test_any_name_comes_back_as_it_went_in(log: RevocationLog, now: int, name: str) -> None:
    await log.append(log.of(Kind.AUDIENCE, name, now))
    assert [one.name for one in await entries(log)] == [name]


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"1", b"1 2 3", b"1 2 3 token:", b"1 2 3 token", b"2 2 3 token:x", b"1 -2 3 token:x", b"1 2 3 future:x",
        b"1 2 1e3 token:x", b"1 2 3 token:\xff", b"1 2 9999999999999999999 token:x", b"1 2 3 token:" + b"x" * 5000,
    ],
)  # fmt: skip
def test_an_entry_of_another_form_is_left_out(raw: bytes) -> None:
    assert parse(raw) is None
