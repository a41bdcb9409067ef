"""From a proved identity to a profile, by each audience's rule."""

import asyncio
from dataclasses import replace
from types import MappingProxyType

import pytest
from tests.fakes import FakeClock

from tokenmint.base.errors import PrincipalDisabled, PrincipalUnknown
from tokenmint.base.token_errors import TokenRevoked
from tokenmint.exchange.actors import check_actors
from tokenmint.model.issued import ActorName
from tokenmint.model.policy import OnMissingProfile
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.tokens import ID_TOKEN, VerifiedToken
from tokenmint.profiles.resolve import Profiles, just_in_time_principal
from tokenmint.profiles.store import ProfileStore
from tokenmint.storage.redis import Store

NOW = 1_800_000_000.0
ADA = Identity("idp", "1842")
ASSERTION = VerifiedToken(
    provider="idp", issuer="https://idp.example", subject="1842", token_type=ID_TOKEN, claims=MappingProxyType({}),
    issued_at=NOW, expires_at=NOW + 300, fingerprint="f", replay_id="r", single_use=False,
)  # fmt: skip


@pytest.fixture
def stored(store: Store, clock: FakeClock) -> ProfileStore:
    return ProfileStore(store, clock)


@pytest.fixture
def profiles(stored: ProfileStore) -> Profiles:
    return Profiles(stored)


async def test_a_registered_identity_has_its_profile(stored: ProfileStore, profiles: Profiles) -> None:
    created = await stored.create(Profile("ada", (ADA,)))
    lookup = await profiles.find(ASSERTION)
    assert (lookup.identity, lookup.profile) == (ADA, created)
    for mode in OnMissingProfile:
        assert await profiles.apply_missing_profile_policy(lookup, mode, now=NOW) == created


async def test_an_unknown_identity_by_each_rule(stored: ProfileStore, profiles: Profiles) -> None:
    lookup = await profiles.find(ASSERTION)
    assert lookup.profile is None
    with pytest.raises(PrincipalUnknown):
        await profiles.apply_missing_profile_policy(lookup, OnMissingProfile.DENY, now=NOW)
    without = await profiles.apply_missing_profile_policy(lookup, OnMissingProfile.WITHOUT, now=NOW)
    assert await stored.resolve(ADA) is None  # nothing was stored
    created = await profiles.apply_missing_profile_policy(lookup, OnMissingProfile.CREATE, now=NOW)
    assert created.principal == without.principal == just_in_time_principal(ADA)
    assert (await profiles.find(ASSERTION)).profile == created


async def test_simultaneous_creations_come_to_one_profile(profiles: Profiles) -> None:
    lookup = await profiles.find(ASSERTION)
    made = await asyncio.gather(
        *(profiles.apply_missing_profile_policy(lookup, OnMissingProfile.CREATE, now=NOW) for _ in range(8))
    )
    assert len({profile.etag for profile in made}) == 1


async def test_who_was_disabled_deleted_or_unlinked_is_refused(stored: ProfileStore, profiles: Profiles) -> None:
    await stored.create(Profile("ada", (ADA,)))
    await stored.update("ada", disabled=True)
    with pytest.raises(PrincipalDisabled):
        await profiles.find(ASSERTION)
    await stored.update("ada", disabled=False)
    await stored.unlink("ada", ADA)
    with pytest.raises(PrincipalDisabled):
        await profiles.find(ASSERTION)
    await stored.link("ada", ADA)
    await stored.delete("ada")
    with pytest.raises(PrincipalDisabled):
        await profiles.find(ASSERTION)


async def test_a_tombstone_of_a_created_principal_is_not_passed(stored: ProfileStore, profiles: Profiles) -> None:
    lookup = await profiles.find(ASSERTION)
    created = await profiles.apply_missing_profile_policy(lookup, OnMissingProfile.CREATE, now=NOW)
    await stored.delete(created.principal)
    for mode in (OnMissingProfile.WITHOUT, OnMissingProfile.CREATE):
        with pytest.raises(PrincipalDisabled):
            await profiles.apply_missing_profile_policy(await profiles.find(ASSERTION), mode, now=NOW)
    # A lookup from before the deletion does not bring the principal back either.
    with pytest.raises(PrincipalDisabled):
        await profiles.apply_missing_profile_policy(lookup, OnMissingProfile.CREATE, now=NOW)


async def test_a_tombstone_without_an_index_entry_is_met_too(
    stored: ProfileStore, profiles: Profiles, store: Store
) -> None:
    principal = just_in_time_principal(ADA)
    await stored.create(Profile(principal))
    await stored.delete(principal)
    with pytest.raises(PrincipalDisabled):
        await profiles.find(ASSERTION)


@pytest.mark.parametrize(("offset", "accepted"), [(-1, False), (0, False), (0.9, False), (1, True)])
async def test_nothing_issued_in_or_before_the_second_of_revocation(
    stored: ProfileStore, profiles: Profiles, offset: float, accepted: bool
) -> None:
    await stored.create(Profile("ada", (ADA,)))
    second = await stored.revoke_tokens("ada")
    verified = replace(ASSERTION, issued_at=second + offset)
    if accepted:
        assert (await profiles.find(verified)).profile
    else:
        with pytest.raises(TokenRevoked):
            await profiles.find(verified)


async def test_a_token_that_does_not_say_when_it_was_issued_is_revoked_too(
    stored: ProfileStore, profiles: Profiles
) -> None:
    await stored.create(Profile("ada", (ADA,)))
    assert await profiles.find(replace(ASSERTION, issued_at=None))
    await stored.revoke_tokens("ada")
    with pytest.raises(TokenRevoked):
        await profiles.find(replace(ASSERTION, issued_at=None))


async def test_a_principal_that_was_revoked_in_another_region_is_refused_as_subject_and_as_actor(
    stored: ProfileStore,
) -> None:
    # The log of revocations knows it, and the profile does not. Of one without a profile, the log alone knows.
    await stored.create(Profile("ada", (ADA,)))
    log = {"ada": int(NOW), "ghost": int(NOW)}.get
    profiles = Profiles(stored, log, spread=log)
    for principal in ("ada", "ghost"):
        with pytest.raises(TokenRevoked):
            await check_actors(profiles, [ActorName("", principal)], NOW, lambda _: ())
        with pytest.raises(TokenRevoked):
            await profiles.find_principal(principal, NOW)
        assert await profiles.find_principal(principal, NOW + 1)
    with pytest.raises(TokenRevoked):
        await profiles.find(ASSERTION)


async def test_with_one_region_the_profile_alone_says_what_is_revoked(stored: ProfileStore) -> None:
    # The log tells verifiers of a disabled principal some seconds more than its profile refuses (`log.SETTLE`).
    await stored.create(Profile("ada", (ADA,)))
    assert await Profiles(stored, {"ada": int(NOW)}.get).find_principal("ada", NOW)
