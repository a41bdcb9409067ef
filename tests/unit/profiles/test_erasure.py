"""Erased persons: what is left of them in a real store, and what it does."""

import json
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import pytest
from tests.fakes import FakeClock, FakeEntropy
from tests.unit.profiles.persons import KEK, Persons, persons

from tokenmint.base.errors import (
    ConfigurationError,
    CorruptRecord,
    PrincipalDisabled,
    PrincipalUnknown,
    StoreUnavailable,
    WrongState,
)
from tokenmint.exchange.erasure import is_step
from tokenmint.model.policy import OnMissingProfile
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_TOKEN, JsonValue, VerifiedToken
from tokenmint.profiles.erasure import KEY
from tokenmint.profiles.records import Link, dump_link, identity_key
from tokenmint.profiles.resolve import just_in_time_principal
from tokenmint.storage.reading import Answer
from tokenmint.storage.redis import Change, Store

ADA = Identity("idp", "1842-of-ada")
OTHER = Identity("google", "7-of-ada")
UNLINKED = Identity("github", "old-of-ada")
TOKEN = VerifiedToken(
    provider="idp", issuer="https://idp.example", subject=ADA.subject, token_type=ID_TOKEN, claims=MappingProxyType({}),
    issued_at=1.0, expires_at=300.0, fingerprint="f", replay_id="r", single_use=False,
)  # fmt: skip


@pytest.fixture
def people(store: Store, clock: FakeClock, entropy: FakeEntropy) -> Persons:
    return persons(store, clock, entropy)


async def ada(people: Persons, clock: FakeClock) -> None:
    """Make a person with everything that the store may hold of one, beside another person."""
    mail = {"mail": "ada@ada.example"}
    await people.profiles.create(Profile("ada", (ADA, OTHER, UNLINKED), claims=mail, roles=("ada-role",)))
    await people.profiles.unlink("ada", UNLINKED)
    await people.profiles.create(Profile("adam", (Identity("idp", "9"),)))
    base: dict[str, JsonValue] = {"exp": int(clock.now()) + 60, "iat": 1, "aud": "x", "client_id": "ada", "sub": "adam"}
    acting: dict[str, JsonValue] = {"sub": "svc", "act": {"sub": "ada"}}
    held: list[dict[str, JsonValue]] = [{**base, "sub": "ada"}, {**base, "act": acting}, base]
    for number, claims in enumerate(held):
        await people.issued.keep(Secret(f"tmr_{number}"), {**claims, "jti": str(number)}, idle=None, now=clock.now())


async def test_nothing_is_left_but_a_keyed_hash(people: Persons, clock: FakeClock) -> None:
    await ada(people, clock)
    assert await people.erase("ada") == (True, 3, 2)
    left = await people.every_value()
    for text in ("1842", "of-ada", "ada@", "ada-role", '"ada"', "profile:ada ", identity_key(ADA), identity_key(OTHER)):
        assert text not in left.replace('"client_id":"ada"', ""), text
    assert "profile:adam" in left
    assert left.count("reference:") == 1
    assert left.count("erased:") == 1 + 4  # the key; the principal and three identities
    assert await people.erase("ada") == (True, 0, 0)
    assert await people.erase("nobody") == (False, 0, 0)
    assert (await people.every_value()).count("erased:") == 5


async def test_an_erased_person_stays_refused_until_an_operator_lets_it_back(people: Persons, clock: FakeClock) -> None:
    await ada(people, clock)
    await people.erase("ada")
    for identity in (ADA, OTHER, UNLINKED):
        token = replace(TOKEN, provider=identity.provider, subject=identity.subject)
        with pytest.raises(PrincipalDisabled, match="deleted"):
            await people.lookup.find(token)
    with pytest.raises(PrincipalDisabled):
        await people.lookup.find_principal("ada", 1e12)
    with pytest.raises(WrongState, match="replace_deleted"):
        await people.profiles.create(Profile("ada", (ADA,)))
    (refused,) = await people.batches.put([Profile("ada", (ADA,))])
    assert isinstance(refused, WrongState)
    back = await people.profiles.create(Profile("ada", (ADA,)), replace_deleted=True)
    assert back.tokens_valid_after is not None  # tokens from before the erasure stay refused
    assert (await people.lookup.find(replace(TOKEN, issued_at=1e12))).profile == back
    await people.profiles.delete("ada")
    await people.erase("ada")
    with pytest.raises(PrincipalDisabled):
        await people.lookup.find(TOKEN)


