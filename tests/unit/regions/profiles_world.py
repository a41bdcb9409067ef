"""Regions that copy each other's profiles: the real parts on a store each, and links that can be cut."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.conftest import PATIENT
from tests.fakes import FakeClock, FakeEntropy
from tests.regions import make_identity
from tests.unit.profiles.persons import KEK
from tests.unit.regions.test_puller import ISSUER, pinned

from tokenmint.base.errors import TokenmintError
from tokenmint.exchange.erasure import PersonErasure
from tokenmint.issued.store import IssuedStore
from tokenmint.keys.publication import Publication
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.sealing import Sealer
from tokenmint.model.copies import Part, ProfilePage
from tokenmint.model.policy import OnMissingProfile
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.batches import ProfileBatches
from tokenmint.profiles.copies import ProfileCopies
from tokenmint.profiles.eraser import ProfileEraser
from tokenmint.profiles.erasure import Erasures
from tokenmint.profiles.feed import ProfileFeed, own_changes
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES, Record
from tokenmint.profiles.resolve import Profiles
from tokenmint.profiles.store import ProfileStore
from tokenmint.regions import profile_document
from tokenmint.regions.copying import Copying
from tokenmint.regions.directory import Regions, Times
from tokenmint.regions.given_up import GivenUp
from tokenmint.regions.identity import Identity as RegionIdentity
from tokenmint.regions.options import OtherRegion, RegionOptions
from tokenmint.regions.profile_document import Told
from tokenmint.regions.profile_puller import ProfilePuller
from tokenmint.regions.pulling import PullParts
from tokenmint.regions.store import RegionStore
from tokenmint.revocation.log import Reach, RevocationLog
from tokenmint.storage.redis import Store
from tokenmint.verification.key_source import FetchFailed, FetchResult, KeySource

SKEW: Final = 60.0
IDENTITIES: Final[Mapping[str, RegionIdentity]] = {name: make_identity(name)[1] for name in ("ap", "eu", "us")}


@dataclass
class Pinned:
    """A file, read."""

    value: Any


@dataclass
class Place:
    """One region."""

    name: str
    world: "World"
    store: Store
    profiles: ProfileStore
    batches: ProfileBatches
    erasure: PersonErasure
    lookup: Profiles
    feed: ProfileFeed
    copies: ProfileCopies
    regions: Regions
    copying: Copying
    epoch: int = 7
    pullers: dict[str, ProfilePuller] = field(default_factory=dict)
    asked: list[tuple[str, Part, str]] = field(default_factory=list)
    """Its questions so far: the region that asks, the part, and the place."""

    async def answer(self, to: str, part: Part, epoch: int, after: str) -> str:
        """Answer as `RegionAnswers.profiles`."""
        self.asked.append((to, part, after))
        known = epoch == self.epoch
        page = await self.feed.page(part, after if known else "" if part is Part.ALL else "0-0")
        if part is Part.CHANGES and not known:
            page = ProfilePage(page.records, page.erased, page.gone, page.following, page.more, gap=True)
        told = Told(self.world.clock.now(), self.epoch, page)
        return profile_document.write(IDENTITIES[self.name], ISSUER, self.name, to, part, told)

    async def record(self, principal: str) -> Record | None:
        """Return the stored record of a principal."""
        return await self.profiles.stored(principal)

    async def serves(self, identity: Identity) -> bool:
        """Return whether an exchange for an identity would be answered where profiles may be missing."""
        try:
            await self.lookup.find_identity(identity, self.world.clock.now())
        except TokenmintError:
            return False
        return True

    async def see(self, identity: Identity) -> Profile:
        """Create a profile just in time, where there is none."""
        found = await self.lookup.find_identity(identity, self.world.clock.now())
        now = self.world.clock.now()
        return await self.lookup.apply_missing_profile_policy(found, OnMissingProfile.CREATE, now=now)

    async def erase(self, principal: str, *, allow_return: bool = False) -> None:
        """Erase a person, in all steps."""
        done = await self.erasure.begin(principal, allow_return=allow_return)
        while done.following:
            done = await self.erasure.go_on(principal, done.following, allow_return=allow_return)


@dataclass
class World:
    """All regions."""

    clock: FakeClock
    places: dict[str, Place] = field(default_factory=dict)
    cut: set[tuple[str, str]] = field(default_factory=set)
    """Links that are cut, by the region that asks and the one that answers."""
    answer: Any = None
    """Answers in place of a region, if it is set."""

    async def pull(self, to: str, other: str) -> bool:
        """Let a region pull from another; return whether the link was there."""
        if (to, other) in self.cut:
            return False
        await self.places[to].pullers[other].pull()
        return True

    async def settle(self) -> None:
        """Mend all links, and pull until nothing is new."""
        self.cut.clear()
        for _ in range(4):
            for to, place in self.places.items():
                for other in place.pullers:
                    await self.pull(to, other)

    def give_up(self, region: str) -> None:
        """Let every other region know that a region was given up."""
        for name, place in self.places.items():
            if name != region:
                place.regions.note_given_up({region: GivenUp("statement", self.clock.now())})

    def fetch(self, own: str, other: str) -> Any:
        async def answered(source: KeySource, url: str, *, etag: str | None) -> FetchResult:
            assert etag is None
            assert dict(source.headers)["authorization"].startswith("Bearer ey")
            if (own, other) in self.cut:
                raise FetchFailed("the link is cut")
            query = {name: value for name, [value] in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}
            assert query["for"] == own
            if self.answer is not None:
                return FetchResult(200, {}, self.answer(query))
            text = await self.places[other].answer(own, Part(query["part"]), int(query["epoch"]), query["after"])
            return FetchResult(200, {}, text.encode())

        return answered


async def make_world(
    url: str, prefix: str, clock: FakeClock, closing: AsyncExitStack, *names: str, begun: bool = True
) -> World:
    """Make regions, by default `eu` and `us`, whose stores are apart by their prefixes."""
    world = World(clock)
    names = names or ("eu", "us")
    for number, name in enumerate(names):
        store = await Store.open(url, prefix=f"{prefix}{name}:", options=PATIENT)
        closing.push_async_callback(store.close)
        world.places[name] = _place(world, name, names, store, FakeEntropy(number), begun=begun)
    return world


def _place(
    world: World, name: str, names: tuple[str, ...], store: Store, entropy: FakeEntropy, *, begun: bool
) -> Place:
    clock = world.clock
    others = {
        other: OtherRegion(other, KeySource("jwks", f"https://{other}.example"), pinned(IDENTITIES[other]))
        for other in names
        if other != name
    }
    options = RegionOptions(
        name=name, poll=1.0, longest_cut=100.0, profiles=True, others=MappingProxyType(others),
        identity=Pinned(IDENTITIES[name]),  # type: ignore[arg-type]
    )  # fmt: skip
    times = Times(clock.now, 10.0, SKEW, 86400.0, lambda: 3600.0)
    regions = Regions(RegionStore(store), options, Publication(Schedule()), times, lambda: begun)
    near = NearCache(store, PREFIXES, 0, clock)
    erasures = Erasures(store, near, clock, Sealer(KEK, entropy, ()), entropy)
    log = RevocationLog(store, Reach(clock.now, lambda: 3600.0), most=10_000)

    async def now() -> float:
        return clock.now()

    def read_only(home: str) -> bool:
        return bool(home) and home not in regions.given_up

    profiles = ProfileStore(store, clock, near, now, erasures, log, read_only)
    store.note_changes(own_changes())
    copies = ProfileCopies(profiles, store, near, clock, erasures, lambda home: home in regions.given_up, SKEW)
    copying = Copying(regions, lambda: copies.refused, lambda: begun)
    place = Place(
        name=name,
        world=world,
        store=store,
        profiles=profiles,
        batches=ProfileBatches(profiles, store, near, clock, erasures, log),
        erasure=PersonErasure(ProfileEraser(profiles, store, near, erasures), IssuedStore(store)),
        lookup=Profiles(profiles),
        feed=ProfileFeed(store, erasures),
        copies=copies,
        regions=regions,
        copying=copying,
    )
    for other, region in others.items():
        parts = PullParts(regions, ISSUER, world.fetch(name, other), log, clock, lambda: "", "one")
        place.pullers[other] = ProfilePuller(region, parts, copying, copies.take_over)
    return place
