"""A change that is repeated, because it was not confirmed or verifiers could not be told, is made as a whole."""

from collections.abc import Awaitable, Callable

import pytest
from tests.fakes import FakeClock
from tests.unconfirmed import confirm_nothing

from tokenmint.base.errors import OutcomeUnknown, RevocationsFull
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.batches import ProfileBatches
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES
from tokenmint.profiles.store import ProfileStore
from tokenmint.revocation.log import KEY, Reach, RevocationLog
from tokenmint.storage.redis import Store

ADA = Identity("idp", "1842")
NOW = 1_800_000_000.0
Change = Callable[[ProfileStore, ProfileBatches], Awaitable[object]]
ENDING: dict[str, Change] = {
    "disable": lambda profiles, _: profiles.update("ada", disabled=True),
    "revoke": lambda profiles, _: profiles.revoke_tokens("ada"),
    "delete": lambda profiles, _: profiles.delete("ada"),
    "import": lambda _, batches: batches.put([Profile("ada", disabled=True)]),
}
OTHERS: dict[str, Change] = {
    "roles": lambda profiles, _: profiles.update("ada", roles=("clerk",)),
    "unlink": lambda profiles, _: profiles.unlink("ada", ADA),
}


async def _now() -> float:
    return NOW


def parts(store: Store, clock: FakeClock, log: RevocationLog | None) -> tuple[ProfileStore, ProfileBatches]:
    near = NearCache(store, PREFIXES, 0, clock)
    profiles = ProfileStore(store, clock, near, store_time=_now, log=log)
    return profiles, ProfileBatches(profiles, store, near, clock, None, log)


@pytest.mark.parametrize("change", ENDING)
async def test_verifiers_are_told_by_the_repetition_after_the_log_was_full(
    store: Store, clock: FakeClock, change: str
) -> None:
    log = RevocationLog(store, Reach(clock.now, lambda: 600.0), most=0)
    profiles, batches = parts(store, clock, log)
    await profiles.create(Profile("ada", (ADA,)))
    for _ in range(2):
        with pytest.raises(RevocationsFull):
            await ENDING[change](profiles, batches)
    log._most = 100
    await ENDING[change](profiles, batches)
    assert await store.server.client.xlen(store.prefix + KEY) == 1


@pytest.mark.parametrize("change", [*ENDING, *OTHERS])
async def test_a_repetition_is_not_acknowledged_without_a_confirmation(
    store: Store, clock: FakeClock, change: str
) -> None:
    profiles, batches = parts(store, clock, None)
    await profiles.create(Profile("ada", (ADA,)))
    confirm_nothing(store)
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            await {**ENDING, **OTHERS}[change](profiles, batches)


async def test_a_repetition_long_after_tells_nobody(store: Store, clock: FakeClock) -> None:
    """An import each night lists those who left years ago: they must not fill the log."""
    log = RevocationLog(store, Reach(clock.now, lambda: 600.0), most=100)
    profiles, batches = parts(store, clock, log)
    for name in ("ada", "bob", "eve"):
        await profiles.create(Profile(name))
        await profiles.update(name, disabled=True)
    await profiles.delete("eve")
    await store.server.client.delete(store.prefix + KEY)
    clock.advance(1000)
    await profiles.update("ada", disabled=True)
    await batches.put([Profile("bob", disabled=True)])
    await profiles.delete("eve")
    assert await store.server.client.xlen(store.prefix + KEY) == 0
