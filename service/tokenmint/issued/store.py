"""The records of issued tokens: the claims of reference tokens, and revocations.

`reference:{hash}` holds the claims of a reference token under the token's SHA-256, so the store holds nothing that a
thief could present. `revoked:{jti}` marks a revoked token until its expiry; descendants list the id among their
ancestors. `revoked-{kind}:{hash}` holds the second up to which all tokens of a client, of an audience, or of a
principal without a profile are revoked.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tokenmint.base.errors import Conflict, CorruptRecord, RevocationsFull, StoreUnavailable
from tokenmint.model.issued import IssuedToken, Revocable, issued_token
from tokenmint.model.policy import MAX_LIFETIME
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue
from tokenmint.revocation.entries import Kind
from tokenmint.revocation.log import RevocationLog
from tokenmint.storage.redis import Change, Store
from tokenmint.storage.together import ReadsTogether

VERSION: Final = 1
MARGIN: Final = 60.0  # seconds that records outlive their tokens, for differing clocks of replicas
MOST_ACTORS: Final = 32  # looked at in one token, more than a chain may have
ATTEMPTS: Final = 16  # rounds against uses of the same tokens before an erasure is called a conflict
RENEWALS: Final = 20  # a sliding reference token is renewed after a 20th of its idle time, not at each use


class IssuedStore:
    """Keeps references and revocations.

    Every method raises ``StoreUnavailable`` if the store is out of reach, and ``CorruptRecord`` for a value in a wrong
    form. Methods that promise durability raise ``OutcomeUnknown`` if it was not confirmed.

    Args:
        store: the store.
        log: tells verifiers of revocations; None: nobody is told.
        elsewhere: whether a token was revoked in another region, whose records are not in this store.
    """

    def __init__(
        self,
        store: Store,
        log: RevocationLog | None = None,
        elsewhere: Callable[[Revocable], bool] = lambda _: False,
    ) -> None:
        self._store = store
        self._reads = ReadsTogether(store)
        self._log = log
        self._elsewhere = elsewhere

    async def keep(self, reference: Secret, claims: Mapping[str, JsonValue], *, idle: int | None, now: float) -> int:
        """Store the claims of ``reference``, confirmed as durable; return its expiry."""
        expires = _whole(claims["exp"])
        until = min(expires, int(now) + idle) if idle is not None else expires
        raw = _dump(reference.fingerprint(), claims, idle, until)
        if await self._store.add(_reference_key(reference.fingerprint()), raw, ttl=until - now + MARGIN) is not None:
            raise StoreUnavailable(detail="a reference token was drawn twice: the source of randomness is broken")
        return until

    async def find(self, reference: Secret) -> IssuedToken | None:
        """Return the token of ``reference``, expired or not; None if there is none."""
        name = reference.fingerprint()
        raw = await self._store.current(_reference_key(name))
        return _parse(name, raw)[0] if raw is not None else None

    async def used(self, issued: IssuedToken, *, now: float) -> IssuedToken:
        """Record the use of a token: the idle time of a sliding reference token starts over. Returns the updated token.

        Best effort: a lost use only makes the token expire earlier.
        """
        if not issued.is_reference:
            return issued
        key = _reference_key(issued.fingerprint)
        try:
            raw = await self._store.current(key)
            if raw is None:
                return issued
            stored, idle = _parse(issued.fingerprint, raw)
            if idle is None:
                return stored
            until = min(_whole(stored.claims["exp"]), int(now) + idle)
            if until - stored.expires_at < max(1, idle // RENEWALS):
                return stored
            new = _dump(issued.fingerprint, stored.claims, idle, until)
            if await self._store.swap(key, raw, new, durable=False, ttl=until - now + MARGIN):
                return _parse(issued.fingerprint, new)[0]
        except StoreUnavailable:
            return issued
        return stored

    async def erase(self, principal: str, cursor: str, count: int) -> tuple[str, int]:
        """Erase the reference tokens that name ``principal`` as subject or actor, among about ``count``.

        Returns the next cursor ("" at the end), and their number. Raises ``Conflict`` if they are used all the time.
        """
        following, keys = await self._store.scan("reference:*", cursor, count)
        erased = 0
        for _ in range(ATTEMPTS):
            theirs = await self._of(principal, keys)
            made = await self._store.swap_many(theirs)
            erased += sum(made)
            # One that was used meanwhile has another end.
            keys = [key for (key, _, _), done in zip(theirs, made, strict=True) if not done]
            if not keys:
                return following, erased
        raise Conflict()

    async def _of(self, principal: str, keys: Sequence[str]) -> list[Change]:
        """Return the changes that erase the tokens, among those under ``keys``, that name ``principal``."""
        values = await self._store.get_many(keys, fenced=False) if keys else []
        name, theirs = principal.encode(), list[Change]()
        for key, raw in zip(keys, values, strict=True):
            if isinstance(raw, StoreUnavailable):
                raise raw
            if isinstance(raw, bytes) and name in raw and _names(_load(key, raw).get("claims"), principal):
                theirs.append((key, raw, None))
        return theirs

    async def revoke(self, issued: IssuedToken, *, now: float) -> None:
        """Record a revocation, confirmed as durable, and tell verifiers. A second one has no effect.

        Raises ``RevocationsFull`` if it was recorded, but verifiers can't be told.
        """
        raw = json.dumps({"v": VERSION, "token_id": issued.token_id, "time": int(now)}).encode()
        expires = _whole(issued.claims["exp"])  # a sliding reference token may be used until then
        told = self._log is None or await self._log.append(self._log.of_token(issued.token_id, expires))
        key = _revoked_key(issued.token_id)
        if await self._store.add(key, raw, ttl=max(1.0, expires - now) + MARGIN) is not None:
            await self._store.confirm(key)
        if not told:
            raise RevocationsFull()

    async def revoke_all(self, kind: Kind, name: str, valid_after: int) -> None:
        """Record that the tokens of a client, an audience or a principal from up to a second are revoked.

        Verifiers are told by the caller. Confirmed as durable; an earlier second changes nothing. Raises ``Conflict``.
        """
        key = _bulk_key(kind, name)
        for _ in range(ATTEMPTS):
            raw = await self._store.get(key)
            after = max(valid_after, _valid_after(key, raw, name) if raw is not None else 0)
            new = json.dumps({"v": VERSION, "name": name, "valid_after": after}).encode()
            if await self._store.swap(key, raw, new, ttl=MAX_LIFETIME + MARGIN):
                return
        raise Conflict()

    async def revoked(self, token: Revocable) -> bool:
        """Return whether a token was revoked: itself, an ancestor, or all of its client, audience or principal."""
        if self._elsewhere(token):
            return True
        bulk = (Kind.CLIENT, token.client_id), (Kind.AUDIENCE, token.audience), (Kind.PRINCIPAL, token.principal)
        keys = [_revoked_key(token_id) for token_id in token.token_ids]
        keys += [_bulk_key(kind, name) for kind, name in bulk]
        names = (*token.token_ids, *(name for _, name in bulk))
        revoked = False
        for index, (key, name, raw) in enumerate(zip(keys, names, await self._reads.get_many(keys), strict=True)):
            if isinstance(raw, StoreUnavailable | CorruptRecord):
                raise raw
            if raw is None:
                continue
            if index >= len(token.token_ids):
                revoked = revoked or token.issued_at <= _valid_after(key, raw, name)
            elif _load(key, raw).get("token_id") != name:
                raise CorruptRecord(detail=f"{key}: it is the record of another token")
            else:
                revoked = True
        return revoked


def _names(claims: object, principal: str) -> bool:
    """Return whether claims name ``principal`` as the subject, or as one of the actors (RFC 8693 section 4.1)."""
    for _ in range(MOST_ACTORS):
        if not isinstance(claims, dict):
            return False
        if claims.get("sub") == principal:
            return True
        claims = claims.get("act")
    return False


def _reference_key(name: str) -> str:
    return f"reference:{name}"


def _revoked_key(token_id: str) -> str:
    # This service made every id. It is hashed all the same, so that no id can become another key.
    return "revoked:" + hashlib.sha256(token_id.encode()).hexdigest()


def _bulk_key(kind: Kind, name: str) -> str:
    return f"revoked-{kind.value}:" + hashlib.sha256(name.encode()).hexdigest()


def _valid_after(key: str, raw: bytes, name: str) -> int:
    value = _load(key, raw)
    if value.get("name") != name:
        raise CorruptRecord(detail=f"{key}: it is the record of another name")
    try:
        return _whole(value.get("valid_after"))
    except TypeError:
        raise CorruptRecord(detail=f"{key}: not a revocation of version {VERSION}") from None


def _dump(name: str, claims: Mapping[str, JsonValue], idle: int | None, until: int) -> bytes:
    value = {"v": VERSION, "handle": name, "claims": dict(claims), "idle": idle, "until": until}
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _parse(name: str, raw: bytes) -> tuple[IssuedToken, int | None]:
    key = _reference_key(name)
    value = _load(key, raw)
    if value.get("handle") != name:
        raise CorruptRecord(detail=f"{key}: it is the record of another reference token")
    try:
        idle = None if value["idle"] is None else _whole(value["idle"])
        return issued_token(value["claims"], name, _whole(value["until"])), idle
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CorruptRecord(detail=f"{key}: not a reference of version {VERSION}") from None


def _load(key: str, raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise CorruptRecord(detail=f"{key}: not JSON") from None
    if not isinstance(value, dict) or value.get("v") != VERSION:
        raise CorruptRecord(detail=f"{key}: not a record of version {VERSION}")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value
