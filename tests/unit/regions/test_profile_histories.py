"""Random histories of profiles in several regions whose links are cut.

A principal that is refused at home is refused elsewhere after the next pull, and all copies are equal once links are
back.
"""

import asyncio
import itertools
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.depth import depth
from tests.fakes import FakeClock
from tests.unit.regions.profiles_world import Place, World, make_world

from tokenmint.base.errors import TokenmintError
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.records import Record, Tombstone, Unregistered
from tokenmint.profiles.resolve import is_just_in_time, just_in_time_principal

NAMES = ("ap", "eu", "us")
X, Y = Identity("idp", "x"), Identity("idp", "y")
PEOPLE = ("ada", "bob", just_in_time_principal(X))
PAIRS = [(one, other) for one in NAMES for other in NAMES if one != other]
SHARDS = depth(1, 8)
EXAMPLES = depth(6, 60)
"""Histories of a shard."""
_prefixes = itertools.count()

regions, people, identities = st.sampled_from(NAMES), st.sampled_from(PEOPLE), st.sampled_from([X, Y])
local = st.one_of(
    st.tuples(st.just("create"), regions, people, st.sets(identities)),
    st.tuples(st.sampled_from(["disable", "enable", "roles", "delete", "revoke", "return"]), regions, people),
    st.tuples(st.just("put"), regions, people, st.sets(identities), st.booleans()),
    st.tuples(st.sampled_from(["link", "unlink"]), regions, people, identities),
    st.tuples(st.just("see"), regions, identities),
)
event = st.one_of(
    local,
    local,
    st.tuples(st.sampled_from(["cut", "mend", "pull"]), st.sampled_from(PAIRS)),
    st.tuples(st.just("pull"), st.sampled_from(PAIRS)),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 0.5, 90000.0])),
)


async def change(place: Place, what: str, *given: Any) -> None:
    """Change a profile in a region; it may be refused."""
    profiles = place.profiles
    name = given[0]
    with suppress(TokenmintError):
        match what:
            case "create":
                await profiles.create(Profile(name, tuple(sorted(given[1]))))
            case "return":
                await profiles.create(Profile(name), replace_deleted=True)
            case "put":
                await place.batches.put([Profile(name, tuple(sorted(given[1])), disabled=given[2])])
            case "disable" | "enable":
                await profiles.update(name, disabled=what == "disable")
            case "roles":
                await profiles.update(name, roles=(str(place.world.clock.now()),))
            case "delete":
                await profiles.delete(name)
            case "revoke":
                await profiles.revoke_tokens(name)
            case "link":
                await profiles.link(name, given[1])
            case "unlink":
                await profiles.unlink(name, given[1])
            case "see":
                await place.see(name)


def is_ended(record: Record | None) -> bool:
    return isinstance(record, Tombstone) or (isinstance(record, Profile) and record.disabled)


async def check_ends(home: Place, other: Place) -> None:
    """Check that principals that ended at home are refused in another region."""
    for name in (*PEOPLE, just_in_time_principal(Y)):
        mine, theirs = await home.record(name), await other.record(name)
        if not is_ended(mine) or mine is None or mine.home:
            continue
        own_name = theirs is not None and theirs.home != home.name and not is_just_in_time(name)
        assert is_ended(theirs) or own_name, (home.name, other.name, name, theirs)
        for identity in mine.identities:
            link = await home.profiles.resolve(identity)
            if link is None or link.principal != name:
                continue  # another principal has it by now
            served = await other.profiles.resolve(identity)
            if isinstance(served, Profile) and not served.disabled:
                # Another region's own: nobody there can be ended from here, except who came without a profile.
                assert served.home != home.name
                assert not is_just_in_time(served.principal) or served.home
            else:
                assert not await other.serves(identity), (home.name, other.name, name, identity)


async def check_equal(home: Place, other: Place) -> None:
    """Check that the copies of a region's profiles in another one are as at home."""
    for name in (*PEOPLE, just_in_time_principal(Y)):
        mine, theirs = await home.record(name), await other.record(name)
        if mine is None or mine.home or isinstance(mine, Unregistered):
            assert theirs is None or theirs.home != home.name
            continue
        if theirs is not None and theirs.home != home.name:
            continue  # a collision
        assert theirs is not None, (home.name, other.name, name)
        lacking = set(mine.identities) - set(theirs.identities)
        for identity in lacking:  # each is another region's
            found = await other.profiles.resolve(identity)
            assert found is None or found.home != home.name
        assert not set(theirs.identities) - set(mine.identities)
        if isinstance(mine, Profile):
            assert isinstance(theirs, Profile)
            mine = replace(mine, etag="", home="", identities=())
            assert replace(theirs, etag="", home="", identities=()) == mine
        else:
            assert isinstance(theirs, Tombstone)
            assert theirs.delete_time == mine.delete_time


async def play(world: World, history: list[tuple[Any, ...]]) -> None:
    for what, *rest in history:
        match what:
            case "cut":
                world.cut.add(rest[0])
            case "mend":
                world.cut.discard(rest[0])
            case "pull":
                to, other = rest[0]
                if await world.pull(to, other):
                    await check_ends(world.places[other], world.places[to])
            case "pass":
                world.clock.advance(rest[0])
            case _:
                await change(world.places[rest[0]], what, *rest[1:])
    await world.settle()
    for to, other in PAIRS:
        await check_ends(world.places[other], world.places[to])
        await check_equal(world.places[other], world.places[to])


async def run(url: str, history: list[tuple[Any, ...]]) -> None:
    async with AsyncExitStack() as closing:
        world = await make_world(url, f"histories{next(_prefixes)}:", FakeClock(), closing, *NAMES)
        await play(world, history)


@pytest.mark.parametrize("shard", range(SHARDS))
@settings(max_examples=EXAMPLES)
@given(history=st.lists(event, max_size=30))
@example(history=[("see", "eu", X), ("see", "us", X), ("disable", "eu", PEOPLE[2]), ("pull", ("us", "eu"))])
@example(history=[("create", "eu", "ada", {X}), ("see", "us", X), ("disable", "eu", "ada"), ("pull", ("us", "eu"))])
@example(history=[("create", "eu", "ada", {X}), ("unlink", "eu", "ada", X), ("pull", ("us", "eu")), ("see", "us", X)])
@example(
    history=[("create", "eu", "ada", {X}), ("pull", ("us", "eu")), ("delete", "eu", "ada"), ("pull", ("us", "eu"))]
)
def test_the_ends_of_principals_count_after_the_next_pull_and_all_copies_are_equal_once_links_are_back(
    redis_url: str, shard: int, history: list[tuple[Any, ...]]
) -> None:
    """Each shard has its own histories, so that the test processes share them."""
    asyncio.run(run(redis_url, history))
