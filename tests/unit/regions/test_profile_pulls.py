"""Pulls of profiles: ends first, pages, gaps, and documents that are not accepted."""

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from tests.fakes import FakeClock
from tests.unit.regions.profiles_world import IDENTITIES, Place, World, make_world
from tests.unit.regions.test_puller import ISSUER

from tokenmint.base.errors import DependencyUnavailable
from tokenmint.model.copies import Part, ProfilePage
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.tokens import JsonValue
from tokenmint.profiles import feed
from tokenmint.profiles.limits import are_few, claims_violations
from tokenmint.profiles.records import dump_profile
from tokenmint.regions import document, profile_document
from tokenmint.regions.copied import Copied
from tokenmint.regions.profile_document import Told
from tokenmint.regions.profile_puller import COPIED_PAGES, REFRESH

X = Identity("idp", "x")
ADA = Profile("ada", (X,), roles=("clerk",))


async def test_ends_are_asked_for_before_anything_else(world: World, eu: Place) -> None:
    await world.pull("us", "eu")
    assert list(dict.fromkeys(part for _, part, _ in eu.asked)) == [Part.ENDS, Part.ALL, Part.CHANGES]
    eu.asked.clear()
    await world.pull("us", "eu")
    assert [part for _, part, _ in eu.asked] == [Part.ENDS, Part.CHANGES]


async def test_a_region_that_fell_behind_copies_every_profile(world: World, eu: Place, us: Place) -> None:
    await eu.profiles.create(ADA)
    await world.pull("us", "eu")
    await eu.profiles.update("ada", roles=("chief",))
    await eu.store.server.client.delete(f"{eu.store.prefix}{feed.CHANGES}")
    await eu.profiles.create(Profile("bob"))
    await world.pull("us", "eu")
    assert (await us.profiles.get("ada")).roles == ("chief",)
    assert Part.ALL in [part for _, part, _ in eu.asked[3:]]


async def test_profiles_from_before_the_setting_are_copied_in_pages(
    world: World, eu: Place, us: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "ROUNDS", 1)
    monkeypatch.setattr(feed, "SCAN", 5)
    changes = [(f"profile:p{n}", None, dump_profile(Profile(f"p{n}"))) for n in range(150)]
    await eu.store.swap_many(changes, noted=False)
    pulls = 0
    while us.copying.age("eu") == float("inf"):
        await world.pull("us", "eu")
        pulls += 1
    assert pulls >= 2  # changes come between them
    assert sum(part is Part.ALL for _, part, _ in eu.asked) > COPIED_PAGES
    assert all([await us.record(f"p{n}") is not None for n in range(150)])


@pytest.mark.parametrize("missed", ["gap", "epoch"])
async def test_copies_that_missed_changes_stay_old_until_every_profile_is_copied(
    world: World, eu: Place, us: Place, monkeypatch: pytest.MonkeyPatch, missed: str
) -> None:
    """An end among the missed changes is in one of the pages, so nothing is complete before the last one."""
    await eu.profiles.create(ADA)
    await world.settle()
    world.clock.advance(50)
    monkeypatch.setattr(feed, "ROUNDS", 1)
    monkeypatch.setattr(feed, "SCAN", 5)
    changes = [(f"profile:p{n}", None, dump_profile(Profile(f"p{n}"))) for n in range(400)]
    await eu.store.swap_many(changes, noted=False)
    if missed == "epoch":
        eu.epoch += 1
    else:
        await eu.store.server.client.delete(f"{eu.store.prefix}{feed.CHANGES}")
        await eu.profiles.create(Profile("bob"))
    pulls = 0
    while pulls < 3 or us.copying.age("eu"):
        assert us.copying.age("eu") in (0, 50)
        await world.pull("us", "eu")
        pulls += 1
        if not us.copying.age("eu"):
            assert all([await us.record(f"p{n}") is not None for n in range(400)])


