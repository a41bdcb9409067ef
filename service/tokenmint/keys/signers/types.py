"""The interface of a signer, which allows private keys to be kept outside this process."""

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
    """A new key."""

    public_jwk: Mapping[str, str]
    sealed: str | None = field(default=None, repr=False)
    """The sealed private half, from a source that exports it."""
    key_ref: str | None = None
    """The reference to the private half, from a source that does not export it."""


class KeySource(Protocol):
    """Makes keys, signs with them and destroys them. Blocking work is done in threads."""

    @property
    def name(self) -> str:
        """The name that the ring stores with each key of this source."""
        ...

    async def generate(self, algorithm: str) -> NewKey:
        """Make a key. Raises ``SignerUnavailable``, or ``ValueError`` for an algorithm that it does not support."""
        ...

    async def open(self, key: SigningKey) -> Signer:
        """Return the signer for ``key``. Raises ``SignerUnavailable``, ``ConfigurationError``, ``CorruptRecord``."""
        ...

    async def destroy(self, key_ref: str) -> None:
        """Destroy a private half; it is no error if it is gone already. Raises ``SignerUnavailable``."""
        ...
