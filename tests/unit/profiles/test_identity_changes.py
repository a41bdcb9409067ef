"""Changes of signals, by identity: with a profile, without one, and while others change the same."""

import json
from contextlib import suppress

import pytest
from tests.fakes import FakeClock

from tokenmint.base.errors import NotFound, PrincipalDisabled, RevocationsFull, StoreUnavailable
from tokenmint.base.token_errors import TokenRevoked
from tokenmint.exchange.mass_revocation import Configured, MassRevocation
from tokenmint.issued.store import IssuedStore
from tokenmint.model.policy import OnMissingProfile
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.signals import Action
from tokenmint.profiles.identity_changes import Changed, IdentityChanges
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES, Unregistered, dump_unregistered, parse_record
from tokenmint.profiles.resolve import Profiles, just_in_time_principal
from tokenmint.profiles.store import ProfileStore
from tokenmint.profiles.unregistered import UnregisteredPrincipals
from tokenmint.revocation.log import Reach, RevocationLog
from tokenmint.storage.redis import Store

NOW = 1_800_000_000.0
ADA = Identity("idp", "1842")
ACTIONS = [Action.DISABLE, Action.REVOKE, Action.UNLINK]
OUTCOME = {Action.DISABLE: "disabled", Action.REVOKE: "revoked", Action.UNLINK: "unlinked"}


async def _now() -> float:
    return NOW


@pytest.fixture
def stored(store: Store, clock: FakeClock) -> ProfileStore:
    return ProfileStore(store, clock, store_time=_now)


@pytest.fixture
def changes(stored: ProfileStore, store: Store, clock: FakeClock) -> IdentityChanges:
    async def revoke(principal: str) -> None:
        with suppress(NotFound):  # verifiers alone would be told of it
            await stored.revoke_tokens(principal)

    return IdentityChanges(stored, store, NearCache(store, PREFIXES, 0, clock), clock, revoke)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("registered", [True, False])
async def test_every_action_refuses_what_was_issued_before(
    changes: IdentityChanges, stored: ProfileStore, action: Action, registered: bool
) -> None:
    if registered:
        await stored.create(Profile("ada", (ADA,)))
    principal = "ada" if registered else just_in_time_principal(ADA)
    assert await changes.make(ADA, action, unregistered=True) == Changed(principal, OUTCOME[action])
    with pytest.raises((TokenRevoked, PrincipalDisabled)):
        await Profiles(stored).find_identity(ADA, NOW)
    with pytest.raises((TokenRevoked, PrincipalDisabled)):
        await Profiles(stored).find_principal(principal, NOW)
    if action is Action.REVOKE:
        assert (await Profiles(stored).find_identity(ADA, NOW + 1)).identity == ADA
    else:
        with pytest.raises(PrincipalDisabled):
            await Profiles(stored).find_identity(ADA, NOW + 1)


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_action_made_twice_is_made_once(
    changes: IdentityChanges, stored: ProfileStore, action: Action
) -> None:
    for _ in range(2):
        await changes.make(ADA, action, unregistered=True)
    with pytest.raises((TokenRevoked, PrincipalDisabled)):
        await Profiles(stored).find_identity(ADA, NOW)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("registered", [True, False])
async def test_a_full_log_of_revocations_keeps_no_action_from_its_effect(
    store: Store, clock: FakeClock, action: Action, registered: bool
) -> None:
    log = RevocationLog(store, Reach(clock.now, lambda: 600.0), most=0)
    stored = ProfileStore(store, clock, store_time=_now, log=log)
    near = NearCache(store, PREFIXES, 0, clock)
    nothing = Configured({}, frozenset(), frozenset())
    unregistered = UnregisteredPrincipals(store, near, clock)
    many = MassRevocation(stored, IssuedStore(store), log, _now, lambda: nothing, unregistered)
    changes = IdentityChanges(stored, store, near, clock, many.principal)
    if registered:
        await stored.create(Profile("ada", (ADA,)))
    with pytest.raises(RevocationsFull):
        await changes.make(ADA, action, unregistered=True)
    later = NOW if action is Action.REVOKE else NOW + 5
    with pytest.raises((TokenRevoked, PrincipalDisabled)):
        await Profiles(stored).find_identity(ADA, later)
    with pytest.raises((TokenRevoked, PrincipalDisabled)):
        await Profiles(stored).find_principal("ada" if registered else just_in_time_principal(ADA), NOW)


