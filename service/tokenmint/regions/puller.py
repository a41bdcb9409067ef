"""Pulls the documents of one other region: one background task for each.

What it learns is in the store before it counts: first the regions that were given up, then keys, then revocations.
"""

from collections.abc import Sequence
from typing import Final

from tokenmint.base.background import Background
from tokenmint.base.errors import DependencyUnavailable, RevocationsFull
from tokenmint.regions import document, given_up, records
from tokenmint.regions.document import Document
from tokenmint.regions.given_up import GivenUp
from tokenmint.regions.identity import RegionRefused
from tokenmint.regions.options import OtherRegion
from tokenmint.regions.pulling import LONGEST_PAUSE, PullParts, RegionClient, Turns
from tokenmint.regions.records import Record
from tokenmint.revocation.entries import MARGIN, Kind, Revocation, parse
from tokenmint.revocation.log import SETTLE, SHARE_OF_REGIONS

PATH: Final = "/regions/document"
PAGES: Final = 200  # documents in a row while there are more revocations
BATCH: Final = 250  # revocations that are appended together
LONGEST_LIFE: Final = 400 * 86400  # seconds that a revocation of another region may last


class RegionPuller:
    """Pulls from one region.

    Args:
        other: the region.
        parts: the parts that pulls share.
    """

    def __init__(self, other: OtherRegion, parts: PullParts) -> None:
        self._other = other
        self._parts = parts
        self._regions = parts.regions
        self._options = parts.regions.options
        self._client = RegionClient(other, parts)
        self.turns = Turns(other.name, other.name, parts, self.pull)

    async def pull(self) -> None:
        """Take over everything that the region has to tell.

        Raises:
            DependencyUnavailable: it gave no answer, or one that is not accepted.
            RevocationsFull: the log of revocations has no room. Keys were taken over.
            StoreUnavailable, OutcomeUnknown, CorruptRecord, Conflict
        """
        if problem := self._parts.clock_problem():
            raise DependencyUnavailable(detail=problem)
        for _ in range(PAGES):
            held = self._regions.record(self._other.name)
            told = await self._ask(held)
            await self._give_up(told.given_up)
            if not self._regions.serves(self._other.name):
                return
            await self._take_over(told)
            await self._revoke(told, records.place_of(held))
            if not told.page.more:
                return

    async def _ask(self, held: Record | None) -> Document:
        epoch, position = records.place_of(held)
        return await self._client.ask(PATH, {"epoch": epoch, "after": position}, self._read)

    def _read(self, body: bytes) -> Document:
        return document.read(
            body,
            self._other.keys.value.keys,
            issuer=self._parts.issuer,
            region=self._other.name,
            to=self._options.name,
        )

    async def _give_up(self, statements: Sequence[str]) -> None:
        """Take over the regions that were given up, of those that are configured."""
        known = {one.statement for one in self._regions.given_up.values()}
        authority = self._options.authority
        news: dict[str, GivenUp] = {}
        for statement in statements:
            if statement in known or authority is None:
                continue
            try:
                name = given_up.region_of(statement, authority.value.keys, self._parts.issuer)
            except RegionRefused as error:
                raise DependencyUnavailable(detail=f"a statement about a region is not accepted: {error}") from None
            if name not in self._regions.given_up and (name in self._options.others or name == self._options.name):
                news[name] = GivenUp(statement, self._regions.times.now())
        if news:
            self._regions.note_given_up(await self._regions.store.give_up(news))

    async def _take_over(self, told: Document) -> None:
        """Keep the keys, unless nothing but a little time is new."""
        name, times = self._other.name, self._regions.times

        def after(stored: Record | None) -> Record:
            before = records.newer(stored, self._regions.record(name))
            return records.accepted(before, told, now=times.now(), skew=times.skew, memory=self._regions.memory())

        held = self._regions.record(name)
        try:
            new = after(held)
            small = min(LONGEST_PAUSE, self._options.longest_cut / 10)
            if held is not None and not records.differs(held, new) and new.as_of < held.as_of + small:
                return
            self._regions.note(name, await self._regions.store.change(name, after))
        except RegionRefused as error:
            raise DependencyUnavailable(detail=str(error)) from None

    async def _revoke(self, told: Document, asked: tuple[int, str]) -> None:
        """Append its revocations to this region's log, and then note how far it was read; ``asked``: from where."""
        name, page, now = self._other.name, told.page, self._regions.times.now()
        parsed = [parse(entry.encode()) for entry in page.entries]
        own = [self._bounded(one, now) for one in parsed if one is not None and one.kind is not Kind.KEY]
        own = [one for one in own if one.expires > now]
        for start in range(0, len(own), BATCH):
            some = own[start : start + BATCH]
            if not await self._parts.log.append(*some, confirmed=True, share=SHARE_OF_REGIONS):
                raise RevocationsFull()
        held = self._regions.record(name)
        if held is None:
            return
        as_of = None if page.more else told.as_of

        def after(stored: Record | None) -> Record:
            before = records.newer(stored, held) or held
            if records.place_of(before) != asked:
                return before  # the store lost the place meanwhile, or another replica was faster
            return records.read_up_to(before, page.epoch, page.following, as_of)

        new = records.read_up_to(held, page.epoch, page.following, as_of)
        small = min(LONGEST_PAUSE, self._options.longest_cut / 10)
        if records.differs(held, new) or new.revocations_as_of >= held.revocations_as_of + small:
            self._regions.note(name, await self._regions.store.change(name, after))

    def _bounded(self, one: Revocation, now: float) -> Revocation:
        """Return a revocation that lasts as long as this region's tokens need it, and not without end."""
        expires = one.expires
        if one.kind in (Kind.PRINCIPAL, Kind.CLIENT, Kind.AUDIENCE):
            expires = max(expires, self._parts.log.of(one.kind, one.name, one.valid_after).expires)
        after = min(one.valid_after, int(now + SETTLE + self._regions.times.skew))
        return Revocation(one.kind, one.name, after, min(expires, int(now + LONGEST_LIFE + MARGIN)))


def follow_regions(parts: PullParts, background: Background) -> list[RegionPuller]:
    """Pull from every other region, without end."""
    pullers = [RegionPuller(other, parts) for other in parts.regions.options.others.values()]
    for puller, name in zip(pullers, parts.regions.options.others, strict=True):
        background.start(f"region {name}", puller.turns.follow)
    return pullers
