"""The regions of a configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.regions.identity import Identity
from tokenmint.verification.jwk_set import ParsedKeySet
from tokenmint.verification.key_source import KeySource


@dataclass(frozen=True, slots=True)
class OtherRegion:
    """Another region of the same issuer."""

    name: str
    source: KeySource
    """Its documents, for the fetch function."""
    keys: RenewedFiles[ParsedKeySet] = field(compare=False, repr=False)
    """The pinned public keys of its identity."""


@dataclass(frozen=True, slots=True)
class RegionOptions:
    """This region and the others."""

    name: str = ""
    """The name of this region; "": there are no regions."""
    poll: float = 1.0
    """Seconds between two pulls from each other region."""
    longest_cut: float = 0.0
    """L: seconds for which another region may be cut off from new keys; 0 without other regions."""
    profiles: bool = False
    """Whether the profiles of the other regions are copied, and this region's own told."""
    identity: RenewedFiles[Identity] | None = field(default=None, compare=False, repr=False)
    """The private key that signs this region's documents."""
    authority: RenewedFiles[ParsedKeySet] | None = field(default=None, compare=False, repr=False)
    """The pinned public keys that sign statements about regions that were given up."""
    others: Mapping[str, OtherRegion] = field(default_factory=lambda: MappingProxyType({}))

    def files(self) -> list[RenewedFiles[Any]]:
        """Return the files that are read again when they change."""
        own: list[RenewedFiles[Any]] = [files for files in (self.identity, self.authority) if files is not None]
        return [*own, *(other.keys for other in self.others.values())]
