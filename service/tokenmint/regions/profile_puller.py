"""Copies the profiles of one other region: one background task for each.

First the changes that refuse somebody are taken over, then all others, and every profile where this region is new there
or has fallen behind. Every profile is copied again once a day, which mends what a cursor of the store has missed. What
was taken over is in the store before its place is noted.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from tokenmint.base.background import Background
from tokenmint.base.errors import Conflict, DependencyUnavailable
from tokenmint.model.copies import Part, ProfilePage
from tokenmint.regions import profile_document
from tokenmint.regions.copied import Copied, anew
from tokenmint.regions.copying import Copying
from tokenmint.regions.options import OtherRegion
from tokenmint.regions.profile_document import Told
from tokenmint.regions.pulling import LONGEST_PAUSE, PullParts, RegionClient, Turns

PATH: Final = "/regions/profiles"
PAGES: Final = 200  # pages of changes in a row
COPIED_PAGES: Final = 20  # pages of every profile in a row at most: changes come between them
REFRESH: Final = 86400.0  # seconds after which every profile is copied again
MOST: Final = 10_000_000  # copies of one region
TakeOver = Callable[[str, ProfilePage, int], Awaitable[int]]
"""Takes over a page of a region, and a number of new principals at most; returns how many were new."""


class ProfilePuller:
    """Copies from one region.

    Args:
        other: the region.
        parts: the parts that pulls share.
        copying: what is known of the copies.
        take_over: takes over a page.
    """

    def __init__(self, other: OtherRegion, parts: PullParts, copying: Copying, take_over: TakeOver) -> None:
        self._other = other
        self._parts = parts
        self._copying = copying
        self._take_over = take_over
        self._client = RegionClient(other, parts)
        self._raw: bytes | None = None
        self.turns = Turns(f"profiles:{other.name}", other.name, parts, self.pull)

    async def pull(self) -> None:
        """Take over every change, and some pages of every profile if they have to be copied.

        Raises:
            DependencyUnavailable: the region gave no answer, or one that is not accepted.
            StoreUnavailable, OutcomeUnknown, CorruptRecord, RevocationsFull
            Conflict: another replica was faster.
        """
        if problem := self._parts.clock_problem():
            raise DependencyUnavailable(detail=problem)
        self._raw, state = await self._parts.regions.store.copied(self._other.name)
        state = await self._ends(state)
        if state.changes:
            state = await self._changes(state)
        old = state.whole_at < self._parts.regions.times.now() - REFRESH
        if not state.changes or state.cursor is not None or old:
            state = await self._all(replace(state, cursor=state.cursor or ""))
            if state.changes and state.cursor is None:
                state = await self._changes(state)
        self._copying.note(state)

    async def _ends(self, state: Copied) -> Copied:
        for _ in range(PAGES):
            told = await self._ask(Part.ENDS, state, state.ends)
            if told.epoch != state.epoch:
                state = anew(state, told.epoch)
            state = await self._take(state, told, ends=told.page.following)
            if not told.page.more:
                break
        return state

    async def _changes(self, state: Copied) -> Copied:
        """Take over pages of all changes. After each interval, changes that refuse somebody come first again."""
        clock, poll = self._parts.clock, self._parts.regions.options.poll
        until = clock.monotonic() + poll
        for _ in range(PAGES):
            told = await self._ask(Part.CHANGES, state, state.changes)
            if told.page.gap or told.epoch != state.epoch:
                return await self._note(state, anew(state, told.epoch))
            as_of = state.as_of if told.page.more or not state.whole_at else max(state.as_of, told.as_of)
            state = await self._take(state, told, changes=told.page.following, as_of=as_of)
            if not told.page.more:
                break
            if clock.monotonic() >= until:
                state = await self._ends(state)
                if not state.changes:
                    break
                until = clock.monotonic() + poll
        return state

    async def _all(self, state: Copied) -> Copied:
        """Copy pages of every profile for one interval: then changes that refuse somebody are asked for again."""
        clock = self._parts.clock
        until = clock.monotonic() + self._parts.regions.options.poll
        for number in range(COPIED_PAGES):
            if number and clock.monotonic() > until:
                break
            told = await self._ask(Part.ALL, state, state.cursor or "")
            if told.epoch != state.epoch:
                return await self._note(state, anew(state, told.epoch))
            changes = state.changes or told.page.newest  # changes from before the first page are in the pages
            if told.page.more:
                state = await self._take(state, told, changes=changes, cursor=told.page.following)
                continue
            now = self._parts.regions.times.now()
            return await self._take(state, told, changes=changes, cursor=None, whole_at=now)
        return state

    async def _take(self, state: Copied, told: Told, **changes: object) -> Copied:
        """Take over a page, and note the place after it. Raises ``DependencyUnavailable`` for a region given up."""
        if not self._parts.regions.serves(self._other.name):
            raise DependencyUnavailable(detail=f"region {self._other.name} was given up during the pull")
        new = await self._take_over(self._other.name, told.page, max(0, MOST - state.count))
        return await self._note(state, replace(state, count=state.count + new, **changes))  # type: ignore[arg-type]

    async def _note(self, before: Copied, after: Copied) -> Copied:
        """Note the state in the store, unless nothing but a little time is new."""
        small = min(LONGEST_PAUSE, self._parts.regions.options.longest_cut / 10)
        if (
            replace(after, as_of=before.as_of) == before
            and self._raw is not None
            and after.as_of < before.as_of + small
        ):
            return before
        raw = await self._parts.regions.store.note_copied(self._raw, after)
        if raw is None:
            raise Conflict()
        self._raw = raw
        return after

    async def _ask(self, part: Part, state: Copied, place: str) -> Told:
        query = {"part": part.value, "epoch": state.epoch, "after": place}
        return await self._client.ask(PATH, query, partial(self._read, part))

    def _read(self, part: Part, body: bytes) -> Told:
        parts, name = self._parts, self._other.name
        told = profile_document.read(
            body,
            self._other.keys.value.keys,
            issuer=parts.issuer,
            region=name,
            to=parts.regions.options.name,
            part=part,
        )
        return replace(told, as_of=min(told.as_of, parts.regions.times.now()))


def follow_profiles(parts: PullParts, copying: Copying, take_over: TakeOver, background: Background) -> None:
    """Copy the profiles of every other region, without end."""
    for name, other in parts.regions.options.others.items():
        background.start(f"profiles of {name}", ProfilePuller(other, parts, copying, take_over).turns.follow)
