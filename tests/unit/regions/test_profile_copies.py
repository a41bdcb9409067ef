"""Copies of other regions' profiles: only a home changes its own records, and no copy goes back."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.unit.regions.profiles_world import Place, World

from tokenmint.base.errors import WrongState
from tokenmint.exchange.mass_revocation import MassRevocation
from tokenmint.issued.store import IssuedStore
from tokenmint.model.copies import Part, ProfilePage
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.signals import Action
from tokenmint.profiles import feed
from tokenmint.profiles.identity_changes import ELSEWHERE, IdentityChanges
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES, Tombstone, dump_link, dump_profile, dump_tombstone
from tokenmint.profiles.records import Link as IndexEntry
from tokenmint.profiles.resolve import just_in_time_principal
from tokenmint.profiles.unregistered import UnregisteredPrincipals
from tokenmint.revocation.entries import Kind, parse

X, Y = Identity("idp", "x"), Identity("idp", "y")
ADA = Profile("ada", (X,), roles=("clerk",))


async def told(us: Place, *records: bytes, erased: tuple[str, ...] = (), home: str = "eu") -> int:
    """Let `us` take over records that a region tells; return how many of them, and of their parts, are refused."""
    before = us.copies.refused[home]
    await us.copies.take_over(home, ProfilePage(tuple(one.decode() for one in records), erased, (), "0-0", False), 100)
    return us.copies.refused[home] - before


async def test_a_profile_is_copied_with_its_home_and_every_change_of_it(world: World, eu: Place, us: Place) -> None:
    await eu.profiles.create(ADA)
    await world.pull("us", "eu")
    copy = await us.profiles.resolve(X)
    assert isinstance(copy, Profile)
    assert (copy.principal, copy.roles, copy.home) == ("ada", ("clerk",), "eu")
    await eu.profiles.update("ada", roles=("chief",))
    await eu.profiles.link("ada", Y)
    await eu.profiles.unlink("ada", X)
    await world.pull("us", "eu")
    assert (await us.profiles.get("ada")).roles == ("chief",)
    assert [await us.serves(identity) for identity in (X, Y)] == [False, True]
    await eu.profiles.delete("ada")
    await world.pull("us", "eu")
    assert not await us.serves(Y)
    await eu.profiles.create(Profile("ada", (Y,)), replace_deleted=True)
    await world.pull("us", "eu")
    assert await us.serves(Y)


async def test_a_copy_is_not_told_as_the_own_profile_of_its_region(world: World, eu: Place, us: Place) -> None:
    await eu.profiles.create(ADA)
    await world.pull("us", "eu")
    assert (await us.feed.page(Part.CHANGES, "0-0")).following == "0-0"  # nor noted
    await world.pull("ap", "us")
    assert await world.places["ap"].record("ada") is None
    await world.pull("ap", "eu")
    record = await world.places["ap"].record("ada")
    assert record is not None
    assert record.home == "eu"


CHANGES: dict[str, Callable[[Place], Awaitable[Any]]] = {
    "create": lambda us: us.profiles.create(Profile("ada"), replace_deleted=True),
    "update": lambda us: us.profiles.update("ada", disabled=False),
    "delete": lambda us: us.profiles.delete("ada"),
    "link": lambda us: us.profiles.link("ada", Y),
    "unlink": lambda us: us.profiles.unlink("ada", X),
    "revoke": lambda us: us.profiles.revoke_tokens("ada"),
    "erase": lambda us: us.erase("ada"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_copy_is_read_only_and_the_refusal_names_its_home(
    world: World, eu: Place, us: Place, change: str
) -> None:
    await eu.profiles.create(ADA)
    if change == "create":
        await eu.profiles.delete("ada")
    await world.pull("us", "eu")
    with pytest.raises(WrongState, match="the region 'eu'") as refused:
        await CHANGES[change](us)
    assert refused.value.violation == "PROFILE_OF_ANOTHER_REGION"


async def test_an_import_does_not_change_a_copy_or_take_its_identity(world: World, eu: Place, us: Place) -> None:
    await eu.profiles.create(ADA)
    await eu.profiles.link("ada", Y)
    await eu.profiles.unlink("ada", Y)
    await world.pull("us", "eu")
    outcomes = await us.batches.put([Profile("ada"), Profile("bob", (X,)), Profile("eve", (Y,)), Profile("joe")])
    assert [type(one).__name__ for one in outcomes] == ["Elsewhere", "AlreadyExists", "Elsewhere", "bool"]


async def test_tokens_of_a_copys_principal_are_revoked_in_any_region(world: World, eu: Place, us: Place) -> None:
    await eu.profiles.create(ADA)
    await world.pull("us", "eu")
    log, near = us.profiles._ends._log, NearCache(us.store, PREFIXES, 0, world.clock)
    assert log is not None

    async def now() -> float:
        return world.clock.now()

    unregistered = UnregisteredPrincipals(us.store, near, world.clock)
    many = MassRevocation(us.profiles, IssuedStore(us.store), log, now, lambda: None, unregistered)  # type: ignore[arg-type, return-value]
    await many.principal("ada")
    changes = IdentityChanges(us.profiles, us.store, near, world.clock, many.principal)
    world.clock.advance(5)
    changed = await changes.make(X, Action.DISABLE, unregistered=True)
    assert changed == ("ada", ELSEWHERE)
    entries = [parse(raw) for _, raw in (await log.after("0-0")).entries]
    assert [(one.kind, one.name, one.valid_after) for one in entries if one is not None] == [
        (Kind.PRINCIPAL, "ada", int(world.clock.now()))
    ]


# --- never back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["disabled", "deleted"])
async def test_an_older_record_changes_nothing(world: World, us: Place, end: str) -> None:
    now = world.clock.now()
    put = dump_profile(Profile("ada", (X,), update_time=now - 2))
    ended = dump_tombstone(Tombstone("ada", (X,), now - 1))
    if end == "disabled":
        ended = dump_profile(Profile("ada", (X,), disabled=True, update_time=now - 1))
    await told(us, put)
    await told(us, ended)
    stored = await us.record("ada")
    assert await told(us, put) == 0
    assert await us.record("ada") == stored
    assert not await us.serves(X)


async def test_every_change_at_home_is_newer_than_the_last_one_by_any_clock(world: World, eu: Place) -> None:
    times = [(await eu.profiles.create(ADA)).update_time]
    world.clock.set(world.clock.now() - 30)
    times += [(await eu.profiles.update("ada", roles=(str(number),))).update_time for number in range(3)]
    assert sorted(set(times)) == times


async def test_a_new_home_store_that_lost_changes_undoes_no_end(world: World, eu: Place, us: Place) -> None:
    await eu.profiles.create(ADA)
    before = await eu.store.get("profile:ada")
    world.clock.advance(1)
    await eu.profiles.update("ada", disabled=True)
    await world.pull("us", "eu")
    after = await eu.store.get("profile:ada")
    await eu.store.swap_many([("profile:ada", after, before)], noted=False)
    eu.epoch += 1
    await world.pull("us", "eu")
    await world.pull("us", "eu")
    assert not await us.serves(X)
    await eu.profiles.update("ada", disabled=False, roles=("again",))
    await world.pull("us", "eu")
    assert await us.serves(X)


# --- another region's ----------------------------------------------------------------------------------------------


async def test_a_region_takes_over_no_principal_and_no_identity_of_another_one(world: World, us: Place) -> None:
    await us.profiles.create(ADA)
    now = world.clock.now() + 1
    assert await told(us, dump_profile(Profile("ada", (X, Y), roles=("chief",), update_time=now))) == 1
    assert (await us.profiles.get("ada")).roles == ("clerk",)
    assert await told(us, dump_profile(Profile("eve", (X,), roles=("chief",), update_time=now))) == 1
    owner = await us.profiles.resolve(X)
    assert isinstance(owner, Profile)
    assert owner.principal == "ada"
    assert await told(us, dump_tombstone(Tombstone("ada", (X,), now))) == 2
    assert await told(us, dump_link(X, IndexEntry("ada", unlinked=True))) == 1
    assert await us.serves(X)
    assert await told(us, dump_profile(Profile("eve", (X,), update_time=now)), home="ap") == 1


async def test_an_identity_that_was_unlinked_here_is_no_other_regions(world: World, us: Place) -> None:
    await us.profiles.create(ADA)
    await us.profiles.unlink("ada", X)
    assert await told(us, dump_profile(Profile("eve", (X,), update_time=world.clock.now()))) == 1
    assert not await us.serves(X)


async def test_an_erased_person_does_not_return_by_another_region(world: World, us: Place) -> None:
    await us.profiles.create(ADA)
    await us.erase("ada")
    assert await told(us, dump_profile(Profile("ada", (X,), update_time=world.clock.now()))) == 1
    assert await told(us, dump_profile(Profile("eve", (X,), update_time=world.clock.now()))) == 1
    assert not await us.serves(X)


async def test_a_person_who_is_erased_at_home_is_refused_everywhere_and_nothing_of_them_stays(
    world: World, eu: Place, us: Place
) -> None:
    await eu.profiles.create(ADA)
    await eu.profiles.link("ada", Y)
    await eu.profiles.unlink("ada", Y)
    await world.pull("us", "eu")
    await eu.erase("ada")
    await world.pull("us", "eu")
    assert [await us.serves(identity) for identity in (X, Y)] == [False, False]
    assert [await us.store.get(key) for key in ("profile:ada", feed.PREFIXES[1] + "none")] == [None, None]
    _, keys = await us.store.scan("identity:*", "", 1000)
    assert keys == []


async def test_a_person_who_may_return_at_home_is_unknown_everywhere(world: World, eu: Place, us: Place) -> None:
    await eu.profiles.create(ADA)
    await world.pull("us", "eu")
    await eu.erase("ada", allow_return=True)
    await world.pull("us", "eu")
    assert await us.record("ada") is None
    assert await us.serves(X)


@pytest.mark.parametrize("end", ["disable", "delete", "unlink"])
async def test_an_identity_that_two_regions_saw_at_once_is_refused_in_both_once_it_is_in_one(
    world: World, eu: Place, us: Place, end: str
) -> None:
    """Each keeps the profile that it has created."""
    name = just_in_time_principal(X)
    for place in (eu, us):
        assert (await place.see(X)).principal == name
    await us.profiles.update(name, roles=("clerk",))
    await world.settle()
    mine = await us.profiles.get(name)
    assert (mine.home, mine.roles) == ("", ("clerk",))
    if end == "disable":
        await eu.profiles.update(name, disabled=True)
    elif end == "delete":
        await eu.profiles.delete(name)
    else:
        await eu.profiles.unlink(name, X)
    await world.pull("us", "eu")
    assert not await us.serves(X)


@pytest.mark.parametrize(
    "record",
    [
        b"{", b"[]", b"1", b"{}", json.dumps({"v": 1, "principal": "ada"}).encode(),
        dump_profile(Profile("ada", home="us")), dump_profile(Profile("ada", update_time=1_900_000_000.0)),
        dump_profile(Profile("a b")), dump_profile(Profile("ada", roles=("x",) * 65)),
        dump_profile(Profile("ada", (Identity("a/b", "x"),))),
        dump_profile(Profile("ada", claims={"sub": "root"})), dump_link(X, IndexEntry("ada")),
        dump_link(X, IndexEntry("a b", unlinked=True)), b'{"v":1,"unlinked":true}', b'{"v":1,"principal":["ada"]}',
        dump_profile(Profile("ada"))[:-1] + b',"registered":false}',
    ],
)  # fmt: skip
async def test_a_record_that_no_region_would_write_is_refused(us: Place, record: bytes) -> None:
    assert await told(us, record) == 1
    _, keys = await us.store.scan("*", "", 1000)
    assert keys == []


async def test_the_end_of_a_principal_counts_though_a_clock_is_wrong(world: World, us: Place) -> None:
    await told(us, dump_profile(Profile("ada", (X,), update_time=world.clock.now())))
    assert await told(us, dump_tombstone(Tombstone("ada", (X,), world.clock.now() + 9000))) == 0
    assert not await us.serves(X)


async def test_a_foreign_value_in_a_store_keeps_no_other_record_from_being_copied(
    world: World, eu: Place, us: Place
) -> None:
    for place, name in ((eu, "a"), (us, "b")):
        await place.store.server.client.lpush(f"{place.store.prefix}profile:{name}", "x")
        await place.store.append(feed.CHANGES, [b"profile:a"], most_entries=9, most_bytes=999, durable=False)
    for name in ("b", "c"):
        await eu.profiles.create(Profile(name))
    await world.pull("us", "eu")
    assert await us.record("c") is not None
    assert us.copies.refused["eu"] >= 1


async def test_a_full_log_of_revocations_keeps_no_end_from_counting(world: World, eu: Place, us: Place) -> None:
    name = just_in_time_principal(X)
    for place in (eu, us):
        await place.see(X)
    assert us.profiles._ends._log is not None
    us.profiles._ends._log._most = 0
    await eu.profiles.update(name, disabled=True)
    await world.pull("us", "eu")
    assert not await us.serves(X)


async def test_a_region_can_not_fill_the_store(world: World, us: Place) -> None:
    texts = tuple(dump_profile(Profile(f"p{n}", update_time=world.clock.now())).decode() for n in range(5))
    assert await us.copies.take_over("eu", ProfilePage(texts, (), (), "0-0", False), 3) == 3
    assert us.copies.refused["eu"] == 2


# --- a region that was given up --------------------------------------------------------------------------------------


async def test_profiles_of_a_region_that_was_given_up_stay_and_a_change_makes_them_own(
    world: World, eu: Place, us: Place
) -> None:
    await eu.profiles.create(ADA)
    await world.settle()
    world.give_up("eu")
    assert await us.serves(X)
    changed = await us.profiles.update("ada", disabled=True)
    assert changed.home == ""
    # Where another region still has the copy, the end counts, and nothing else does.
    await world.pull("ap", "us")
    assert not await world.places["ap"].serves(X)


async def test_an_end_does_not_fail_at_a_record_that_nobody_can_read(us: Place) -> None:
    """It would stop all copying from its region, at the same page each time."""
    changes = [("profile:bob", None, b"{}"), ("identity:idp:y", None, b"{}")]
    await us.store.swap_many(changes, noted=False)
    await us.store.server.client.lpush(f"{us.store.prefix}profile:eve", "x")
    await told(us, dump_profile(ADA))
    gone = ("profile:bob", "identity:idp:y", "profile:eve", "profile:", "identity:", "identity:x", "profile:ada")
    await us.copies.take_over("eu", ProfilePage((), (), gone, "0-0", False), 100)
    assert await us.record("ada") is None


async def test_a_region_can_make_up_no_more_identities_than_principals(us: Place) -> None:
    """A compromised one would fill the store: with ever new identities of one principal, or ends of another's."""
    key = f"{us.store.prefix}identity:*"

    async def take(record: bytes, room: int) -> int:
        return await us.copies.take_over("eu", ProfilePage((record.decode(),), (), (), "0-0", False), room)

    many = [tuple(Identity("idp", f"{turn}-{number}") for number in range(5)) for turn in range(4)]
    assert await take(dump_profile(Profile("ada", many[0], update_time=1.0)), 1) == 1
    assert await take(dump_profile(Profile("ada", many[1], update_time=2.0)), 10) == 5
    assert await take(dump_profile(Profile("ada", many[2], update_time=3.0)), 0) == 0
    assert (await us.profiles.get("ada")).identities == ()
    await us.profiles.create(Profile("bob"))
    assert await take(dump_tombstone(Tombstone("bob", many[2], 1.0)), 10) == 5
    assert await take(dump_tombstone(Tombstone("bob", many[3], 2.0)), 0) == 0
    assert len([one async for one in us.store.server.client.scan_iter(key)]) == 15
    assert not await us.serves(many[1][0]), "an end of what is there needs no room"
