"""Erased persons: of each, the store keeps a keyed hash of the principal and of each identity, and nothing else.

`erased:{hash}` says that the person was erased. It stands for a tombstone: it refuses the person. The hash is
HMAC-SHA-256 under a key of 256 random bits, so that nobody with a copy of the store can try names. `erased:key` holds
that key, sealed under the key-encryption key. It is made at the first erasure.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from tokenmint.base.clock import Clock
from tokenmint.base.errors import Conflict, CorruptRecord, StoreUnavailable
from tokenmint.keys.sealing import Sealer
from tokenmint.model.profile import Identity
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import Tombstone, identity_key, profile_key
from tokenmint.storage.redis import Change, Store

KEY: Final = "erased:key"
KEY_BYTES: Final = 32
VERSION: Final = 1
ATTEMPTS: Final = 16  # compare-and-swap rounds before a change is called a conflict


class Erasures:
    """Knows who was erased.

    Every method raises ``StoreUnavailable`` if the store is out of reach, ``CorruptRecord`` for a value in a wrong
    form, and ``ConfigurationError`` if the hashes' key was sealed under an unknown key-encryption key.

    Args:
        store: the store.
        near: its near cache.
        clock: the time of erasures.
        sealer: seals the hashes' key.
        entropy: returns random bytes.
    """

    def __init__(
        self, store: Store, near: NearCache, clock: Clock, sealer: Sealer, entropy: Callable[[int], bytes]
    ) -> None:
        self._store = store
        self._near = near
        self._clock = clock
        self._sealer = sealer
        self._entropy = entropy
        self._opened: tuple[bytes, bytes] | None = None
        """The hashes' key as it is stored, and open."""

    async def of_identity(self, identity: Identity) -> Tombstone | None:
        """Return what refuses an identity that was erased, from the near cache if possible; or None."""
        return await self._find(identity_key(identity), Tombstone("", (identity,), 0.0))

    async def of_principal(self, principal: str) -> Tombstone | None:
        """Return what refuses a principal that was erased, from the near cache if possible; or None."""
        return await self._find(profile_key(principal), Tombstone(principal, (), 0.0))

    async def among(self, principals: Sequence[str]) -> frozenset[str]:
        """Return those of ``principals`` that were erased, by the store itself."""
        found = await self._marked([profile_key(principal) for principal in principals])
        return frozenset(principal for principal, marked in zip(principals, found, strict=True) if marked)

    async def identities_among(self, identities: Sequence[Identity]) -> frozenset[Identity]:
        """Return those of ``identities`` that were erased, by the store itself."""
        found = await self._marked([identity_key(identity) for identity in identities])
        return frozenset(identity for identity, marked in zip(identities, found, strict=True) if marked)

    async def marked_among(self, names: Sequence[str]) -> frozenset[str]:
        """Return those of ``names``, keys of records, whose principal or identity was erased, by the store itself."""
        found = await self._marked(names)
        return frozenset(name for name, marked in zip(names, found, strict=True) if marked)

    async def mark(self, principal: str | None, identities: Iterable[Identity]) -> None:
        """Keep the hashes of a principal and of identities, confirmed."""
        key = self._open(await self._store.get(KEY)) or await self._made()
        names = [*([profile_key(principal)] if principal is not None else []), *map(identity_key, identities)]
        raw = json.dumps({"v": VERSION, "time": round(self._clock.now())}).encode()
        await self._change([(_marker(key, name), None, raw) for name in names])

    async def clear(self, principal: str, identities: Iterable[Identity]) -> None:
        """Take the hashes of a principal and of identities away, confirmed."""
        key = self._open(await self._store.get(KEY))
        if key is None:
            return
        markers = [_marker(key, name) for name in (profile_key(principal), *map(identity_key, identities))]
        values = await self._store.get_many(markers, fenced=False)
        for raw in values:
            if isinstance(raw, StoreUnavailable):
                raise raw
        present = [(name, raw, None) for name, raw in zip(markers, values, strict=True) if isinstance(raw, bytes)]
        await self._change(present)

    async def reseal(self) -> None:
        """Seal the hashes' key under the current key-encryption key."""
        for _ in range(ATTEMPTS):
            raw = await self._store.get(KEY)
            if raw is None:
                return
            sealed = self._sealer.reseal(KEY, _sealed(raw))
            if await self._store.swap(KEY, raw, _dump(sealed)):
                return
        raise Conflict()

    # --- parts ---------------------------------------------------------------------------------------------------

    async def _marked(self, names: Sequence[str]) -> list[bool]:
        key = self._open(await self._store.get(KEY)) if names else None
        if key is None:
            return [False] * len(names)
        values = await self._store.get_many([_marker(key, name) for name in names], fenced=False)
        for raw in values:
            if isinstance(raw, StoreUnavailable):
                raise raw
        return [raw is not None for raw in values]

    async def _find(self, name: str, tombstone: Tombstone) -> Tombstone | None:
        key = self._open(await self._near.get(KEY))
        if key is None or await self._near.get(_marker(key, name)) is None:
            return None
        return tombstone

    async def _change(self, changes: Sequence[Change]) -> None:
        try:
            made = await self._store.swap_many(changes)
            for (name, _, _), new in zip(changes, made, strict=True):
                if not new:  # it was made before
                    await self._store.confirm(name)
        finally:
            for name, _, _ in changes:
                self._near.forget(name)

    async def _made(self) -> bytes:
        for _ in range(ATTEMPTS):
            new = _dump(self._sealer.seal(KEY, self._entropy(KEY_BYTES)))
            try:
                await self._store.swap(KEY, None, new)
            finally:
                self._near.forget(KEY)
            key = self._open(await self._store.get(KEY))  # which may be another replica's
            if key is not None:
                return key
        raise Conflict()

    def _open(self, raw: bytes | None) -> bytes | None:
        if raw is None:
            return None
        if self._opened is None or self._opened[0] != raw:
            self._opened = raw, self._sealer.open(KEY, _sealed(raw))
        return self._opened[1]


def _marker(key: bytes, name: str) -> str:
    return "erased:" + hmac.new(key, name.encode(), hashlib.sha256).hexdigest()


def _dump(sealed: str) -> bytes:
    return json.dumps({"v": VERSION, "sealed": sealed}).encode()


def _sealed(raw: bytes) -> str:
    try:
        value: Any = json.loads(raw)
        if value["v"] != VERSION or not isinstance(value["sealed"], str):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorruptRecord(detail=f"{KEY}: not a sealed key of version {VERSION}") from None
    sealed: str = value["sealed"]
    return sealed