async def test_records_that_find_no_room_in_a_page_come_with_the_next_one(
    world: World, eu: Place, us: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_BYTES", 700)
    for number in range(10):
        await eu.profiles.create(Profile(f"p{number}", roles=("x" * 100,)))
    page = await eu.feed.page(Part.CHANGES, "0-0")
    assert (len(page.records), page.more) == (2, True)
    await world.settle()
    assert all([await us.record(f"p{n}") is not None for n in range(10)])


@pytest.mark.parametrize("character", ["\x01", '"', "é"])
async def test_the_largest_profile_fits_into_a_page(world: World, eu: Place, us: Place, character: str) -> None:
    def long(number: int, size: int) -> str:
        return f"{number:02}" + character * ((size - 2) // len(character.encode()))

    identities = [Identity("idp", long(number, 2048)) for number in range(32)]
    while not are_few(identities):
        identities.pop()
    roles = tuple(f"{number:02}" + character * 126 for number in range(64))
    claims: dict[str, JsonValue] = {"note": character * 16}
    while not claims_violations(claims, ""):
        largest = dict(claims)
        claims["note"] = f"{claims['note']}{character * 16}"
    await eu.profiles.create(Profile("ada", tuple(identities), roles=roles, claims=largest))
    page = await eu.feed.page(Part.CHANGES, "0-0")
    assert len(page.records) == 1
    page = replace(page, gone=(f"profile:{'x' * 128}",) * 200)
    text = profile_document.write(IDENTITIES["eu"], ISSUER, "eu", "us", Part.CHANGES, Told(1.0, 7, page))
    assert len(text) <= document.MOST_BYTES
    await world.pull("us", "eu")
    assert await us.serves(identities[-1])
    assert us.copies.refused["eu"] == 0


async def test_a_profile_that_fits_into_no_page_stops_no_other(world: World, eu: Place, us: Place) -> None:
    large = Profile("ada", tuple(Identity("idp", f"{number:02}" + "\x01" * 2046) for number in range(32)))
    await eu.store.swap_many([("profile:ada", None, dump_profile(large))])
    await eu.profiles.create(Profile("bob"))
    page = await eu.feed.page(Part.CHANGES, "0-0")
    assert ["bob" in record for record in page.records] == [True]
    await world.settle()
    assert await us.record("bob") is not None
    assert us.copying.age("eu") == 0


async def test_every_profile_is_copied_again_after_a_day(world: World, eu: Place) -> None:
    await world.pull("us", "eu")
    eu.asked.clear()
    world.clock.advance(REFRESH - 1)
    await world.pull("us", "eu")
    assert Part.ALL not in [part for _, part, _ in eu.asked]
    world.clock.advance(2)
    await world.pull("us", "eu")
    assert Part.ALL in [part for _, part, _ in eu.asked]


async def test_the_age_of_copies_grows_while_the_link_is_cut(world: World, us: Place) -> None:
    assert us.copying.age("eu") == float("inf")
    await world.pull("us", "eu")
    assert us.copying.age("eu") == 0
    world.cut.add(("us", "eu"))
    world.clock.advance(120)
    assert us.copying.ages() == {"eu": 120, "ap": float("inf")}
    assert "those of eu are 120 s old" in us.copying.detail()
    assert "those of ap were never complete" in us.copying.detail()
    await us.copying.refresh()
    assert us.copying.age("eu") == 120


async def test_a_page_of_another_region_part_or_recipient_is_refused(world: World, us: Place) -> None:
    page = ProfilePage((dump_profile(ADA).decode(),), (), (), "0-0", False, newest="0-0")
    good = Told(world.clock.now(), 7, page)
    for name, region, to, part in (
        ("ap", "eu", "us", Part.ENDS), ("eu", "ap", "us", Part.ENDS), ("eu", "eu", "ap", Part.ENDS),
        ("eu", "eu", "us", Part.CHANGES),
    ):  # fmt: skip
        text = profile_document.write(IDENTITIES[name], ISSUER, region, to, part, good)
        world.answer = lambda _, text=text: text.encode()
        with pytest.raises(DependencyUnavailable):
            await world.pull("us", "eu")
    assert await us.record("ada") is None
    assert (await us.regions.store.copied("eu"))[1] == Copied("eu")


async def test_a_new_region_is_not_ready_before_it_has_copied_every_profile(
    redis_url: str, redis_prefix: str, clock: FakeClock
) -> None:
    async with AsyncExitStack() as closing:
        world = await make_world(redis_url, redis_prefix, clock, closing, begun=False)
        us = world.places["us"]
        assert "has not copied the profiles of eu yet" in us.copying.problem()
        await world.pull("us", "eu")
        assert us.copying.problem() == ""


async def test_an_end_overtakes_the_pages_of_an_import(
    world: World, eu: Place, us: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of changes in a row may take a minute; an end waits for the page on its way, and one interval."""
    await eu.profiles.create(ADA)
    await world.settle()
    monkeypatch.setattr(feed, "PAGE", 5)
    for number in range(50):
        await eu.profiles.create(Profile(f"p{number}"))
    answer = eu.answer
    pages = 0

    async def slowly(to: str, part: Part, epoch: int, after: str) -> str:
        nonlocal pages
        if part is Part.CHANGES:
            pages += 1
            world.clock.advance(0.6)  # of 1 s between pulls
            if pages == 1:
                await eu.profiles.update("ada", disabled=True)
            if pages == 4:
                assert not await us.serves(X)
        return await answer(to, part, epoch, after)

    monkeypatch.setattr(eu, "answer", slowly)
    await world.pull("us", "eu")
    assert pages > 4
    assert await us.record("p49") is not None


async def test_a_region_that_is_given_up_during_a_pull_changes_no_further_copy(
    world: World, eu: Place, us: Place
) -> None:
    """A compromised region could have pages without end to tell."""
    asked = 0

    def endless(query: dict[str, str]) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 3:
            world.give_up("eu")
        record = dump_profile(Profile(f"p{asked}")).decode()
        page = ProfilePage((record,), (), (), "0" if query["part"] == "all" else "1-1", more=True, newest="0-0")
        told = Told(world.clock.now(), 7, page)
        return profile_document.write(IDENTITIES["eu"], ISSUER, "eu", "us", Part(query["part"]), told).encode()

    world.answer = endless
    with pytest.raises(DependencyUnavailable) as refusal:
        await world.pull("us", "eu")
    assert "given up" in refusal.value.detail
    assert asked == 3
    assert [await us.record(f"p{number}") is not None for number in (1, 2, 3)] == [True, True, False]