async def test_an_identity_of_an_erased_person_comes_back_under_no_other_name(
    people: Persons, clock: FakeClock
) -> None:
    await ada(people, clock)
    await people.profiles.create(Profile("bob"))
    await people.erase("ada")
    before = await people.every_value()
    for identity in (ADA, UNLINKED):
        with pytest.raises(WrongState, match="was erased with its person"):
            await people.profiles.create(Profile("eve", (Identity("idp", "eve"), identity)))
        with pytest.raises(WrongState, match="replace_deleted"):
            await people.profiles.link("bob", identity)
    with pytest.raises(WrongState):
        await people.profiles.put(Profile("bob", (OTHER,)))
    for dry in (True, False):
        outcomes = await people.batches.put(
            [Profile("eve", (ADA,)), Profile("bob", (OTHER,)), Profile("carl", (Identity("idp", "carl"),))], dry=dry
        )
        assert [isinstance(outcome, WrongState) for outcome in outcomes] == [True, True, False]
    await people.profiles.unlink("carl", Identity("idp", "carl"))
    left = await people.every_value()
    assert "of-ada" not in left
    assert left.count("identity:") == before.count("identity:") + 1  # carl's
    with pytest.raises(PrincipalDisabled):
        await people.lookup.find(TOKEN)


async def test_an_identity_that_is_erased_during_a_change_is_not_linked(
    people: Persons, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.profiles.create(Profile("bob"))
    looked = people.erasures.identities_among
    for change in (
        lambda: people.profiles.create(Profile("eve", (ADA,))),
        lambda: people.profiles.link("bob", ADA),
        lambda: people.batches.put([Profile("eve", (ADA,))]),
        lambda: people.batches.put([Profile("bob", (ADA,))]),
    ):
        asked = 0

        async def erasing(identities: Sequence[Identity]) -> frozenset[Identity]:
            nonlocal asked
            asked += 1
            if asked == 2:  # after the first look, by another replica
                await people.erasures.mark(None, [ADA])
            return await looked(identities)

        monkeypatch.setattr(people.erasures, "identities_among", erasing)
        outcome: object = None
        try:
            outcome = await change()
        except WrongState as refusal:
            outcome = [refusal]
        monkeypatch.setattr(people.erasures, "identities_among", looked)
        assert isinstance(outcome, list)
        assert isinstance(outcome[0], WrongState)
        assert asked == 2
        assert "1842" not in await people.every_value()
        await people.erasures.clear("nobody", [ADA])


async def test_an_identity_that_another_principal_got_at_the_same_time_is_not_erased(people: Persons) -> None:
    await people.profiles.create(Profile("ada", (ADA, OTHER)))
    raw = await people.store.get(identity_key(ADA))
    assert await people.store.swap(identity_key(ADA), raw, dump_link(ADA, Link("carl")))  # as of two creations at once
    carl = await people.profiles.create(Profile("carl", (ADA,)))
    assert (await people.erase("ada"))[:2] == (True, 1)
    assert await people.erasures.identities_among([ADA, OTHER]) == {OTHER}
    assert (await people.lookup.find(TOKEN)).profile == carl
    await people.profiles.delete("carl")
    assert (await people.erase("carl"))[:2] == (True, 1)
    assert await people.erasures.identities_among([ADA]) == {ADA}


async def test_an_operator_lets_an_identity_back_under_a_new_name(people: Persons, clock: FakeClock) -> None:
    await ada(people, clock)
    await people.erase("ada")
    back = await people.profiles.create(Profile("lovelace", (ADA,)), replace_deleted=True)
    assert back.tokens_valid_after is not None  # tokens from before the erasure stay refused
    assert (await people.lookup.find(replace(TOKEN, issued_at=1e12))).profile == back
    await people.profiles.unlink("lovelace", ADA)
    await people.profiles.link("lovelace", ADA)  # the hash is gone


async def test_an_erased_person_that_may_return_is_somebody_new(people: Persons, clock: FakeClock) -> None:
    await ada(people, clock)
    await people.erase("ada", allow_return=True)
    assert "erased:" not in await people.every_value()
    lookup = await people.lookup.find(TOKEN)
    assert lookup.profile is None
    with pytest.raises(PrincipalUnknown):
        await people.lookup.apply_missing_profile_policy(lookup, OnMissingProfile.DENY, now=clock.now())
    created = await people.lookup.apply_missing_profile_policy(lookup, OnMissingProfile.CREATE, now=clock.now())
    assert created.principal == just_in_time_principal(ADA)


async def test_a_person_that_was_created_just_in_time_is_not_created_again(people: Persons, clock: FakeClock) -> None:
    lookup = await people.lookup.find(TOKEN)
    made = await people.lookup.apply_missing_profile_policy(lookup, OnMissingProfile.CREATE, now=clock.now())
    assert (await people.erase(made.principal))[:2] == (True, 1)
    with pytest.raises(PrincipalDisabled):
        await people.lookup.find(TOKEN)
    with pytest.raises(PrincipalDisabled):
        await people.lookup.apply_missing_profile_policy(lookup, OnMissingProfile.CREATE, now=clock.now())


async def test_a_sign_in_during_an_erasure_creates_nothing(people: Persons, clock: FakeClock) -> None:
    lookup = await people.lookup.find(TOKEN)
    await people.erasures.mark(None, [ADA])  # after the look, by another replica
    with pytest.raises(PrincipalDisabled, match="deleted"):
        await people.lookup.apply_missing_profile_policy(lookup, OnMissingProfile.CREATE, now=clock.now())
    left = await people.every_value()
    assert "1842" not in left
    assert "profile:" not in left


async def test_an_erasure_that_broke_off_is_completed_by_the_next(
    people: Persons, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada(people, clock)
    swap_many = people.store.swap_many
    for allowed in range(4):
        left = allowed

        async def failing(changes: object, **options: bool) -> list[bool]:
            nonlocal left
            left -= 1
            if left < 0:
                raise CorruptRecord(detail="broke off")
            return await swap_many(changes, **options)  # type: ignore[arg-type]  # as they came

        monkeypatch.setattr(people.store, "swap_many", failing)
        with pytest.raises(CorruptRecord):
            await people.erase("ada")
        monkeypatch.setattr(people.store, "swap_many", swap_many)
        with pytest.raises(PrincipalDisabled):  # at every place
            await people.lookup.find(TOKEN)
    await people.erase("ada")
    assert "of-ada" not in await people.every_value()
    with pytest.raises(WrongState):  # its identities are not known any more
        await people.erase("ada", allow_return=True)


async def test_the_hashes_are_known_by_every_replica_and_under_another_encryption_key(
    people: Persons, clock: FakeClock, entropy: FakeEntropy
) -> None:
    await ada(people, clock)
    await people.erase("ada")
    new = Secret("n" * 32)
    renewed = persons(people.store, clock, entropy, new, KEK)
    with pytest.raises(PrincipalDisabled):
        await renewed.lookup.find(TOKEN)
    await renewed.erasures.reseal()
    await renewed.erasures.reseal()  # changes nothing
    with pytest.raises(PrincipalDisabled):
        await persons(people.store, clock, entropy, new).lookup.find(TOKEN)
    with pytest.raises(ConfigurationError, match="encryption key"):  # no unknown identity is let in
        await people.lookup.find(replace(TOKEN, subject="new"))


async def test_a_key_in_a_wrong_form_lets_nobody_unknown_in(people: Persons, clock: FakeClock) -> None:
    await people.store.swap(KEY, None, json.dumps({"v": 9}).encode())
    with pytest.raises(CorruptRecord):
        await people.lookup.find(TOKEN)


async def test_an_erasure_does_not_pass_over_records_that_it_could_not_read(
    people: Persons, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada(people, clock)
    get_many = people.store.get_many
    for kind in ("identity:", "reference:"):

        async def away(keys: Sequence[str], *, fenced: bool = True, kind: str = kind) -> list[Answer]:
            answers = await get_many(keys, fenced=fenced)  # a node of a Cluster is away
            return [StoreUnavailable() if key.startswith(kind) else one for key, one in zip(keys, answers, strict=True)]

        monkeypatch.setattr(people.store, "get_many", away)
        with pytest.raises(StoreUnavailable):
            await people.erase("ada")
        monkeypatch.setattr(people.store, "get_many", get_many)
    await people.erase("ada")
    assert "of-ada" not in await people.every_value()

    async def none(keys: Sequence[str], *, fenced: bool = True) -> list[Answer]:
        return [StoreUnavailable() for _ in keys]

    monkeypatch.setattr(people.store, "get_many", none)
    with pytest.raises(StoreUnavailable):  # or the person would stay refused
        await people.erasures.clear("ada", [ADA])


async def test_a_reference_token_that_is_used_during_an_erasure_is_erased(
    people: Persons, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.profiles.create(Profile("ada", (ADA,)))
    claims: dict[str, JsonValue] = {"exp": int(clock.now()) + 600, "iat": 1, "aud": "x", "client_id": "c", "sub": "ada"}
    reference = Secret("tmr_sliding")
    await people.issued.keep(reference, {**claims, "jti": "1"}, idle=60, now=clock.now())
    swap_many = people.store.swap_many

    async def used(changes: Sequence[Change], *, durable: bool = True) -> list[bool]:
        if any(key.startswith("reference:") for key, _, _ in changes):
            monkeypatch.setattr(people.store, "swap_many", swap_many)
            clock.advance(30)
            issued = await people.issued.find(reference)
            assert issued is not None
            await people.issued.used(issued, now=clock.now())
        return await swap_many(changes, durable=durable)

    monkeypatch.setattr(people.store, "swap_many", used)
    assert await people.erase("ada") == (True, 1, 1)
    assert "reference:" not in await people.every_value()


def test_a_step_begins_where_one_can() -> None:
    for text in ("identities.", "tokens.12", "tokens.1:345", "identities.0:0"):
        assert is_step(text)
    for text in ("", "tokens", "other.1", "tokens.x", "tokens.1:2:3", "tokens.-1", "tokens." + "1" * 21, "tokens.٣"):
        assert not is_step(text)
