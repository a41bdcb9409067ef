"""Erasing the records of persons from the store."""

from tokenmint.base.errors import Conflict, StoreUnavailable
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.erasure import Erasures
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import (
    Tombstone,
    Unregistered,
    identity_key,
    parse_identity,
    parse_link,
    parse_record,
    profile_key,
)
from tokenmint.profiles.refusals import deleted
from tokenmint.profiles.store import ProfileStore
from tokenmint.storage.redis import Store


class ProfileEraser:
    """Erases the records of persons. Raises as :class:`Erasures`, and ``OutcomeUnknown`` as ``ProfileStore``.

    Args:
        profiles: the profiles.
        store: the store that they are in.
        near: its near cache.
        erasures: knows who was erased.
    """

    def __init__(self, profiles: ProfileStore, store: Store, near: NearCache, erasures: Erasures) -> None:
        self._profiles = profiles
        self._store = store
        self._near = near
        self._erasures = erasures

    async def erase(self, principal: str, *, allow_return: bool) -> tuple[bool, int]:
        """Erase a profile or tombstone with its identities; return whether there was anything, and their number.

        ``allow_return``: without a hash that refuses them. An attempt that fails leaves the person refused; repeat it.
        Raises ``WrongState`` if the person was erased before and shall return.
        """
        raw = await self._store.get(profile_key(principal))
        if raw is None:
            known = bool(await self._erasures.among([principal]))
            if known and allow_return:  # which identities were its own, nobody knows any more
                raise deleted(principal)
            return known, 0
        stored = parse_record(principal, raw)
        self._profiles.require_own(principal, stored)
        if isinstance(stored, Profile | Tombstone):
            await self._profiles.delete(principal)  # refused from now on, and verifiers are told, also in a repetition
            raw = await self._store.get(profile_key(principal))
        record = parse_record(principal, raw) if raw is not None else None
        if not isinstance(record, Tombstone | Unregistered):
            raise Conflict()
        own = [identity for identity in record.identities if await self._is_own(principal, identity)]
        if allow_return:  # an earlier attempt may have marked them
            await self._erasures.clear(principal, own)
        else:
            await self._erasures.mark(principal, own)
        number = 0
        for identity in own:
            entry = await self._store.get(identity_key(identity))
            link = parse_link(identity, entry)
            if link is not None and link.principal == principal:
                number += await self._remove(identity_key(identity), entry)
        if not await self._remove(profile_key(principal), raw):
            raise Conflict()
        return True, number

    async def erase_links(self, principal: str, cursor: str, count: int, *, allow_return: bool) -> tuple[str, int]:
        """Erase index entries that name ``principal``, among about ``count``; return the next cursor and their number.

        These are the markers of identities that were unlinked, of which no profile tells.
        """
        following, keys = await self._store.scan("identity:*", cursor, count)
        values = await self._store.get_many(keys, fenced=False) if keys else []
        name, number = principal.encode(), 0
        for key, raw in zip(keys, values, strict=True):
            if isinstance(raw, StoreUnavailable):
                raise raw
            if not isinstance(raw, bytes) or name not in raw:
                continue
            identity = parse_identity(key, raw)
            link = parse_link(identity, raw)
            if link is None or link.principal != principal:
                continue
            self._profiles.require_own(f"{identity.provider}/{identity.subject}", link)
            if not allow_return:
                await self._erasures.mark(None, [identity])
            number += await self._remove(key, raw)
        return following, number

    async def _is_own(self, principal: str, identity: Identity) -> bool:
        """Return whether an identity that the record of ``principal`` lists is not another principal's.

        A record may list an identity that another principal got at the same time (``ProfileStore.resolve``).
        """
        link = parse_link(identity, await self._store.get(identity_key(identity)))
        if link is None or link.principal == principal:
            return True
        owner = await self._profiles.stored(link.principal)
        return owner is None or identity not in owner.identities

    async def _remove(self, key: str, raw: bytes | None) -> bool:
        try:
            return (await self._store.swap_many([(key, raw, None)]))[0]
        finally:
            self._near.forget(key)
