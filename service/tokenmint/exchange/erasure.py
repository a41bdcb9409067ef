"""The use case of erasing a person, in steps: the whole store is searched, for which one call has no time."""

from dataclasses import dataclass
from typing import Final

from tokenmint.issued.store import IssuedStore
from tokenmint.profiles.eraser import ProfileEraser

STEP: Final = 5_000  # keys that one step looks at, about
SCAN: Final = 1_000  # keys of one round trip
LINKS: Final = "identities"
TOKENS: Final = "tokens"


@dataclass(frozen=True, slots=True)
class Erased:
    """The result of a step, and the place where the next one begins ("" at the end)."""

    found: bool
    identities: int
    tokens: int
    following: str


class PersonErasure:
    """Erases a person from the store: profile or tombstone, identities, reference tokens.

    Args:
        eraser: erases profiles and identities.
        issued: the records of issued tokens.
    """

    def __init__(self, eraser: ProfileEraser, issued: IssuedStore) -> None:
        self._eraser = eraser
        self._issued = issued

    async def begin(self, principal: str, *, allow_return: bool) -> Erased:
        """Erase the profile and its identities, so that the person is refused. Raises as ``ProfileEraser.erase``."""
        found, identities = await self._eraser.erase(principal, allow_return=allow_return)
        return Erased(found, identities, 0, f"{LINKS}.")

    async def go_on(self, principal: str, following: str, *, allow_return: bool) -> Erased:
        """Search a part of the store, from ``following`` of the step before. Raises as :meth:`begin`."""
        stage, _, cursor = following.partition(".")
        identities = tokens = seen = 0
        while seen < STEP:
            seen += SCAN
            if stage == LINKS:
                cursor, number = await self._eraser.erase_links(principal, cursor, SCAN, allow_return=allow_return)
                identities += number
                if not cursor:
                    stage = TOKENS
            else:
                cursor, number = await self._issued.erase(principal, cursor, SCAN)
                tokens += number
                if not cursor:
                    return Erased(False, identities, tokens, "")
        return Erased(False, identities, tokens, f"{stage}.{cursor}")


def is_step(text: str) -> bool:
    """Return whether a step can begin at ``text``, so that it may be passed to :meth:`PersonErasure.go_on`."""
    stage, dot, cursor = text.partition(".")
    parts = cursor.split(":")
    right = len(parts) <= 2 and all(part.isascii() and part.isdecimal() and len(part) <= 20 for part in parts)
    return stage in (LINKS, TOKENS) and dot == "." and (not cursor or right)
