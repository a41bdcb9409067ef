"""The revocations that the sidecar knows of, and the names by which the token of an answer can be revoked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue
from tokenmint.revocation.entries import DIGEST, Kind, digest
from tokenmint.verification.jws import MOST_TOKEN, parse_compact

MOST: Final = 1_000_000
"""Revocations at most: as many as tokenmint's log can have (`limits.revocations`)."""
HOLD: Final = 900.0
"""Seconds for which each is kept at least, also if this machine's clock is ahead: longer than any answer is kept."""
PRUNE: Final = 30.0  # seconds between searches for expired ones
DEPTH: Final = 16  # actors of a token
NAMES: Final = 64  # names of a token


class TooMany(Exception):
    """There is no room for another revocation."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names by which a token can be revoked."""

    audience: str
    issued_at: float
    digests: tuple[bytes, ...]


def names_of(token: str, principal: str, client_id: str) -> Names | None:
    """Return the names of a token that tokenmint has just answered with, so it is not verified.

    None for one that is no JWT, or lacks a claim by which verifiers compare: it can't be told whether it is revoked.

    Args:
        token: the token.
        principal: the principal that tokenmint named beside it; "": none.
        client_id: the client that got it.
    """
    try:
        parsed = parse_compact(Secret(token), MOST_TOKEN)
    except (MalformedToken, UnicodeEncodeError):
        return None
    claims = parsed.claims
    audience, issued_at = claims.get("aud"), claims.get("iat")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    texts = (audience, claims.get("jti"), claims.get("sub"), parsed.key_id)
    if not all(isinstance(text, str) for text in texts) or not isinstance(issued_at, int | float):
        return None
    named = {(Kind.KEY, parsed.key_id or ""), (Kind.CLIENT, client_id), *_named(claims)}
    named |= {(Kind.PRINCIPAL, principal)} if principal else set()
    if len(named) > NAMES:
        return None
    return Names(str(audience), issued_at, tuple(digest(kind, name) for kind, name in sorted(named)))


def _named(claims: Mapping[str, JsonValue]) -> Iterator[tuple[Kind, str]]:
    """Yield the names in the claims, as verifiers read them (docs/clients.md)."""
    single = ((Kind.TOKEN, "jti"), (Kind.PRINCIPAL, "sub"), (Kind.CLIENT, "client_id"), (Kind.AUDIENCE, "aud"))
    for kind, claim in (*single, (Kind.TOKEN, "tm_lineage")):
        value = claims.get(claim)
        yield from ((kind, name) for name in (value if isinstance(value, list) else [value]) if isinstance(name, str))
    act = claims.get("act")
    for _ in range(DEPTH):  # RFC 8693 section 4.1; an actor with an `iss` is no principal of tokenmint
        if not isinstance(act, dict):
            return
        name = act.get("sub")
        if "iss" not in act and isinstance(name, str):
            yield Kind.PRINCIPAL, name
        act = act.get("act")


class RevokedSet:
    """For each digest, the second up to which tokens are revoked. It only grows, until entries expire.

    So entries may come again, in any order, and from several streams.

    Args:
        most: the largest number of entries.
    """

    def __init__(self, most: int = MOST) -> None:
        self._held: dict[bytes, tuple[int, int, float]] = {}
        self._most = most
        self._prune_at = float("-inf")

    def __len__(self) -> int:
        return len(self._held)

    def add(self, one: bytes, valid_after: int, expires: int, at: float) -> None:
        """Add an entry.

        Args:
            one: its digest.
            valid_after: the second up to which tokens are revoked; 0: whenever they were issued.
            expires: the end of the last of these tokens, Unix seconds.
            at: now, by the monotonic clock.

        Raises:
            TooMany: there is no room.
        """
        if len(one) != DIGEST:
            return
        before = self._held.get(one)
        if before is not None:
            # 0 covers every token. It belongs to single tokens, whose entries have no other value.
            valid_after, expires = max(valid_after, before[0]), max(expires, before[1])
        elif len(self._held) >= self._most:
            raise TooMany
        self._held[one] = valid_after, expires, at

    def covers(self, names: Names) -> bool:
        """Return whether a token with these names is revoked."""
        for one in names.digests if self._held else ():
            entry = self._held.get(one)
            if entry is not None and (entry[0] == 0 or int(names.issued_at) <= entry[0]):
                return True
        return False

    def prune(self, now: float, at: float) -> None:
        """Drop the entries that have expired, from time to time. ``now``: Unix seconds; ``at``: monotonic."""
        if at >= self._prune_at:
            self._prune_at = at + PRUNE
            self._held = {one: held for one, held in self._held.items() if held[1] > now or held[2] + HOLD > at}
