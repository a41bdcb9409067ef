"""The result of an exchange."""

from collections.abc import Mapping
from dataclasses import dataclass

from tokenmint.model.policy import TokenGrant
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A token that tokenmint signed. Only ``formats/`` makes one."""

    token: Secret
    issued_token_type: str
    """A URN of RFC 8693 section 3."""
    token_type: str
    """The scheme with which a client presents it (RFC 8693 section 2.2.1)."""
    expires_at: int
    """Unix seconds."""
    scopes: tuple[str, ...]
    key_id: str
    token_id: str
    """The `jti`."""
    subject: str
    reused: bool = False
    """Whether it was minted earlier for the same grant, and is reissued."""
    txn: str = ""
    """The transaction of a transaction token."""


@dataclass(frozen=True, slots=True)
class PlannedToken:
    """A token that would be minted for a grant."""

    grant: TokenGrant
    key_id: str
    """The key that would sign it; empty if its format signs with another key, or with none."""
    claims: Mapping[str, JsonValue]
    """Its claims, without its id."""


def presented_as(grant: TokenGrant) -> str:
    """Return the `token_type` of an access token (RFC 8693 section 2.2.1, RFC 9449 section 5)."""
    return "DPoP" if grant.binding.jkt is not None else "Bearer"
