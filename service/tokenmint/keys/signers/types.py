"""What a signer is: the one seam behind which private keys may lie anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tokenmint.keys.types import SigningKey


class Signer(Protocol):
    """Signs with one key."""

    @property
    def key_id(self) -> str:
        """The `kid`."""
        ...

    @property
    def algorithm(self) -> str:
        """The `alg`."""
        ...

    async def sign(self, signing_input: bytes) -> bytes:
        """Return the JWS signature (RFC 7518 section 3, RFC 8037 section 3.1). Raises ``SignerUnavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made."""

    public_jwk: Mapping[str, str]
    sealed: str | None = field(default=None, repr=False)
    """The sealed private half, from a signer that hands it out."""
    key_ref: str | None = None
    """Where it is, from one that does not."""


class KeySource(Protocol):
    """Makes keys, signs with them and destroys them. Blocking work is done in threads."""

    @property
    def name(self) -> str:
        """The name under which a ring remembers which source a key is from."""
        ...

    async def generate(self, algorithm: str) -> NewKey:
        """Make a key. Raises ``SignerUnavailable``, or ``ValueError`` for an algorithm that it has not."""
        ...

    async def open(self, key: SigningKey) -> Signer:
        """Return what signs with ``key``. Raises ``SignerUnavailable``, ``ConfigurationError``, ``CorruptRecord``."""
        ...

    async def destroy(self, key_ref: str) -> None:
        """Destroy a private half; one that is gone already is no error. Raises ``SignerUnavailable``."""
        ...
