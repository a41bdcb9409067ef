"""Principals and what is known of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tokenmint.model.tokens import JsonValue


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A principal as one provider names it."""

    provider: str
    subject: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What the service knows of a principal: the truth that tokens are enriched from. Times are Unix seconds."""

    principal: str
    identities: tuple[Identity, ...] = ()
    disabled: bool = False
    claims: Mapping[str, JsonValue] = field(default_factory=lambda: MappingProxyType({}))
    roles: tuple[str, ...] = ()
    tokens_valid_after: int | None = None
    """Nothing issued in or before this second is accepted."""
    create_time: float = 0.0
    update_time: float = 0.0
    etag: str = ""
    """A validator of this version; empty for a profile that is not stored."""
