"""The key ring as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class KeyState(StrEnum):
    """The state of a key. A key only moves forward, in this order."""

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
    """The RFC 7638 thumbprint of the public key, after the region's name and a dot if the region has one."""
    algorithm: str
    state: KeyState
    public_jwk: Mapping[str, str]
    """The public members by RFC 7518 section 6, without `kid`, `alg` and `use`."""
    create_time: float
    publish_time: float
    publish_generation: int = 0
    """The first generation of the ring that published the key; a replica at a later one publishes it too."""
    signer: str = "local"
    """The holder of the private half: `local` (sealed, in the ring), or an external signer that never exports it."""
    sealed: str | None = field(default=None, repr=False)
    """The private half of a local key, sealed; None once it is destroyed."""
    seal_time: float = 0.0
    """The time of this seal: a merge keeps the newer seal of a key."""
    key_ref: str | None = None
    """The external signer's reference to the private half; None once it has destroyed it."""
    activate_time: float | None = None
    retire_time: float | None = None
    delete_time: float | None = None
    """The time at which it leaves the published set."""
    revoke_time: float | None = None
    revoke_reason: str = ""


@dataclass(frozen=True, slots=True)
class RegionKey:
    """A published key of another region: its public half alone."""

    key_id: str
    algorithm: str
    public_jwk: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RegionKeys:
    """The published keys of all other regions, as this process knows them."""

    keys: tuple[RegionKey, ...] = ()
    changes: int = 0
    """Counts their changes, and only grows."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All signing keys: one value, changed as a whole."""

    ring_id: str
    """Identifies the ring through all its changes; rings with different ids are never merged."""
    generation: int = 0
    """Counts the changes."""
    fence: int = 0
    """The fencing token of the lease under which the ring last advanced on schedule."""
    max_lifetime: float = 0.0
    """The longest lifetime that any replica may have given a token; retention is computed from it."""
    keys: tuple[SigningKey, ...] = ()
    losses: int = 0
    """The number of times that replicas found changes of the store lost. Only grows."""
    losses_accepted: int = 0
    """The number of those losses that an operator has accepted. Only grows."""
    disowned: tuple[str, ...] = ()
    """Ids of keys that a high-water mark lists as revoked although the store lost their revocation."""

    @property
    def went_back(self) -> bool:
        """Whether the store lost changes and no operator has accepted that yet."""
        return self.losses > self.losses_accepted

    @property
    def etag(self) -> str:
        """A validator of this generation."""
        return f"{self.ring_id[:12]}-{self.generation}"

    def find(self, key_id: str) -> SigningKey | None:
        """Return the key with this id."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def only(self, algorithm: str, state: KeyState) -> SigningKey | None:
        """Return the key of an algorithm in a state that at most one key may have: prepared or active."""
        return next((key for key in self.keys if key.algorithm == algorithm and key.state is state), None)
