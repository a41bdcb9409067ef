"""Reuse: the same grant within some seconds gets the same token again, if its audience allows that.

Reuse saves the signature, which is most of the work for RSA keys and for keys in a key management service. Every
request is still authenticated, verified and decided. A token is reused only if all fields of the grant are equal,
including the version of the profile, and the same key still signs. The store is asked each time whether the token was
revoked; if it does not answer, a new token is minted.
"""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import fields, replace
from operator import attrgetter
from typing import Final

import orjson

from tokenmint.base.bounded_cache import Remembered
from tokenmint.base.errors import CorruptRecord, DependencyUnavailable
from tokenmint.model.issued import Revocable
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import TokenGrant

ENTRIES: Final = 2048  # tokens
SIZE: Final = 16 * 1024 * 1024  # bytes of all
LARGEST: Final = 64 * 1024  # bytes of one
GRANT: Final = 4096  # bytes of a grant beyond its claims, and of a token beyond itself
_TIMES_AND_MAPPINGS: Final = frozenset({"issued_at", "expires_at", "claims"})
_same = attrgetter(*(item.name for item in fields(TokenGrant) if item.name not in _TIMES_AND_MAPPINGS))


class ReuseWindow:
    """Keeps recently minted tokens, at most ``entries``.

    Args:
        revoked: returns whether a token was revoked.
        entries: the largest number of tokens.
    """

    def __init__(self, revoked: Callable[[Revocable], Awaitable[bool]], entries: int = ENTRIES) -> None:
        self._revoked = revoked
        self._minted: Remembered[Hashable, tuple[int, MintedToken]] = Remembered(
            entries=entries, size=SIZE, largest=LARGEST
        )

    def __len__(self) -> int:
        return len(self._minted)

    async def find(self, grant: TokenGrant, key_id: str) -> MintedToken | None:
        """Return the token minted by the key ``key_id`` for the same grant within its window; or None.

        Never reissues a token past half its lifetime.
        """
        key = _key(grant, key_id)
        entry = self._minted.find(key)
        if key is None or entry is None:
            return None
        issued_at, minted = entry
        window = min(grant.reuse_window, (grant.expires_at - grant.issued_at) // 2)
        if not 0 <= grant.issued_at - issued_at < window:
            return None
        try:
            ids = (minted.token_id, *grant.ancestors)
            if await self._revoked(Revocable(ids, grant.principal, grant.client_id, grant.audience, issued_at)):
                self._minted.forget(key)
                return None
        except (DependencyUnavailable, CorruptRecord):
            return None
        return replace(minted, reused=True)

    def remember(self, grant: TokenGrant, minted: MintedToken) -> None:
        """Store the token minted for ``grant``; the oldest tokens make room."""
        key = _key(grant, minted.key_id)
        if key is None:
            return
        # The claims are in the token, as base64, and in the key: three times the token's length exceeds both.
        self._minted.remember(key, (grant.issued_at, minted), GRANT + 3 * len(minted.token))


def _key(grant: TokenGrant, key_id: str) -> Hashable:
    """Return the identity of a token apart from its times; None if it must be minted anew each time.

    A token with an actor is never reused: the actor's revocation is not checked by its tokens' ids.
    """
    if not grant.reuse_window or grant.actor or grant.act is not None or not grant.format.reusable:
        return None
    try:
        claims = orjson.dumps(dict(grant.claims), option=orjson.OPT_SORT_KEYS)  # as text, 1, 1.0 and true differ
    except TypeError:
        return None
    return (key_id, grant.expires_at - grant.issued_at, claims, *_same(grant))
