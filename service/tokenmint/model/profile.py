"""Principals and their profiles."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tokenmint.model.tokens import JsonValue


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """The name of a principal at one provider."""

    provider: str
    subject: str


@dataclass(frozen=True, slots=True)
class Profile:
    """The service's record of a principal, from which tokens are enriched. Times are Unix seconds."""

    principal: str
    identities: tuple[Identity, ...] = ()
    disabled: bool = False
    claims: Mapping[str, JsonValue] = field(default_factory=lambda: MappingProxyType({}))
    roles: tuple[str, ...] = ()
    tokens_valid_after: int | None = None
    """Tokens issued in or before this second are refused."""
    create_time: float = 0.0
    update_time: float = 0.0
    etag: str = ""
    """Identifies this version of the profile; empty for a profile that is not stored."""
    home: str = ""
    """The region that this is a copy of; "": it is this region's own."""

    def refusing_up_to(self, second: int) -> "Profile":
        """Return the profile with tokens refused that were issued in or before a second."""
        return replace(self, tokens_valid_after=max(second, self.tokens_valid_after or 0))
