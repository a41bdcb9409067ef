"""Revocations: what each kind names, its stored form, and the digest by which verifiers recognise it.

A revocation never ends before its tokens do, and none is taken back. So a set of revocations only grows, until each
entry expires, and the order in which a reader learns of them does not matter.
"""

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

DIGEST: Final = 16
"""Bytes of a digest."""
MARGIN: Final = 60.0
"""Seconds that a revocation outlives its tokens, for differing clocks of verifiers."""
LONGEST_NAME: Final = 4096
"""Bytes of a name. A longer one is not ours."""
_VERSION: Final = b"1"


class Kind(StrEnum):
    """The things whose tokens can be revoked."""

    TOKEN = "token"  # noqa: S105  # no secret
    """A token's id (`jti`): the token, and every token that names it in `tm_lineage`."""
    PRINCIPAL = "principal"
    """A principal: tokens with this `sub`, and those that name it in `act`."""
    CLIENT = "client"
    """A client: tokens with this `client_id`."""
    AUDIENCE = "audience"
    """An audience: tokens with this `aud`."""
    PROVIDER = "provider"
    """A provider: its own tokens as subject tokens. No minted token names it, so verifiers are told of audiences."""
    KEY = "key"
    """A signing key: tokens with this `kid`. It is in the key ring, not in the log."""


BULK: Final = frozenset({Kind.CLIENT, Kind.AUDIENCE, Kind.PROVIDER})
"""The kinds of which there are few, and which concern tokens that are minted only now."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revocation."""

    kind: Kind
    name: str
    valid_after: int
    """Tokens that were issued in or before this second are revoked; 0: whenever they were issued."""
    expires: int
    """The end of the last of these tokens, with the margin; Unix seconds."""


def digest(kind: Kind, name: str) -> bytes:
    """Return what verifiers compare instead of a name.

    It hides names from a verifier that has not seen them in a token. It is no secret: who can guess a name can
    check the guess.
    """
    return hashlib.sha256(f"tokenmint:revoked:{kind.value}:{name}".encode()).digest()[:DIGEST]


def name_of(kind: Kind, name: str) -> str:
    """Return the name of a revocation in the log."""
    return f"{kind.value}:{name}"


def parse(raw: bytes) -> Revocation | None:
    """Read an entry of the log. None for one in another form: a newer version's, of a kind that is unknown here.

    A token is revoked whenever it was issued, and every other name up to a second. An entry may come from another
    region, so one that says otherwise neither lifts the revocation of a token, nor ends a name for good.
    """
    try:
        version, after, expires, text = raw.split(b" ", 3)
        kind, _, name = text.decode().partition(":")
        if version != _VERSION or not name or len(text) > LONGEST_NAME:
            return None
        found = Revocation(Kind(kind), name, _second(after), _second(expires))
    except ValueError:
        return None
    if found.kind is Kind.TOKEN:
        return replace(found, valid_after=0)
    return found if found.valid_after else None


def _second(text: bytes) -> int:
    if not text.isdigit() or len(text) > 12:
        raise ValueError("not a time")
    return int(text)
