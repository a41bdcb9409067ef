"""Signatures that were found good, remembered, so that a token that is exchanged for several audiences is checked once.

Remembered is the costly and unchanging part alone: how a token's bytes read, and that a key's signature over them was
good. Both follow from the token's hash and the key, whoever asks and whenever. Everything else is checked each time:
that the key is still the provider's, issuer, kind, times, audience, claims. A verifier that a reload makes begins anew.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from tokenmint.assertion.jws import UnverifiedAssertion

SIZE: Final = 4096  # tokens; some 3 kB each


class Verdict(NamedTuple):
    """A token whose signature was good."""

    token: UnverifiedAssertion
    provider: str
    thumbprint: str
    """The RFC 7638 thumbprint of the key that signed it."""


class Verdicts:
    """Remembers good signatures, the latest ``size`` of them; never bad ones, which anybody can make."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._verdicts: OrderedDict[str, Verdict] = OrderedDict()

    def __len__(self) -> int:
        return len(self._verdicts)

    def find(self, fingerprint: str) -> Verdict | None:
        """Return what is remembered of the token with this SHA-256."""
        return self._verdicts.get(fingerprint)

    def remember(self, fingerprint: str, verdict: Verdict) -> None:
        """Remember a good signature; the oldest one is forgotten where there are too many."""
        self._verdicts[fingerprint] = verdict
        if len(self._verdicts) > self._size:
            self._verdicts.popitem(last=False)
