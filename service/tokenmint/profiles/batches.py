"""Many profiles at once: a batch takes a few round trips and one confirmation, where each profile alone takes two."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from tokenmint.base.clock import Clock
from tokenmint.base.errors import (
    CorruptRecord,
    DependencyUnavailable,
    RevocationsFull,
    StoreUnavailable,
    TokenmintError,
)
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.erasure import Erasures
from tokenmint.profiles.limits import are_few
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import (
    Link,
    Tombstone,
    Unregistered,
    dump_link,
    dump_profile,
    identity_key,
    parse_link,
    parse_record,
    profile_key,
    time_after,
)
from tokenmint.profiles.refusals import deleted, erased, owned, too_many_identities
from tokenmint.profiles.store import ProfileStore
from tokenmint.revocation.log import RevocationLog
from tokenmint.storage.reading import Answer
from tokenmint.storage.redis import Change, Store

BATCH: Final = 250  # profiles with one confirmation
Outcome: TypeAlias = bool | TokenmintError
"""Whether a profile is new; or why it was refused."""


@dataclass(slots=True)
class _Item:
    """A profile on its way."""

    index: int
    profile: Profile
    raw: bytes | None = None
    """The stored record, for a swap to compare."""
    stored: Profile | None = None
    valid_after: int | None = None
    """The second up to which tokens of the principal were revoked while it had no profile."""
    assign: tuple[Identity, ...] = ()
    """Identities to link."""
    links: dict[Identity, bytes | None] = field(default_factory=dict)
    """Their index entries that have to change."""


class ProfileBatches:
    """Puts many profiles, each as :meth:`ProfileStore.put` does.

    Args:
        profiles: puts a profile that something else changes meanwhile.
        store: the store.
        near: its near cache.
        clock: the time of changes.
        erasures: knows who was erased.
        log: tells verifiers of principals that are disabled; None: nobody is told.
    """

    def __init__(
        self,
        profiles: ProfileStore,
        store: Store,
        near: NearCache,
        clock: Clock,
        erasures: Erasures | None,
        log: RevocationLog | None = None,
    ) -> None:
        self._log = log
        self._profiles = profiles
        self._store = store
        self._near = near
        self._clock = clock
        self._erasures = erasures

    async def put(self, profiles: Sequence[Profile], *, dry: bool = False) -> list[Outcome]:
        """Create or replace profiles, in their order; ``dry``: only look whether that would be refused.

        What is returned is confirmed as durable. Raises ``StoreUnavailable``, and ``OutcomeUnknown`` if a change was
        not confirmed: some of the profiles may have been put then.
        """
        outcomes: list[Outcome] = [False] * len(profiles)
        items: list[_Item] = []
        taken: set[str | Identity] = set()
        for index, profile in enumerate(profiles):
            names: set[str | Identity] = {profile.principal, *profile.identities}
            if len(items) == BATCH or taken & names:  # the order decides between two of one name
                await self._round(items, outcomes, dry=dry)
                items, taken = [], set()
            items.append(_Item(index, profile))
            taken |= names
        await self._round(items, outcomes, dry=dry)
        return outcomes

    async def _round(self, items: list[_Item], outcomes: list[Outcome], *, dry: bool) -> None:
        if not items:
            return
        ready = await self._with_links(await self._with_records(items, outcomes), outcomes)
        for item in ready:
            outcomes[item.index] = item.stored is None
        if dry:
            return
        overtaken: list[_Item] = []
        try:
            ready = await self._not_erased(await self._link(ready, overtaken), outcomes)
            await self._write(ready, overtaken)
        finally:
            for item in items:  # this process at once, the others by the store's report
                for key in (profile_key(item.profile.principal), *map(identity_key, item.profile.identities)):
                    self._near.forget(key)
        for item in overtaken:
            try:
                outcomes[item.index] = await self._profiles.put(item.profile)
            except DependencyUnavailable:
                raise
            except TokenmintError as refusal:
                outcomes[item.index] = refusal

    # --- deciding ------------------------------------------------------------------------------------------------

    async def _with_records(self, items: list[_Item], outcomes: list[Outcome]) -> list[_Item]:
        """Return the items that may be put as far as their own records say, with these."""
        answers = await self._store.get_many([profile_key(item.profile.principal) for item in items], fenced=False)
        absent = [item.profile.principal for item, raw in zip(items, answers, strict=True) if raw is None]
        erased = await self._erasures.among(absent) if self._erasures is not None else frozenset()
        ready = []
        for item, answer in zip(items, answers, strict=True):
            try:
                self._decide(item, answer, erased)
            except DependencyUnavailable:
                raise
            except TokenmintError as refusal:
                outcomes[item.index] = refusal
            else:
                ready.append(item)
        return ready

    def _decide(self, item: _Item, answer: Answer, erased: frozenset[str]) -> None:
        principal = item.profile.principal
        item.raw = _value(answer)
        record = parse_record(principal, item.raw) if item.raw is not None else None
        self._profiles.require_own(principal, record)
        if isinstance(record, Tombstone) or principal in erased:
            raise deleted(principal)
        if isinstance(record, Unregistered):
            item.valid_after = record.tokens_valid_after
            record = None
        item.stored = record
        known = record.identities if record is not None else ()
        item.assign = tuple(identity for identity in item.profile.identities if identity not in known)
        if item.assign and not are_few((*known, *item.assign)):
            raise too_many_identities(principal)

    async def _with_links(self, items: list[_Item], outcomes: list[Outcome]) -> list[_Item]:
        """Return the items whose identities no other principal has, with the index entries that have to change."""
        items = await self._not_erased(items, outcomes)
        wanted = [(item, identity) for item in items for identity in item.assign]
        answers = await self._store.get_many([identity_key(one) for _, one in wanted], fenced=False) if wanted else []
        others: list[tuple[_Item, Identity, bytes, Link]] = []
        refused: set[int] = set()
        for (item, identity), answer in zip(wanted, answers, strict=True):
            try:
                raw = _value(answer)
                link = parse_link(identity, raw)
                if link is not None and link.unlinked:
                    self._profiles.require_own(f"{identity.provider}/{identity.subject}", link)
            except DependencyUnavailable:
                raise
            except TokenmintError as refusal:
                outcomes[item.index] = refusal
                refused.add(item.index)
                continue
            if raw is None or link is None or link.unlinked:
                item.links[identity] = raw
            elif link.principal != item.profile.principal:
                others.append((item, identity, raw, link))
        for item, identity, raw, link in others:  # few: each is a mistake, or left of a change that was not completed
            owner = await self._profiles.stored(link.principal)
            if owner is not None and identity in owner.identities:
                outcomes[item.index] = owned(identity, link.principal)
                refused.add(item.index)
            else:
                item.links[identity] = raw
        return [item for item in items if item.index not in refused]

    async def _not_erased(self, items: list[_Item], outcomes: list[Outcome]) -> list[_Item]:
        """Return the items whose new identities were not erased. Links that were made of the others are taken back.

        It is called before the links, and after them as ``ProfileStore.create`` does.
        """
        wanted = [identity for item in items for identity in item.assign]
        found = await self._erasures.identities_among(wanted) if self._erasures is not None and wanted else frozenset()
        ready: list[_Item] = []
        back: list[Change] = []
        for item in items:
            if gone := found.intersection(item.assign):
                outcomes[item.index] = erased(min(gone))
                link = Link(item.profile.principal)
                back += [(identity_key(one), dump_link(one, link), None) for one in item.links]
            else:
                ready.append(item)
        await self._store.swap_many(back)
        return ready

    # --- writing -------------------------------------------------------------------------------------------------

    async def _link(self, items: list[_Item], overtaken: list[_Item]) -> list[_Item]:
        """Change the index entries; return the items whose entries nobody else changed meanwhile."""
        changes: list[Change] = []
        owners: list[_Item] = []
        for item in items:
            for identity, raw in item.links.items():
                changes.append((identity_key(identity), raw, dump_link(identity, Link(item.profile.principal))))
                owners.append(item)
        # Not confirmed: the confirmation of the profiles, which are written after them, covers them.
        made = await self._store.swap_many(changes, durable=False)
        lost = {item.index for item, done in zip(owners, made, strict=True) if not done}
        overtaken += [item for item in items if item.index in lost]
        return [item for item in items if item.index not in lost]

    async def _write(self, items: list[_Item], overtaken: list[_Item]) -> None:
        """Write the profiles, confirmed."""
        now = self._clock.now()
        end = self._log.end() if self._log is not None else int(now)
        changes: list[Change] = []
        written: list[_Item] = []
        same: list[Change] = []
        for item in items:
            new = _merged(item, now, end)
            if new is None:
                same.append((profile_key(item.profile.principal), item.raw, item.raw))
                continue
            changes.append((profile_key(item.profile.principal), item.raw, dump_profile(new)))
            written.append(item)
        told = await self._tell(items, end)
        if same and (self._store.server.clustered or not changes):
            # An earlier attempt may have written them, unconfirmed. One write's confirmation covers all before it, on
            # its own node.
            await self._store.swap_many(same if self._store.server.clustered else same[:1])
        made = await self._store.swap_many(changes)
        overtaken += [item for item, done in zip(written, made, strict=True) if not done]
        await self._agree([item for item, done in zip(written, made, strict=True) if done], overtaken)
        if not told:
            raise RevocationsFull()

    async def _tell(self, items: list[_Item], end: int) -> bool:
        """Tell verifiers of the principals that are about to be disabled; return whether they can be told.
        ``end``: the second up to which their tokens are refused.

        The confirmation of the profiles covers it. Of those that were disabled before they are told again, because an
        earlier attempt may have found no room, unless that was long ago.
        """
        if self._log is None:
            return True
        news = []
        for item in items:
            before = item.stored
            if before is None or not item.profile.disabled:
                continue
            if not before.disabled:
                news.append(self._log.ended(item.profile.principal, max(end, before.tokens_valid_after or 0)))
            elif self._log.counts_still(before.update_time):
                news.append(self._log.ended(item.profile.principal, before.tokens_valid_after))
        return not news or await self._log.append(*news)

    async def _agree(self, items: list[_Item], overtaken: list[_Item]) -> None:
        """Look whether an identity that was added to a profile was unlinked between the two writes."""
        added = [(item, identity) for item in items if item.stored is not None for identity in item.assign]
        if not added:
            return
        answers = await self._store.get_many([identity_key(identity) for _, identity in added], fenced=False)
        for (item, identity), answer in zip(added, answers, strict=True):
            link = parse_link(identity, _value(answer))
            if (link is None or link.unlinked or link.principal != item.profile.principal) and item not in overtaken:
                overtaken.append(item)


def _merged(item: _Item, now: float, end: int) -> Profile | None:
    """Return the profile to store; None if it is stored already. ``end``: the second up to which the tokens are refused
    of one that is disabled now.
    """
    profile, stored = item.profile, item.stored
    if stored is None:
        return replace(profile, tokens_valid_after=item.valid_after, create_time=now, update_time=now)
    new = replace(
        stored,
        home="",
        disabled=profile.disabled,
        claims=profile.claims,
        roles=profile.roles,
        identities=(*stored.identities, *item.assign),
    )
    if new.disabled and not stored.disabled:
        new = new.refusing_up_to(end)
    return replace(new, update_time=time_after(now, stored)) if new != stored else None


def _value(answer: Answer) -> bytes | None:
    if isinstance(answer, StoreUnavailable | CorruptRecord):
        raise answer
    return answer
