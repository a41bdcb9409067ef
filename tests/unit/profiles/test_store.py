"""Profiles and identities in a real store."""

import asyncio
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeClock

from tokenmint.base.errors import AlreadyExists, Conflict, CorruptRecord, NotFound, WrongState
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.limits import profile_violations
from tokenmint.profiles.records import Link, Tombstone, identity_key
from tokenmint.profiles.store import ProfileStore
from tokenmint.storage.redis import Store

ADA = Identity("idp", "1842")
OTHER = Identity("google", "7")
PROFILE = Profile("ada", (ADA,), claims={"tenant": "t"}, roles=("clerk",))


@pytest.fixture
def profiles(store: Store, clock: FakeClock) -> ProfileStore:
    return ProfileStore(store, clock)


async def test_what_is_created_is_found_by_principal_and_identity(profiles: ProfileStore, clock: FakeClock) -> None:
    created = await profiles.create(PROFILE)
    assert (created.create_time, created.update_time) == (clock.now(), clock.now())
    assert await profiles.get("ada") == created
    assert await profiles.get_by_identity(ADA) == created
    assert await profiles.resolve(OTHER) is None
    for missing in (profiles.get("bob"), profiles.get_by_identity(OTHER), profiles.get("no such/name")):
        with pytest.raises(NotFound):
            await missing


async def test_a_principal_and_an_identity_belong_to_one(profiles: ProfileStore) -> None:
    await profiles.create(PROFILE)
    with pytest.raises(AlreadyExists):
        await profiles.create(Profile("ada"))
    with pytest.raises(AlreadyExists, match="'ada'"):
        await profiles.create(Profile("bob", (ADA,)))
    await profiles.create(Profile("bob"))
    with pytest.raises(AlreadyExists):
        await profiles.link("bob", ADA)


async def test_updates_change_what_they_name(profiles: ProfileStore, clock: FakeClock) -> None:
    created = await profiles.create(PROFILE)
    clock.advance(5)
    changed = await profiles.update("ada", disabled=True, etag=created.etag)
    assert changed == replace(
        created, disabled=True, tokens_valid_after=int(clock.now()), update_time=clock.now(), etag=changed.etag
    )
    clock.advance(5)
    assert (await profiles.update("ada", disabled=True)).tokens_valid_after == changed.tokens_valid_after
    assert (await profiles.update("ada", disabled=False)).tokens_valid_after == changed.tokens_valid_after
    await profiles.update("ada", disabled=True)
    assert changed.etag != created.etag
    with pytest.raises(Conflict):
        await profiles.update("ada", roles=(), etag=created.etag)
    emptied = await profiles.update("ada", roles=(), claims={})
    assert (emptied.roles, dict(emptied.claims), emptied.disabled) == ((), {}, True)
    with pytest.raises(NotFound):
        await profiles.update("bob", roles=())


async def test_concurrent_changes_are_all_kept(profiles: ProfileStore) -> None:
    await profiles.create(Profile("ada"))
    identities = [Identity("idp", str(number)) for number in range(8)]
    await asyncio.gather(*(profiles.link("ada", identity) for identity in identities))
    assert set((await profiles.get("ada")).identities) == set(identities)


async def test_deletion_leaves_a_tombstone(profiles: ProfileStore) -> None:
    created = await profiles.create(PROFILE)
    with pytest.raises(Conflict):
        await profiles.delete("ada", etag="old")
    await profiles.delete("ada", etag=created.etag)
    await profiles.delete("ada")
    assert isinstance(await profiles.resolve(ADA), Tombstone)
    with pytest.raises(NotFound):
        await profiles.get("ada")
    with pytest.raises(NotFound):
        await profiles.delete("bob")
    with pytest.raises(WrongState) as refused:
        await profiles.create(PROFILE)
    assert refused.value.violation == "PROFILE_DELETED"
    with pytest.raises(AlreadyExists):
        await profiles.create(Profile("bob", (ADA,)))
    assert await profiles.list(100, "") == ([], "")
    back = await profiles.create(PROFILE, replace_deleted=True)
    assert back.tokens_valid_after is not None  # nothing from before the deletion is accepted
    assert await profiles.get_by_identity(ADA) == back


