"""The parts of regions, if there are any beside this one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.config.regions import epoch_base
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.model.issued import Revocable
from tokenmint.process.foundation import Foundation
from tokenmint.profiles.copies import ProfileCopies
from tokenmint.profiles.erasure import Erasures
from tokenmint.profiles.feed import ProfileFeed, own_changes
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.store import ProfileStore
from tokenmint.regions.answers import RegionAnswers
from tokenmint.regions.copying import Copying
from tokenmint.regions.directory import Regions, Times
from tokenmint.regions.profile_puller import follow_profiles
from tokenmint.regions.puller import follow_regions
from tokenmint.regions.pulling import PullParts
from tokenmint.regions.store import RegionStore
from tokenmint.revocation.entries import Kind
from tokenmint.revocation.follower import Revocations
from tokenmint.revocation.log import RevocationLog
from tokenmint.storage.redis import Store
from tokenmint.verification.fetch import HttpFetch


@dataclass(frozen=True, slots=True)
class RegionParts:
    """The parts that know, and tell, other regions."""

    regions: Regions
    answers: RegionAnswers
    pulls: PullParts
    fetch: HttpFetch
    copies: "Copies | None" = None
    """The copies of the other regions' profiles; None: profiles are not copied."""

    async def refresh(self) -> None:
        """Read the records. Raises ``StoreUnavailable``, ``CorruptRecord``."""
        await self.regions.refresh()
        if self.copies is not None:
            await self.copies.copying.refresh()

    def follow(self, base: Foundation) -> None:
        """Follow the records, and pull from the other regions."""
        self.regions.follow(base.background)
        follow_regions(self.pulls, base.background)
        if self.copies is not None:
            self.copies.copying.follow(base.background)
            follow_profiles(self.pulls, self.copies.copying, self.copies.profiles.take_over, base.background)

    def files(self) -> list[RenewedFiles[Any]]:
        """Return the files that are looked at in the background. Those of fetches are read with each fetch."""
        return self.regions.options.files()


@dataclass(frozen=True, slots=True)
class Copies:
    """The parts that copy profiles, and tell those of this region."""

    profiles: ProfileCopies
    copying: Copying
    feed: ProfileFeed


def copies_of(
    base: Foundation,
    store: Store,
    near: NearCache,
    profiles: ProfileStore,
    erasures: Erasures,
    directory: Regions | None,
) -> Copies | None:
    """Return the parts, if profiles are copied.

    Raises:
        ConfigurationError: the store is a Cluster.
    """
    if directory is None or not directory.options.profiles:
        return None
    if store.server.clustered:
        raise ConfigurationError(
            "regions.profiles: needs a store that is no Cluster, which can't note a change in the step that makes it: "
            "use one primary with replicas, or leave it out"
        )
    store.note_changes(own_changes())
    skew = directory.times.skew
    copies = ProfileCopies(profiles, store, near, base.clock, erasures, lambda home: home in directory.given_up, skew)
    copying = Copying(directory, lambda: copies.refused, directory.begun)
    directory.before_first_key.append(copying.problem)
    base.readiness.require("copies of profiles", copying.problem)
    base.readiness.tell("copies of profiles", copying.detail)
    return Copies(copies, copying, ProfileFeed(store, erasures))


def read_only(directory: Regions | None) -> Callable[[str], bool]:
    """Return the function that tells whether records of a home region are read-only here."""
    if directory is None:
        return bool  # a copy stays one after regions are not configured any more
    return lambda home: bool(home) and home not in directory.given_up


def epochs(region: str, losses: Callable[[], int]) -> Callable[[], int]:
    """Return the epochs of a region's log: the number of losses of its store, told apart from those of others."""
    first = epoch_base(region)
    return lambda: first + losses()


def regions_of(
    base: Foundation, keys: SigningKeys, directory: Regions | None, log: RevocationLog, copies: Copies | None
) -> RegionParts | None:
    """Return the parts, if there are other regions."""
    if directory is None:
        return None
    name = directory.options.name
    fetch = HttpFetch()
    pulls = PullParts(
        regions=directory,
        issuer=base.issuer,
        fetch=fetch,
        log=log,
        clock=base.clock,
        clock_problem=keys.clocks.problem,
        holder=base.entropy(8).hex(),
    )
    pages = copies.feed.page if copies is not None else None
    answers = RegionAnswers(directory, base.issuer, keys, log, epochs(name, lambda: keys.ring.losses), pages)
    base.readiness.tell("key ids", answers.unnamed_keys)
    return RegionParts(directory, answers, pulls, fetch, copies)


def directory_of(base: Foundation, store: Store, keys: SigningKeys) -> Regions | None:
    """Return what is known of the other regions; None if there are none."""
    options = base.settings.regions
    if not options.others:
        return None
    schedule = keys.schedule

    def longest() -> float:
        return max(keys.ring.max_lifetime, schedule.max_lifetime)

    def begun() -> bool:
        return any(map(keys.in_use, base.settings.algorithms))

    held = max(schedule.max_age, schedule.verifier_cache)
    times = Times(keys.clocks.now, schedule.replica_lag, schedule.skew, held, longest)
    directory = Regions(RegionStore(store), options, keys.publication, times, begun)

    def first_key() -> str:
        if begun():
            return ""
        return "no key of this new region signs yet: each has to be published for keys.publish_ahead first"

    base.readiness.require("regions", directory.problem)
    base.readiness.tell("first key", first_key)
    base.readiness.tell("other regions", directory.detail)
    return directory


@dataclass(frozen=True, slots=True)
class Spread:
    """The revocations of other regions, for tokens that come back.

    The records in the store know only the revocations of this region.
    """

    covers: Callable[[Revocable], bool]
    """Returns whether a token was revoked in any region, as far as it is known here."""
    principal: Callable[[str], int | None] | None
    """Returns the second up to which a principal's tokens are revoked, or None; None: there is one region."""


def spread_of(following: Revocations, regions: Regions | None) -> Spread:
    """Return the revocations that this process has read from the log, if other regions add to it."""
    if regions is None:
        return Spread(lambda _: False, None)
    after = following.valid_after

    def covers(token: Revocable) -> bool:
        if any(after(Kind.TOKEN, token_id) is not None for token_id in token.token_ids):
            return True
        named = (Kind.CLIENT, token.client_id), (Kind.AUDIENCE, token.audience), (Kind.PRINCIPAL, token.principal)
        seconds = (after(kind, name) for kind, name in named)
        return any(second is not None and token.issued_at <= second for second in seconds)

    return Spread(covers, partial(after, Kind.PRINCIPAL))
