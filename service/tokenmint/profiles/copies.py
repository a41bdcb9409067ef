"""Copies of other regions' profiles in this region's store. They are read like profiles, and nothing else changes them.

A copy names its home, the only region whose records change it. So a region can't take over a principal or an identity
of another one: its records of them are refused and counted. Versions are compared by the time of the last change,
which every change at home raises. So an older record changes nothing, in any order of pages.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import orjson

from tokenmint.base.clock import Clock
from tokenmint.base.errors import Conflict, CorruptRecord, RevocationsFull
from tokenmint.model.copies import ProfilePage
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.erasure import Erasures
from tokenmint.profiles.limits import PRINCIPAL, identity_violations, profile_violations
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import (
    Link,
    Record,
    Tombstone,
    Unregistered,
    dump_link,
    dump_profile,
    dump_tombstone,
    identity_key,
    parse_identity,
    parse_link,
    parse_record,
    profile_key,
    time_of,
)
from tokenmint.profiles.resolve import is_just_in_time
from tokenmint.profiles.store import ATTEMPTS, ProfileStore
from tokenmint.storage.redis import Change, Store

LONGEST: Final = 256 * 1024  # bytes of a record


class ProfileCopies:
    """Takes over the pages of other regions.

    Args:
        profiles: the profiles of this region.
        store: the store that they are in.
        near: its near cache.
        clock: the time.
        erasures: knows who was erased.
        given_up: returns whether a region was given up.
        skew: seconds by which two clocks may differ.
    """

    def __init__(
        self,
        profiles: ProfileStore,
        store: Store,
        near: NearCache,
        clock: Clock,
        erasures: Erasures | None,
        given_up: Callable[[str], bool],
        skew: float,
    ) -> None:
        self._profiles = profiles
        self._store = store
        self._near = near
        self._clock = clock
        self._erasures = erasures
        self._given_up = given_up
        self._skew = skew
        self.refused: Counter[str] = Counter()
        """Records and identities that were not taken over, by the region that told them, since the start."""

    async def take_over(self, home: str, page: ProfilePage, room: int) -> int:
        """Take over a page of the region ``home``, and about ``room`` new ones at most; return how many were new.

        A principal counts as new, and so do an identity that it gets later, and the marker of an identity. A repetition
        changes nothing.

        Raises ``StoreUnavailable``, ``OutcomeUnknown``, ``CorruptRecord``, ``Conflict``: some of it was taken over.
        """
        new = 0
        for text in page.records:
            new += await self._take(home, text, room=new < room)
        for keys, erased in ((page.erased, True), (page.gone, False)):
            for key in keys:
                with suppress(CorruptRecord):  # nobody can read it: it keeps no other record from its end
                    await self._end(home, key, erased=erased)
        return new

    async def _take(self, home: str, text: str, *, room: bool) -> int:
        """Take over a record; return how many are new, as :meth:`take_over` counts."""
        told = self._parsed(text)
        try:
            if isinstance(told, tuple):
                return await self._unlink(home, *told, room=room)
            if told is not None:
                return await self._copy(home, told, room=room)
        except CorruptRecord:  # it is refused here in any case, and keeps no other record from being copied
            pass
        self.refused[home] += 1
        return 0

    def _parsed(self, text: str) -> tuple[Identity, str] | Profile | Tombstone | None:
        """Return a record, or an unlinked identity and its principal; None: it is not accepted."""
        raw = text.encode()
        try:
            value = orjson.loads(raw)
            if len(raw) > LONGEST or value.get("home"):
                return None
            if "unlinked" in value:
                identity = parse_identity("", raw)
                link = parse_link(identity, raw)
                bad = link is None or not link.unlinked or not PRINCIPAL.match(link.principal)
                if bad or link is None or identity_violations(identity, "identity"):
                    return None
                return identity, link.principal
            record = parse_record(value["principal"], raw)
        except (ValueError, TypeError, KeyError, AttributeError, CorruptRecord):
            return None
        if isinstance(record, Unregistered):
            return None
        if time_of(record) > self._clock.now() + self._skew and not _is_ended(record):
            return None  # is a clock wrong? What refuses somebody counts all the same
        profile = record if isinstance(record, Profile) else Profile(record.principal, record.identities)
        return None if profile_violations(profile) else record

    # --- a record ------------------------------------------------------------------------------------------------

    async def _copy(self, home: str, told: Profile | Tombstone, *, room: bool) -> int:
        """Take over a record, with the index entries of its identities, in one step; return how many are new."""
        key = profile_key(told.principal)
        for _ in range(ATTEMPTS):
            raw = await self._store.get(key)
            mine = parse_record(told.principal, raw) if raw is not None else None
            if mine is None or isinstance(mine, Unregistered):
                if not room or (self._erasures is not None and await self._erasures.among([told.principal])):
                    self.refused[home] += 1
                    return 0
            elif mine.home != home:
                return await self._collide(home, mine, told, room=room)
            elif time_of(told) < time_of(mine):
                return 0
            identities, changes = await self._claimed(home, told, room=room)
            new_ones = 1 if raw is None else sum(before is None for _, before, _ in changes)
            changes += await self._unlisted(home, told, mine)
            new = _dump(replace(told, identities=identities, home=home), mine)
            if new != raw:
                changes.append((key, raw, new))
            if await self._swap(changes):
                return new_ones
        raise Conflict()

    async def _claimed(
        self, home: str, told: Profile | Tombstone, *, room: bool
    ) -> tuple[tuple[Identity, ...], list[Change]]:
        """Return the identities of a record that no other region has, and the changes of their index entries."""
        found: list[Identity] = []
        changes: list[Change] = []
        erased: frozenset[Identity] = frozenset()
        if self._erasures is not None:
            erased = await self._erasures.identities_among(told.identities)
        for identity in told.identities:
            key = identity_key(identity)
            raw = await self._store.get(key)
            link = parse_link(identity, raw)
            owner = await self._owner(identity, link)
            foreign = link is not None and link.home != home and (link.unlinked or owner is not None)
            if foreign or identity in erased:
                self.refused[home] += 1
                if _is_ended(told) and owner is not None:
                    await self._end_just_in_time(owner)
                continue
            if raw is None and not room:
                self.refused[home] += 1
                continue
            found.append(identity)
            new = dump_link(identity, Link(told.principal, home=home))
            # Of a tombstone a later principal of its home may have the identity by now.
            if raw != new and (isinstance(told, Profile) or owner is None):
                changes.append((key, raw, new))
        return tuple(found), changes

    async def _unlisted(self, home: str, told: Profile | Tombstone, mine: Record | None) -> list[Change]:
        """Return the markers of identities that a record lists no more: they are refused from now on."""
        changes: list[Change] = []
        for identity in mine.identities if mine is not None else ():
            key = identity_key(identity)
            raw = await self._store.get(key)
            link = parse_link(identity, raw)
            if identity not in told.identities and link == Link(told.principal, home=home):
                changes.append((key, raw, dump_link(identity, Link(told.principal, unlinked=True, home=home))))
        return changes

    async def _collide(self, home: str, mine: Record, told: Profile | Tombstone, *, room: bool) -> int:
        """Refuse a record of a principal that another region has. The end of a principal still counts, where the name
        is nobody's alone (of an identity without a profile, or of a region that was given up), and for its identities
        that nobody has here. Returns how many of these are new.
        """
        new = 0
        self.refused[home] += 1
        ended = _is_ended(told)
        if ended and isinstance(mine, Profile):
            await self._end_just_in_time(mine, orphaned=bool(mine.home) and self._given_up(mine.home))
        for identity in told.identities:
            if ended:
                new += await self._unlink(home, identity, told.principal, room=room)
                continue
            key, marker = identity_key(identity), Link(told.principal, unlinked=True, home=home)
            raw = await self._store.get(key)
            if raw is not None and parse_link(identity, raw) == marker:
                await self._swap([(key, raw, None)])
        return new

    async def _end_just_in_time(self, mine: Record, *, orphaned: bool = False) -> None:
        own = not mine.home and is_just_in_time(mine.principal)
        if (own or orphaned) and isinstance(mine, Profile) and not mine.disabled:
            with suppress(RevocationsFull):  # the principal is disabled, and other ends do not wait for room
                await self._profiles.update(mine.principal, disabled=True)

    # --- an identity ---------------------------------------------------------------------------------------------

    async def _unlink(self, home: str, identity: Identity, principal: str, *, room: bool) -> bool:
        key, new = identity_key(identity), dump_link(identity, Link(principal, unlinked=True, home=home))
        for _ in range(ATTEMPTS):
            raw = await self._store.get(key)
            link = parse_link(identity, raw)
            owner = await self._owner(identity, link)
            if link is not None and link.home != home and (link.unlinked or owner is not None):
                if not link.unlinked and owner is not None:
                    self.refused[home] += 1
                    await self._end_just_in_time(owner)
                return False
            if raw == new or owner is not None:  # its record is of the same region, and decides
                return False
            if raw is None and not room:
                self.refused[home] += 1
                return False
            if await self._swap([(key, raw, new)]):
                return raw is None
        raise Conflict()

    async def _owner(self, identity: Identity, link: Link | None) -> Record | None:
        """Return the record that an index entry leads to, if it lists the identity."""
        if link is None or link.unlinked:
            return None
        record = await self._profiles.stored(link.principal)
        return record if record is not None and identity in record.identities else None

    # --- the end of a record -------------------------------------------------------------------------------------

    async def _end(self, home: str, key: str, *, erased: bool) -> None:
        """Remove a copy that is gone at home; ``erased``: and refuse its person from now on."""
        kind, _, name = key.partition(":")
        raw = await self._store.get(key) if kind in ("profile", "identity") else None
        if raw is None or (kind == "profile" and not PRINCIPAL.match(name)):
            return
        if kind == "identity":
            identity = parse_identity(key, raw)
            link = parse_link(identity, raw)
            if link is None or link.home != home or await self._owner(identity, link) is not None:
                return
            changes: list[Change] = [(key, raw, None)]
            principal, identities = None, [identity]
        else:
            record = parse_record(name, raw)
            if record.home != home:
                return
            changes, identities = await self._links(home, record)
            changes.append((key, raw, None))
            principal = name
        if erased and self._erasures is not None:
            await self._erasures.mark(principal, identities)
        if not await self._swap(changes):
            raise Conflict()

    async def _links(self, home: str, record: Record) -> tuple[list[Change], list[Identity]]:
        """Return the identities of a copy that are its own, and the changes that remove their index entries."""
        changes: list[Change] = []
        own: list[Identity] = []
        for identity in record.identities:
            raw = await self._store.get(identity_key(identity))
            link = parse_link(identity, raw)
            if link is not None and (link.principal, link.home) == (record.principal, home):
                own.append(identity)
                changes.append((identity_key(identity), raw, None))
        return changes, own

    async def _swap(self, changes: list[Change]) -> bool:
        """Make changes that no other region is told of; return whether all were made. What is noted about the page
        afterwards confirms them.
        """
        try:
            return all(await self._store.swap_many(changes, durable=False, noted=False))
        finally:
            for key, _, _ in changes:
                self._near.forget(key)


def _is_ended(record: Record) -> bool:
    return isinstance(record, Tombstone) or (isinstance(record, Profile) and record.disabled)


def _dump(record: Profile | Tombstone, mine: Record | None) -> bytes:
    """Return the stored form of a copy. Tokens that were revoked before there was a profile stay so."""
    if isinstance(record, Tombstone):
        return dump_tombstone(record)
    return dump_profile(record.refusing_up_to(mine.tokens_valid_after) if isinstance(mine, Unregistered) else record)
