"""Many profiles at once, in a real store: what a batch does is what single changes do."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import PATIENT
from tests.fakes import FakeClock, FakeEntropy
from tests.unconfirmed import confirm_nothing
from tests.unit.profiles.persons import Persons, persons

from tokenmint.base.errors import AlreadyExists, OutcomeUnknown, TokenmintError, WrongState
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.records import identity_key, profile_key
from tokenmint.storage.reading import Answer
from tokenmint.storage.redis import Change, Store
from tokenmint.storage.server import Server

ADA = Identity("idp", "1842")
OTHER = Identity("google", "7")


@pytest.fixture
def people(store: Store, clock: FakeClock, entropy: FakeEntropy) -> Persons:
    return persons(store, clock, entropy)


def reasons(outcomes: Sequence[bool | TokenmintError]) -> list[bool | str]:
    return [outcome.reason if isinstance(outcome, TokenmintError) else outcome for outcome in outcomes]


async def test_a_batch_creates_and_replaces_and_the_later_of_two_counts(people: Persons) -> None:
    many = [Profile(f"p{number}", (Identity("idp", f"s{number}"),), roles=("clerk",)) for number in range(600)]
    outcomes = await people.batches.put([*many, Profile("p7", roles=("chief",))])
    assert outcomes == [True] * 600 + [False]
    changed = await people.profiles.get("p7")
    assert (changed.roles, changed.identities) == (("chief",), (Identity("idp", "s7"),))
    assert (await people.profiles.get_by_identity(Identity("idp", "s599"))).principal == "p599"
    assert await people.batches.put(many[:2]) == [False, False]


async def test_one_that_is_refused_keeps_no_other_from_its_change(people: Persons) -> None:
    await people.profiles.create(Profile("ada", (ADA,)))
    await people.profiles.create(Profile("gone"))
    await people.profiles.delete("gone")
    await people.profiles.create(Profile("full", tuple(Identity("idp", f"f{n}") for n in range(32))))
    outcomes = await people.batches.put(
        [Profile("bob", (ADA,)), Profile("gone"), Profile("full", (OTHER,)), Profile("eve", (OTHER,))]
    )
    assert isinstance(outcomes[0], AlreadyExists)
    assert "'ada'" in outcomes[0].message
    assert isinstance(outcomes[1], WrongState)
    assert isinstance(outcomes[2], WrongState)
    assert outcomes[3] is True
    assert await people.store.get(profile_key("bob")) is None


async def test_a_dry_run_tells_the_same_and_changes_nothing(people: Persons) -> None:
    await people.profiles.create(Profile("ada", (ADA,)))
    before = await people.every_value()
    outcomes = await people.batches.put([Profile("ada"), Profile("new", (OTHER,)), Profile("bob", (ADA,))], dry=True)
    assert reasons(outcomes) == [False, True, "ALREADY_EXISTS"]
    assert await people.every_value() == before


async def test_an_identity_that_was_unlinked_is_linked_again(people: Persons) -> None:
    await people.profiles.create(Profile("ada", (ADA, OTHER)))
    await people.profiles.unlink("ada", OTHER)
    assert await people.batches.put([Profile("ada", (OTHER,))]) == [False]
    assert (await people.profiles.get_by_identity(OTHER)).identities == (ADA, OTHER)


async def test_a_record_in_a_wrong_form_is_its_own_failure(people: Persons) -> None:
    await people.store.swap(profile_key("bad"), None, b"{}")
    await people.store.swap(identity_key(OTHER), None, b"{}")
    outcomes = await people.batches.put([Profile("bad"), Profile("worse", (OTHER,)), Profile("good", (ADA,))])
    assert reasons(outcomes)[2] is True
    assert all(isinstance(outcome, TokenmintError) for outcome in outcomes[:2])


async def test_what_others_change_meanwhile_is_changed_again(people: Persons, monkeypatch: pytest.MonkeyPatch) -> None:
    await people.profiles.create(Profile("ada", (ADA,)))
    swap_many = people.store.swap_many
    raced: list[bool] = []

    async def late(changes: Sequence[object], **options: bool) -> list[bool]:
        if not raced:
            raced.append(True)
            await people.profiles.update("ada", roles=("raced",))
            await people.profiles.create(Profile("new", (OTHER,), roles=("raced",)))
        return await swap_many(changes, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(people.store, "swap_many", late)
    assert await people.batches.put([Profile("ada", disabled=True), Profile("new", (OTHER,))]) == [False, False]
    assert (await people.profiles.get("ada")).disabled
    assert (await people.profiles.get("new")).roles == ()


async def test_simultaneous_batches_come_to_one_owner_of_each_identity(people: Persons) -> None:
    batches = [[Profile(f"{name}{n}", (Identity("idp", str(n)),)) for n in range(100)] for name in "ab"]
    outcomes = await asyncio.gather(*(people.batches.put(batch) for batch in batches))
    for number in range(100):
        owner = await people.profiles.get_by_identity(Identity("idp", str(number)))
        assert owner.principal in (f"a{number}", f"b{number}")
        assert True in (outcomes[0][number], outcomes[1][number])


async def test_what_was_written_before_is_not_acknowledged_without_a_confirmation(
    redis_url: str, redis_prefix: str, clock: FakeClock, entropy: FakeEntropy, people: Persons
) -> None:
    store = await Store.open(redis_url, prefix=redis_prefix, options=PATIENT)
    confirm_nothing(store)
    needing_a_replica = persons(store, clock, entropy)
    for _ in range(2):  # the second time nothing has to be written any more
        with pytest.raises(OutcomeUnknown):
            await needing_a_replica.batches.put([Profile("ada")])
    await store.close()
    assert await people.batches.put([Profile("ada")]) == [False]


async def each_alone(store: Store, keys: Sequence[str]) -> list[Answer]:
    """Read keys of the one server that stands for a Cluster."""
    return [await store.get(key) for key in keys]


async def test_in_a_cluster_each_profile_is_confirmed_by_its_own_node(
    people: Persons, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.batches.put([Profile("ada"), Profile("bob")])
    monkeypatch.setattr(Server, "clustered", True)
    monkeypatch.setattr(people.store, "get_many", lambda keys, **_: each_alone(people.store, keys))
    written: list[str] = []
    swap_many = people.store.swap_many

    async def noting(changes: Sequence[Change], *, durable: bool = True) -> list[bool]:
        written.extend(key for key, _, _ in changes if durable)
        return await swap_many(changes, durable=durable)

    monkeypatch.setattr(people.store, "swap_many", noting)
    assert await people.batches.put([Profile("ada"), Profile("bob", disabled=True)]) == [False, False]
    assert sorted(written) == ["profile:ada", "profile:bob"]


PRINCIPALS = st.sampled_from(["a", "b", "c"])
IDENTITIES = st.lists(st.builds(Identity, st.just("idp"), st.sampled_from(["1", "2", "3"])), unique=True, max_size=2)
PROFILES = st.builds(
    Profile,
    principal=PRINCIPALS,
    identities=IDENTITIES.map(tuple),
    disabled=st.booleans(),
    roles=st.sampled_from([(), ("x",)]),
)


def expected(
    before: list[Profile], gone: set[str], given: list[Profile]
) -> tuple[list[bool | str], dict[str, Profile]]:
    """Return what becomes of ``given``: of one that is refused, nothing; else it replaces all but identities."""
    known: dict[str, Profile] = {}
    deleted: dict[str, Profile] = {}

    def put(profile: Profile) -> bool | str:
        if profile.principal in deleted:
            return "WRONG_STATE"
        others = [one for name, one in (known | deleted).items() if name != profile.principal]
        if any(identity in one.identities for identity in profile.identities for one in others):
            return "ALREADY_EXISTS"
        old = known.get(profile.principal)
        identities = (*(old.identities if old else ()), *profile.identities)
        new = replace(profile, identities=tuple(dict.fromkeys(identities)))
        if old is not None:
            ends = new.disabled and not old.disabled
            new = replace(new, tokens_valid_after=int(FakeClock().now()) if ends else old.tokens_valid_after)
        known[profile.principal] = new
        return old is None

    for profile in before:
        put(profile)
    deleted |= {principal: known.pop(principal) for principal in gone & known.keys()}
    return [put(profile) for profile in given], known


@pytest.mark.slow
@given(
    before=st.lists(PROFILES, max_size=3), gone=st.sets(PRINCIPALS, max_size=1), given=st.lists(PROFILES, max_size=5)
)
def test_a_batch_is_its_profiles_in_their_order(
    redis_url: str, before: list[Profile], gone: set[str], given: list[Profile]
) -> None:
    async def put() -> tuple[list[bool | str], dict[str, Profile]]:
        store = await Store.open(redis_url, prefix=f"t{uuid4().hex}:", options=PATIENT)
        try:
            people = persons(store, FakeClock(), FakeEntropy())
            await people.batches.put(before)
            for principal in gone:
                if await people.profiles.stored(principal) is not None:
                    await people.profiles.delete(principal)
            outcomes = reasons(await people.batches.put(given))
            found = {}
            for principal in "abc":
                record = await people.profiles.stored(principal)
                if isinstance(record, Profile):
                    found[principal] = replace(record, create_time=0, update_time=0, etag="", claims={})
                    for identity in record.identities:
                        assert await people.profiles.resolve(identity) == record
            return outcomes, found
        finally:
            await store.close()

    told, found = expected(before, gone, given)
    assert asyncio.run(put()) == (told, {name: replace(one, claims={}) for name, one in found.items()})
