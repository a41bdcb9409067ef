"""The parts that manage persons, on a store, for tests."""

from dataclasses import dataclass

from tests.fakes import FakeClock, FakeEntropy

from tokenmint.exchange.erasure import PersonErasure
from tokenmint.issued.store import IssuedStore
from tokenmint.keys.sealing import Sealer
from tokenmint.model.secret import Secret
from tokenmint.profiles.batches import ProfileBatches
from tokenmint.profiles.eraser import ProfileEraser
from tokenmint.profiles.erasure import Erasures
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES
from tokenmint.profiles.resolve import Profiles
from tokenmint.profiles.store import ProfileStore
from tokenmint.storage.redis import Store

KEK = Secret("k" * 32)


@dataclass(frozen=True, slots=True)
class Persons:
    """The parts on one store, without a near cache, as every one of several replicas has them."""

    store: Store
    profiles: ProfileStore
    batches: ProfileBatches
    erasures: Erasures
    erasure: PersonErasure
    issued: IssuedStore
    lookup: Profiles

    async def erase(self, principal: str, *, allow_return: bool = False) -> tuple[bool, int, int]:
        """Erase a person in all steps; return whether there was anything, and the numbers of identities and tokens."""
        done = await self.erasure.begin(principal, allow_return=allow_return)
        found, identities, tokens = done.found, done.identities, done.tokens
        while done.following:
            done = await self.erasure.go_on(principal, done.following, allow_return=allow_return)
            identities, tokens = identities + done.identities, tokens + done.tokens
        return found, identities, tokens

    async def every_value(self) -> str:
        """Return all keys and values of the store as one text."""
        found, cursor = "", ""
        while True:
            cursor, keys = await self.store.scan("*", cursor, 1000)
            for key in keys:
                found += f"{key} {await self.store.get(key)!r}\n"
            if not cursor:
                return found


def persons(store: Store, clock: FakeClock, entropy: FakeEntropy, kek: Secret = KEK, *others: Secret) -> Persons:
    """Make the parts."""
    near = NearCache(store, PREFIXES, 0, clock)
    erasures = Erasures(store, near, clock, Sealer(kek, entropy, others), entropy)
    profiles = ProfileStore(store, clock, near, erasures=erasures)
    issued = IssuedStore(store)
    return Persons(
        store=store,
        profiles=profiles,
        batches=ProfileBatches(profiles, store, near, clock, erasures),
        erasures=erasures,
        erasure=PersonErasure(ProfileEraser(profiles, store, near, erasures), issued),
        issued=issued,
        lookup=Profiles(profiles),
    )
