"""The revocation of all tokens of a principal that has no profile."""

import pytest
from tests.fakes import FakeClock

from tokenmint.base.errors import PrincipalDisabled
from tokenmint.base.token_errors import TokenRevoked
from tokenmint.exchange.mass_revocation import Configured, MassRevocation
from tokenmint.issued.store import IssuedStore
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES
from tokenmint.profiles.resolve import Profiles, just_in_time_principal
from tokenmint.profiles.store import ProfileStore
from tokenmint.profiles.unregistered import UnregisteredPrincipals
from tokenmint.revocation.log import Reach, RevocationLog
from tokenmint.storage.redis import Store

NOW = 1_800_000_000.0
ADA = Identity("idp", "1842")
PRINCIPAL = just_in_time_principal(ADA)


async def _now() -> float:
    return NOW


@pytest.fixture
def stored(store: Store, clock: FakeClock) -> ProfileStore:
    return ProfileStore(store, clock, store_time=_now)


@pytest.fixture
def many(stored: ProfileStore, store: Store, clock: FakeClock) -> MassRevocation:
    log = RevocationLog(store, Reach(clock.now, lambda: 600.0), most=100)
    unregistered = UnregisteredPrincipals(store, NearCache(store, PREFIXES, 0, clock), clock)
    return MassRevocation(
        stored, IssuedStore(store), log, _now, lambda: Configured({}, frozenset(), frozenset()), unregistered
    )


async def test_its_providers_tokens_stay_refused_when_the_log_has_forgotten_it(
    many: MassRevocation, stored: ProfileStore
) -> None:
    """The log keeps a principal for as long as our tokens live. A provider's token may live for longer."""
    await many.principal(PRINCIPAL)
    with pytest.raises(TokenRevoked):
        await Profiles(stored).find_identity(ADA, NOW)
    assert (await Profiles(stored).find_identity(ADA, NOW + 1)).profile is None


async def test_one_that_was_deleted_stays_deleted(many: MassRevocation, stored: ProfileStore) -> None:
    await stored.create(Profile(PRINCIPAL, (ADA,)))
    await stored.delete(PRINCIPAL)
    await many.principal(PRINCIPAL)
    with pytest.raises(PrincipalDisabled):
        await Profiles(stored).find_identity(ADA, NOW + 1)


async def test_a_name_that_no_identity_can_have_leaves_no_record(many: MassRevocation, stored: ProfileStore) -> None:
    await many.principal("adda")  # a misspelt name
    assert await stored.stored("adda") is None
