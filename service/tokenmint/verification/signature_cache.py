"""Signatures that were found good, remembered, so that a token that is exchanged for several audiences is checked once.

Remembered is the costly and unchanging part alone: how a token's bytes read, and that a key's signature over them was
good. Both follow from the token's hash and the key, whoever asks and whenever. Everything else is checked each time:
that the key is still the provider's, issuer, kind, times, audience, claims. A verifier that a reload makes begins anew.

The parsed token is kept: to read it again costs as much as a third of an RS256 signature's check. What it takes is
counted before it is kept (``jws.size_of``); one that was made to be large is checked each time.
"""

from typing import Final, NamedTuple

from tokenmint.base.bounded_cache import Remembered
from tokenmint.verification.jws import UnverifiedAssertion, size_of

ENTRIES: Final = 4096  # tokens
SIZE: Final = 48 * 1024 * 1024  # bytes of all, estimated: in truth a third of it where tokens are usual ones
LARGEST: Final = 64 * 1024  # bytes of one, parsed; one with 200 groups has 45,000


class Verdict(NamedTuple):
    """A token whose signature was good."""

    token: UnverifiedAssertion
    provider: str
    thumbprint: str
    """The RFC 7638 thumbprint of the key that signed it."""


class Verdicts:
    """Remembers good signatures, the latest ``entries`` of them; never bad ones, which anybody can make."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._verdicts: Remembered[str, Verdict] = Remembered(entries=entries, size=SIZE, largest=LARGEST)

    def __len__(self) -> int:
        return len(self._verdicts)

    @property
    def size(self) -> int:
        """Bytes that are kept, at most."""
        return self._verdicts.size

    def find(self, fingerprint: str) -> Verdict | None:
        """Return what is remembered of the token with this SHA-256."""
        return self._verdicts.find(fingerprint)

    def remember(self, fingerprint: str, verdict: Verdict) -> None:
        """Remember a good signature; the oldest are forgotten where there is no room."""
        self._verdicts.remember(fingerprint, verdict, size_of(verdict.token, LARGEST))