@pytest.mark.parametrize("registered", [True, False])
async def test_an_unlinking_that_failed_after_a_part_has_revoked_already(
    stored: ProfileStore, store: Store, clock: FakeClock, registered: bool
) -> None:
    """Its repetition finds the identity refused, and does not know whose tokens it would have to end."""
    calls = 0

    async def revoke(principal: str) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise StoreUnavailable
        with suppress(NotFound):
            await stored.revoke_tokens(principal)

    changes = IdentityChanges(stored, store, NearCache(store, PREFIXES, 0, clock), clock, revoke)
    if registered:
        await stored.create(Profile("ada", (ADA,)))
    for failing in (1, 2):  # noqa: B007  # revoke reads it
        calls = 0
        with suppress(StoreUnavailable):
            await changes.make(ADA, Action.UNLINK, unregistered=True)
    await changes.make(ADA, Action.UNLINK, unregistered=True)
    with pytest.raises(TokenRevoked):
        await Profiles(stored).find_principal("ada" if registered else just_in_time_principal(ADA), NOW)


async def test_an_identity_that_nobody_serves_changes_nothing(changes: IdentityChanges, stored: ProfileStore) -> None:
    assert await changes.make(ADA, Action.DISABLE, unregistered=False) == Changed("", "unknown_subject")
    assert await stored.stored(just_in_time_principal(ADA)) is None


async def test_a_revocation_without_a_profile_makes_none(
    changes: IdentityChanges, stored: ProfileStore, clock: FakeClock
) -> None:
    await changes.make(ADA, Action.REVOKE, unregistered=True)
    principal = just_in_time_principal(ADA)
    assert await stored.stored(principal) == Unregistered(principal, int(NOW))
    assert (await stored.list(10, ""))[0] == []
    lookup = await Profiles(stored).find_identity(ADA, NOW + 5)
    assert lookup.profile is None
    made = await Profiles(stored).apply_missing_profile_policy(lookup, OnMissingProfile.CREATE, now=clock.now())
    assert made.tokens_valid_after == int(NOW)
    with pytest.raises(TokenRevoked):
        await Profiles(stored).find_identity(ADA, NOW)


async def test_a_deleted_or_unlinked_identity_is_refused_already(
    changes: IdentityChanges, stored: ProfileStore
) -> None:
    other = Identity("idp", "7")
    await stored.create(Profile("ada", (ADA, other)))
    await stored.unlink("ada", other)
    assert (await changes.make(other, Action.DISABLE, unregistered=True)).outcome == "refused_before"
    assert not (await stored.get("ada")).disabled
    await stored.delete("ada")
    assert (await changes.make(ADA, Action.REVOKE, unregistered=True)).outcome == "refused_before"


async def test_an_identity_of_the_same_name_at_another_provider_is_not_meant(
    changes: IdentityChanges, stored: ProfileStore
) -> None:
    await stored.create(Profile("ada", (ADA, Identity("other", "1842"))))
    await stored.create(Profile("eve", (Identity("work", "1842"),)))
    await changes.make(Identity("work", "1842"), Action.DISABLE, unregistered=True)
    assert not (await stored.get("ada")).disabled
    assert (await stored.get("eve")).disabled


def test_an_earlier_version_reads_the_record_as_a_profile_without_identities() -> None:
    raw = dump_unregistered(Unregistered("p_x", int(NOW)), NOW)
    value = json.loads(raw)
    assert value.pop("registered") is False
    read = parse_record("p_x", json.dumps(value).encode())
    assert isinstance(read, Profile)
    assert (read.identities, read.disabled, read.tokens_valid_after) == ((), False, int(NOW))