async def test_an_unlinked_identity_is_refused_until_it_is_linked_again(profiles: ProfileStore) -> None:
    await profiles.create(PROFILE)
    await profiles.create(Profile("bob"))
    assert (await profiles.unlink("ada", ADA)).identities == ()
    assert await profiles.resolve(ADA) == Link("ada", unlinked=True)
    await profiles.unlink("ada", ADA)  # once more changes nothing
    for missing in (profiles.unlink("ada", OTHER), profiles.unlink("bob", ADA), profiles.unlink("eve", ADA)):
        with pytest.raises(NotFound):
            await missing
    assert (await profiles.link("bob", ADA)).identities == (ADA,)
    assert (await profiles.get_by_identity(ADA)).principal == "bob"


async def test_a_link_that_was_begun_and_not_finished_can_be_taken_over(profiles: ProfileStore, store: Store) -> None:
    await profiles.create(Profile("ada"))
    await profiles.create(Profile("bob"))
    await profiles._assign(ADA, "ada")  # and then the process died
    assert await profiles.resolve(ADA) is None
    assert (await profiles.link("bob", ADA)).identities == (ADA,)
    assert (await profiles.get_by_identity(ADA)).principal == "bob"


async def test_the_identities_of_a_profile_leave_it_room_in_a_page(profiles: ProfileStore) -> None:
    """A page for another region has 512 KiB, and characters that JSON escapes take several times their room."""
    long = [Identity("idp", f"{number:02}" + "\x01" * 2046) for number in range(32)]
    assert profile_violations(Profile("ada", tuple(long)))[0].field == "profile.identities"
    assert not profile_violations(Profile("ada", tuple(long[:10])))
    await profiles.create(Profile("ada", tuple(long[:10])))
    with pytest.raises(WrongState) as refusal:
        await profiles.link("ada", long[10])
    assert refusal.value.violation == "TOO_MANY_IDENTITIES"


async def test_a_profile_has_at_most_32_identities(profiles: ProfileStore) -> None:
    await profiles.create(Profile("ada", tuple(Identity("idp", str(number)) for number in range(32))))
    with pytest.raises(WrongState, match="32 identities"):
        await profiles.link("ada", OTHER)
    assert await profiles.link("ada", Identity("idp", "0"))


async def test_revoking_moves_forward_only_by_the_stores_clock(profiles: ProfileStore, store: Store) -> None:
    await profiles.create(PROFILE)
    second = await profiles.revoke_tokens("ada")
    assert abs(second - await store.time()) < 5
    assert await profiles.revoke_tokens("ada") >= second
    with pytest.raises(NotFound):
        await profiles.revoke_tokens("bob")


async def test_an_import_creates_and_replaces(profiles: ProfileStore) -> None:
    assert await profiles.put(PROFILE) is True
    assert await profiles.put(Profile("ada", (ADA, OTHER), disabled=True)) is False
    stored = await profiles.get("ada")
    assert (stored.identities, stored.disabled, stored.roles) == ((ADA, OTHER), True, ())
    await profiles.delete("ada")
    with pytest.raises(WrongState):
        await profiles.put(PROFILE)


async def test_lists_have_every_profile(profiles: ProfileStore) -> None:
    names = {f"p{number}" for number in range(25)}
    for name in names:
        await profiles.create(Profile(name))
    found: set[str] = set()
    token = ""
    while True:
        page, token = await profiles.list(5, token)
        found |= {profile.principal for profile in page}
        if not token:
            break
    assert found == names


RECORD = (
    b'{"v":1,"principal":"ada","identities":[],"disabled":%s,"claims":%s,"roles":[],"tokens_valid_after":null,'
    b'"create_time":1,"update_time":1}'
)


