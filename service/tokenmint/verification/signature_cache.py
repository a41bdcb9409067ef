"""A cache of good signatures, so that a token that is exchanged for several audiences is verified once.

The cache holds only the costly and unchanging results: the parsed token, and that a key's signature over it was good.
Both depend only on the token's hash and the key, and not on caller or time. All other checks are repeated each time:
that the key is still the provider's, issuer, kind, times, audience, claims. After a reload, a new verifier begins with
an empty cache.

The parsed token is kept, because parsing costs up to a third of an RS256 verification. Its size is counted before it is
kept (``jws.size_of``); a token that was made large on purpose is verified each time.

The fast way has a cache of its own. If it passes a call on after it verified the signature, it notes the signature here
(``note``), so that the full way does not verify it again.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from tokenmint.base.bounded_cache import Remembered
from tokenmint.verification.jws import UnverifiedAssertion, size_of

ENTRIES: Final = 4096  # tokens
SIZE: Final = 48 * 1024 * 1024  # bytes of all, estimated: usual tokens take a third of that
LARGEST: Final = 64 * 1024  # bytes of one, parsed; one with 200 groups has 45,000


class CachedSignature(NamedTuple):
    """A token with a good signature."""

    token: UnverifiedAssertion
    provider: str
    thumbprint: str
    """The RFC 7638 thumbprint of the key that signed it."""


class SignatureCache:
    """Caches the latest ``entries`` good signatures; never bad ones, which any sender can make."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._signatures: Remembered[str, CachedSignature] = Remembered(entries=entries, size=SIZE, largest=LARGEST)
        self._signers: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._entries = entries

    def __len__(self) -> int:
        return len(self._signatures)

    @property
    def size(self) -> int:
        """Bytes that are kept, at most."""
        return self._signatures.size

    def find(self, fingerprint: str) -> CachedSignature | None:
        """Return the entry of the token with this SHA-256."""
        return self._signatures.find(fingerprint)

    def remember(self, fingerprint: str, signature: CachedSignature) -> None:
        """Remember a good signature; if there is no room, the oldest are dropped."""
        self._signatures.remember(fingerprint, signature, size_of(signature.token, LARGEST))

    def signer(self, fingerprint: str) -> tuple[str, str] | None:
        """Return the provider and the thumbprint of the key whose signature of this token was good, or None."""
        noted = self._signers.get(fingerprint)
        if noted is not None:
            return noted
        cached = self._signatures.find(fingerprint)
        return (cached.provider, cached.thumbprint) if cached is not None else None

    def note(self, fingerprint: str, signer: tuple[str, str]) -> None:
        """Remember the signer of a token without the token; if there is no room, the oldest is dropped."""
        self._signers[fingerprint] = signer
        if len(self._signers) > self._entries:
            self._signers.popitem(last=False)
