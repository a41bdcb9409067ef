"""Profiles in the store.

`profile:{principal}` is authoritative: a profile, or the tombstone of a deleted one. `identity:{hash}` is an index
entry. It names the principal of an identity and is valid only if that profile lists the identity, or it marks the
identity as unlinked. Each change is a compare-and-swap of one value, ordered so that every crash leaves a state that
reads correctly.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from tokenmint.base.clock import Clock
from tokenmint.base.errors import AlreadyExists, Conflict, CorruptRecord, NotFound, RevocationsFull, StoreUnavailable
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.tokens import JsonValue
from tokenmint.profiles.ends import Ends
from tokenmint.profiles.erasure import Erasures
from tokenmint.profiles.limits import PRINCIPAL, are_few
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import (
    PREFIXES,
    Link,
    Record,
    Tombstone,
    Unregistered,
    dump_link,
    dump_profile,
    dump_tombstone,
    etag_of,
    identity_key,
    parse_link,
    parse_record,
    profile_key,
    time_after,
)
from tokenmint.profiles.refusals import check_etag, deleted, elsewhere, erased, owned, too_many_identities
from tokenmint.revocation.log import RevocationLog
from tokenmint.storage.redis import Store

ATTEMPTS: Final = 16  # compare-and-swap rounds before a change is called a conflict


@dataclass(frozen=True, slots=True)
class _Stored:
    """A record and the bytes that it was parsed from, for a swap to compare."""

    raw: bytes | None
    record: Record | None


class ProfileStore:
    """Reads and changes profiles.

    Every method raises ``StoreUnavailable`` if the store is out of reach, and ``CorruptRecord`` for a value in a wrong
    form. Every change raises ``OutcomeUnknown`` if it was not confirmed. A change that ends a principal's tokens raises
    ``RevocationsFull`` after it was made, if verifiers can't be told. A repetition confirms and tells again.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        near: NearCache | None = None,
        store_time: Callable[[], Awaitable[float]] | None = None,
        erasures: Erasures | None = None,
        log: RevocationLog | None = None,
        read_only: Callable[[str], bool] = bool,
    ) -> None:
        self._read_only = read_only
        self._erasures = erasures
        self._ends = Ends(log)
        self._store_time = store_time or store.time
        self._store = store
        self._clock = clock
        self._near = near if near is not None else NearCache(store, PREFIXES, 0, clock)

    # --- reading -------------------------------------------------------------------------------------------------

    async def get(self, principal: str) -> Profile:
        """Return the profile of ``principal``. Raises ``NotFound``, even if a tombstone exists."""
        record = (await self._read(principal)).record
        if not isinstance(record, Profile):
            raise NotFound("profile", principal)
        return record

    async def get_by_identity(self, identity: Identity) -> Profile:
        """Return the profile of ``identity``. Raises ``NotFound``."""
        record = await self.resolve(identity)
        if not isinstance(record, Profile):
            raise NotFound("profile", f"{identity.provider}/{identity.subject}", "the identity has no profile")
        return record

    async def resolve(self, identity: Identity) -> Record | Link | None:
        """Return the record that decides on an exchange for ``identity``: its profile; or, as reasons to refuse, its
        principal's tombstone or an unlinked link; or None.
        """
        link = parse_link(identity, await self._near.get(identity_key(identity)))
        if link is not None and link.unlinked:
            return link
        record = await self.record(link.principal) if link is not None else None
        if record is not None and identity in record.identities:
            return record
        # No link; or one that was not completed, or lost to another.
        return await self._erasures.of_identity(identity) if self._erasures is not None else None

    async def record(self, principal: str) -> Record | None:
        """Return the record of ``principal``, which may be no profile, from the near cache if possible."""
        if not PRINCIPAL.match(principal):
            return None
        raw = await self._near.get(profile_key(principal))
        if raw is None:
            return await self._erasures.of_principal(principal) if self._erasures is not None else None
        return parse_record(principal, raw)

    async def stored(self, principal: str) -> Record | None:
        """Return the record of ``principal``, which may be no profile, from the store itself."""
        return (await self._read(principal)).record

    async def list(self, page_size: int, page_token: str) -> tuple[list[Profile], str]:
        """Return about ``page_size`` profiles and the token of the next page ("" at the end)."""
        profiles: list[Profile] = []
        cursor = page_token
        while True:
            cursor, keys = await self._store.scan("profile:*", cursor, page_size)
            for key, raw in zip(keys, await self._store.get_many(keys, fenced=False) if keys else (), strict=True):
                if isinstance(raw, StoreUnavailable | CorruptRecord):
                    raise raw
                principal = key.removeprefix("profile:")
                record = parse_record(principal, raw) if raw is not None and PRINCIPAL.match(principal) else None
                if isinstance(record, Profile):
                    profiles.append(record)
            if not cursor or len(profiles) >= page_size:
                return profiles, cursor

    # --- changing ------------------------------------------------------------------------------------------------

    async def create(self, profile: Profile, *, replace_deleted: bool = False, just_in_time: bool = False) -> Profile:
        """Store a new profile and link its identities.

        ``just_in_time``: :meth:`resolve` has looked for erased identities just before, and ``profile`` says which of
        its tokens are revoked.

        Raises:
            AlreadyExists: the principal has a profile, or an identity belongs to another principal.
            WrongState: the principal was deleted, or an identity erased, and ``replace_deleted`` is not set.
        """
        stored = await self._read(profile.principal)
        if isinstance(stored.record, Profile):
            raise AlreadyExists("profile", profile.principal)
        gone = isinstance(stored.record, Tombstone) or (
            self._erasures is not None and bool(await self._erasures.among([profile.principal]))
        )
        self.require_own(profile.principal, stored.record)
        if gone and not replace_deleted:
            raise deleted(profile.principal)
        returning = frozenset() if just_in_time else await self._erased(profile.identities)
        if returning and not replace_deleted:
            raise erased(min(returning))
        for identity in profile.identities:
            await self._assign(identity, profile.principal)
        if not replace_deleted:
            await self._not_erased_meanwhile(profile.identities, profile.principal)
        gone = gone or bool(returning)
        now = time_after(self._clock.now(), stored.record)
        after = [profile.tokens_valid_after if just_in_time else None]
        if isinstance(stored.record, Unregistered):
            after.append(stored.record.tokens_valid_after)
        second = max((one for one in after if one is not None), default=None)
        new = replace(profile, tokens_valid_after=second, create_time=now, update_time=now)
        if gone:
            # A principal that comes back must not bring tokens from before the deletion.
            new = replace(new, tokens_valid_after=int(await self._store.time()))
        raw = dump_profile(new)
        if not await self._swap(profile_key(profile.principal), stored.raw, raw):
            raise Conflict()
        if gone and self._erasures is not None:
            await self._erasures.clear(profile.principal, profile.identities)
        return replace(new, etag=etag_of(raw))

    async def update(
        self,
        principal: str,
        *,
        etag: str = "",
        disabled: bool | None = None,
        claims: "dict[str, JsonValue] | None" = None,
        roles: tuple[str, ...] | None = None,
    ) -> Profile:
        """Change the given fields. Raises ``NotFound``, and ``Conflict`` if ``etag`` is given but not current."""

        def change(profile: Profile) -> Profile:
            return replace(
                profile,
                disabled=profile.disabled if disabled is None else disabled,
                claims=profile.claims if claims is None else MappingProxyType(claims),
                roles=profile.roles if roles is None else roles,
            )

        return await self._change(principal, change, etag, ends=disabled is True)

    async def delete(self, principal: str, *, etag: str = "") -> None:
        """Replace the profile by a tombstone. Raises ``NotFound`` and ``Conflict``."""
        for _ in range(ATTEMPTS):
            stored = await self._read(principal)
            if stored.record is None or isinstance(stored.record, Unregistered):
                raise NotFound("profile", principal)
            self.require_own(principal, stored.record)
            if isinstance(stored.record, Tombstone):
                raw = stored.raw or b""  # as in _change
                told = await self._ends.tell_again(principal, stored.record.delete_time)
            else:
                check_etag(stored.record, etag)
                now = time_after(self._clock.now(), stored.record)
                raw = dump_tombstone(Tombstone(principal, stored.record.identities, now))
                told = await self._ends.tell(principal)
            if await self._swap(profile_key(principal), stored.raw, raw):
                if not told:
                    raise RevocationsFull()
                return
        raise Conflict()

    async def link(self, principal: str, identity: Identity) -> Profile:
        """Make ``identity`` resolve to ``principal``.

        Raises:
            NotFound: there is no such profile.
            AlreadyExists: the identity belongs to another principal.
            WrongState: the profile has the largest number of identities, or the identity was erased.
        """
        profile = await self.get(principal)
        self.require_own(principal, profile)
        new = identity not in profile.identities
        if new and not are_few((*profile.identities, identity)):
            raise too_many_identities(principal)
        if new and await self._erased([identity]):
            raise erased(identity)
        await self._assign(identity, principal)
        if new:
            await self._not_erased_meanwhile([identity], principal)

        def change(profile: Profile) -> Profile:
            if identity in profile.identities:
                return profile
            return replace(profile, identities=(*profile.identities, identity))

        changed = await self._change(principal, change)
        # The identity may have been unlinked between the two writes, and the index has to agree with the profile.
        link = parse_link(identity, await self._store.get(identity_key(identity)))
        if link is None or link.unlinked or link.principal != principal:
            raise Conflict()
        return changed

    async def unlink(self, principal: str, identity: Identity) -> Profile:
        """Remove ``identity`` from ``principal`` and refuse it from then on. Raises ``NotFound``."""
        profile = await self.get(principal)
        self.require_own(principal, profile)
        key = identity_key(identity)
        for _ in range(ATTEMPTS):
            raw = await self._store.get(key)
            link = parse_link(identity, raw)
            if link is None or link.principal != principal:
                if identity not in profile.identities:
                    raise NotFound("identity", f"{identity.provider}/{identity.subject}")
                link = Link(principal)
            # The marker comes first: the identity is refused even if the next step fails. Again for the confirmation.
            if await self._swap(key, raw, dump_link(identity, Link(principal, unlinked=True))):
                break
        else:
            raise Conflict()

        def change(profile: Profile) -> Profile:
            return replace(profile, identities=tuple(item for item in profile.identities if item != identity))

        return await self._change(principal, change)

    async def revoke_tokens(self, principal: str) -> int:
        """Refuse every token issued up to now and return that second, by the store's clock.

        Raises ``ClockWrong`` if that clock may be wrong: old tokens would stay valid, or new ones would be refused.
        """
        now = await self.second()

        def change(profile: Profile) -> Profile:
            return profile.refusing_up_to(now)

        return (await self._change(principal, change, after=now)).tokens_valid_after or now

    async def second(self) -> int:
        """Return the second up to which a revocation refuses. Raises as :meth:`revoke_tokens`."""
        return int(await self._store_time())

    async def put(self, profile: Profile) -> bool:
        """Create the profile, or replace its claims, roles and state and add its identities. Returns whether it is new.

        Raises: as :meth:`create` and :meth:`link`.
        """
        record = (await self._read(profile.principal)).record
        if not isinstance(record, Profile):
            await self.create(profile)
            return True
        await self.update(
            profile.principal, disabled=profile.disabled, claims=dict(profile.claims), roles=profile.roles
        )
        for identity in profile.identities:
            if identity not in record.identities:
                await self.link(profile.principal, identity)
        return False

    def require_own(self, name: str, record: Record | Link | None) -> None:
        """Raise ``Elsewhere`` for a copy, unless its region was given up: then a change makes it this region's own."""
        if record is not None and self._read_only(record.home):
            raise elsewhere(name, record.home)

    # --- parts ---------------------------------------------------------------------------------------------------

    async def _swap(self, key: str, expected: bytes | None, new: bytes) -> bool:
        try:
            return await self._store.swap(key, expected, new)
        finally:
            self._near.forget(key)  # this process at once, the others by the store's report

    async def _assign(self, identity: Identity, principal: str) -> None:
        """Make the index name ``principal``, unless the profile of another principal lists the identity."""
        key = identity_key(identity)
        for _ in range(ATTEMPTS):
            raw = await self._store.get(key)
            link = parse_link(identity, raw)
            if link is not None and link.unlinked:
                self.require_own(f"{identity.provider}/{identity.subject}", link)
            if link is not None and not link.unlinked:
                if link.principal == principal:
                    await self._store.confirm(key)
                    return
                owner = (await self._read(link.principal)).record
                if owner is not None and identity in owner.identities:
                    raise owned(identity, link.principal)
            if await self._swap(key, raw, dump_link(identity, Link(principal))):
                return
        raise Conflict()

    async def _erased(self, identities: Sequence[Identity]) -> frozenset[Identity]:
        return await self._erasures.identities_among(identities) if self._erasures is not None else frozenset()

    async def _not_erased_meanwhile(self, identities: Sequence[Identity], principal: str) -> None:
        """Take new links back if an identity was erased. Raises ``WrongState``.

        After the links: an erasure leaves its hashes before it takes its own links, which would stop these.
        """
        if found := await self._erased(identities):
            links = [(identity_key(one), dump_link(one, Link(principal)), None) for one in identities]
            try:
                await self._store.swap_many(links)
            finally:
                for key, _, _ in links:
                    self._near.forget(key)
            raise erased(min(found))

    async def _change(
        self,
        principal: str,
        change: Callable[[Profile], Profile],
        etag: str = "",
        *,
        ends: bool = False,
        after: int | None = None,
    ) -> Profile:
        """Change a profile. ``ends``: its tokens end now; ``after``: those that were issued up to this second."""
        for _ in range(ATTEMPTS):
            stored = await self._read(principal)
            if not isinstance(stored.record, Profile):
                raise NotFound("profile", principal)
            self.require_own(principal, stored.record)
            check_etag(stored.record, etag)
            changed, told = replace(change(stored.record), home=""), True
            if ends and not stored.record.disabled:
                changed = changed.refusing_up_to(self._ends.second(self._clock.now()))
            raw = dump_profile(replace(changed, update_time=time_after(self._clock.now(), stored.record)))
            if changed == stored.record and stored.raw is not None:
                raw = stored.raw  # written again: an earlier attempt may be unconfirmed
                told = not ends or await self._ends.tell_again(
                    principal, stored.record.update_time, changed.tokens_valid_after
                )
            elif ends:
                told = await self._ends.tell(principal, changed.tokens_valid_after)
            told = told if after is None else await self._ends.tell(principal, after)
            if await self._swap(profile_key(principal), stored.raw, raw):
                if not told:
                    raise RevocationsFull()
                record = parse_record(principal, raw)
                if isinstance(record, Profile):
                    return record
        raise Conflict()

    async def _read(self, principal: str) -> _Stored:
        if not PRINCIPAL.match(principal):
            return _Stored(None, None)  # no such profile can exist, and the name must not become a key
        raw = await self._store.get(profile_key(principal))
        return _Stored(raw, parse_record(principal, raw) if raw is not None else None)