@pytest.mark.parametrize(
    "value",
    [
        b"x", b"[]", b'{"v":2}', b'{"v":1,"principal":"bob"}', b'{"v":1,"principal":"ada"}',
        b'{"v":1,"principal":"ada","identities":[["a"]],"disabled":false,"claims":{},"roles":[]}',
        RECORD % (b"0", b"{}"),
        RECORD % (b"false", b"[]"),
    ],
)  # fmt: skip
async def test_a_foreign_or_corrupt_value_is_an_error_that_names_the_key(
    profiles: ProfileStore, store: Store, value: bytes
) -> None:
    await store.swap("profile:ada", None, value)
    with pytest.raises(CorruptRecord) as error:
        await profiles.get("ada")
    assert error.value.detail.startswith("profile:ada: ")


async def test_a_foreign_index_entry_is_recognised(profiles: ProfileStore, store: Store) -> None:
    await profiles.create(PROFILE)
    mine = await store.get(identity_key(ADA))
    assert mine is not None
    await store.swap(identity_key(OTHER), None, mine)  # another identity's answer, as a faulty driver might hand out
    with pytest.raises(CorruptRecord):
        await profiles.resolve(OTHER)
    await store.swap(identity_key(OTHER), mine, json.dumps({"v": 1, "identity": ["google", "7"]}).encode())
    with pytest.raises(CorruptRecord):
        await profiles.resolve(OTHER)


@given(st.tuples(st.text(max_size=8), st.text(max_size=8)), st.tuples(st.text(max_size=8), st.text(max_size=8)))
def test_no_two_identities_share_a_key(one: tuple[str, str], two: tuple[str, str]) -> None:
    assert (identity_key(Identity(*one)) == identity_key(Identity(*two))) == (one == two)


def test_separators_can_not_be_smuggled_in() -> None:
    assert identity_key(Identity("a", "b:c")) != identity_key(Identity("a:b", "c"))
    assert identity_key(Identity("a", "")) != identity_key(Identity("", "a"))


@pytest.mark.parametrize(
    ("profile", "field"),
    [
        (Profile(""), "profile.principal"),
        (Profile("a b"), "profile.principal"),
        (Profile("a" * 129), "profile.principal"),
        (Profile("a*"), "profile.principal"),
        (Profile("a", (ADA, ADA)), "profile.identities"),
        (Profile("a", tuple(Identity("p", str(n)) for n in range(33))), "profile.identities"),
        (Profile("a", (Identity("", "x"),)), "profile.identities[0].provider"),
        (Profile("a", (Identity("p", ""),)), "profile.identities[0].subject"),
        (Profile("a", (Identity("p", "x" * 2049),)), "profile.identities[0].subject"),
        (Profile("a", claims={"sub": "x"}), "profile.claims.sub"),
        (Profile("a", claims={"tm_x": 1}), "profile.claims.tm_x"),
        (Profile("a", claims={"x": "y" * 16384}), "profile.claims"),
        (Profile("a", claims={"x": [[[[[[[[]]]]]]]]}), "profile.claims"),
        (Profile("a", claims={"x": float("nan")}), "profile.claims"),
        (Profile("a", claims={"x": [float("inf")]}), "profile.claims"),
        (Profile("a", claims={"x": "\ud800"}), "profile.claims"),
        (Profile("a", roles=("r",) * 65), "profile.roles"),
        (Profile("a", roles=("",)), "profile.roles[0]"),
        (Profile("a", roles=("r" * 129,)), "profile.roles[0]"),
    ],
)
def test_the_limits_of_a_profile(profile: Profile, field: str) -> None:
    assert [violation.field for violation in profile_violations(profile)] == [field]


def test_a_profile_at_its_limits_is_accepted() -> None:
    identities = tuple(Identity("p", str(number)) for number in range(32))
    claims = {"x": [[[[[[[]]]]]]], "y": "z" * 16000}
    assert not profile_violations(Profile("a" * 128, identities, claims=claims, roles=("r" * 128,) * 64))  # type: ignore[arg-type]
