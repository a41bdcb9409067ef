"""The key ring as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class KeyState(StrEnum):
    """Where a key is in its life. It only ever moves forward, in this order."""

    PREPARED = "prepared"
    """Published, signs nothing."""
    ACTIVE = "active"
    """Published, signs. One for each algorithm."""
    RETIRING = "retiring"
    """Published, signs nothing; its private half is destroyed."""
    RETIRED = "retired"
    """Unpublished, kept as a record."""
    REVOKED = "revoked"
    """Unpublished at once; its private half is destroyed."""


PUBLISHED = frozenset({KeyState.PREPARED, KeyState.ACTIVE, KeyState.RETIRING})


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key of the ring. Times are Unix seconds."""

    key_id: str
    """The RFC 7638 thumbprint of the public key."""
    algorithm: str
    state: KeyState
    public_jwk: Mapping[str, str]
    """The public members by RFC 7518 section 6, without `kid`, `alg` and `use`."""
    create_time: float
    publish_time: float
    sealed: str | None = field(default=None, repr=False)
    """The private half, sealed; None once it is destroyed."""
    activate_time: float | None = None
    retire_time: float | None = None
    delete_time: float | None = None
    """When it leaves the published set."""
    revoke_time: float | None = None
    revoke_reason: str = ""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All signing keys: one value, changed as a whole."""

    lineage: str
    """Names the ring that this one descends from; rings of different lineages never mix."""
    generation: int = 0
    """Counts the changes."""
    keys: tuple[SigningKey, ...] = ()

    @property
    def etag(self) -> str:
        """A validator of this generation."""
        return f"{self.lineage[:12]}-{self.generation}"

    def find(self, key_id: str) -> SigningKey | None:
        """Return the key with this id."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def only(self, algorithm: str, state: KeyState) -> SigningKey | None:
        """Return the key of an algorithm in a state of which there is at most one: prepared or active."""
        return next((key for key in self.keys if key.algorithm == algorithm and key.state is state), None)
