"""The same grant, asked for again within some seconds, is answered with the same token, where an audience says so.

It saves the signature, which is most of the work where keys are RSA keys or in a key management service. What was
proved and decided is proved and decided each time; this begins where exactly the same would be minted: every field of
the grant is equal (the version of the profile too), signed by the key that signs now. A token that was revoked is not
given out again: the store is asked each time, and where it gives no answer, a new token is minted.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import fields, replace
from operator import attrgetter
from typing import Final

import orjson

from tokenmint.base.bounded_cache import Remembered
from tokenmint.base.errors import CorruptRecord, DependencyUnavailable
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import TokenGrant

ENTRIES: Final = 2048  # tokens
SIZE: Final = 16 * 1024 * 1024  # bytes of all
LARGEST: Final = 64 * 1024  # bytes of one
GRANT: Final = 4096  # bytes of a grant beyond its claims, and of a token beyond itself
_TIMES_AND_MAPPINGS: Final = frozenset({"issued_at", "expires_at", "claims"})
_same = attrgetter(*(item.name for item in fields(TokenGrant) if item.name not in _TIMES_AND_MAPPINGS))


class ReuseWindow:
    """Remembers tokens that were minted, the latest ``entries`` of them.

    Args:
        revoked: tells whether any of the tokens with these ids was revoked.
        entries: how many are remembered.
    """

    def __init__(self, revoked: Callable[[Iterable[str]], Awaitable[bool]], entries: int = ENTRIES) -> None:
        self._revoked = revoked
        self._minted: Remembered[Hashable, tuple[int, MintedToken]] = Remembered(
            entries=entries, size=SIZE, largest=LARGEST
        )

    def __len__(self) -> int:
        return len(self._minted)

    async def find(self, grant: TokenGrant, key_id: str) -> MintedToken | None:
        """Return the token that was minted for the same grant, by the key ``key_id``, within its window; or None.

        None is younger than half its life when it is given out again, whatever the window.
        """
        key = _key(grant, key_id)
        known = self._minted.find(key)
        if key is None or known is None:
            return None
        issued_at, minted = known
        window = min(grant.reuse_window, (grant.expires_at - grant.issued_at) // 2)
        if not 0 <= grant.issued_at - issued_at < window:
            return None
        try:
            if await self._revoked((minted.token_id,)):
                self._minted.forget(key)
                return None
        except (DependencyUnavailable, CorruptRecord):
            return None
        return replace(minted, reused=True)

    def remember(self, grant: TokenGrant, minted: MintedToken) -> None:
        """Remember what was minted for ``grant``; the oldest are forgotten where there is no room."""
        key = _key(grant, minted.key_id)
        if key is None:
            return
        # Its claims are in the token, in base64, and in the key: three times its length is more than both.
        self._minted.remember(key, (grant.issued_at, minted), GRANT + 3 * len(minted.token))


def _key(grant: TokenGrant, key_id: str) -> Hashable:
    """Name what is minted but for its times; None for what is minted anew each time.

    An actor's own end is not looked up by its tokens, so what somebody asked for in another's place is not reused.
    """
    if not grant.reuse_window or grant.actor or grant.act is not None or not grant.format.reusable:
        return None
    try:
        claims = orjson.dumps(dict(grant.claims), option=orjson.OPT_SORT_KEYS)  # text: 1, 1.0 and true are not equal
    except TypeError:
        return None
    return (key_id, grant.expires_at - grant.issued_at, claims, *_same(grant))
