"""Verified tokens: the output of the verifier, without unverified data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105  # RFC 8693 section 3
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
JWT = "urn:ietf:params:oauth:token-type:jwt"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"  # noqa: S105
"""A reference token of ours that its client exchanges for an ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant
section 4.3.2)."""
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
"""An identity assertion authorization grant (draft-ietf-oauth-identity-assertion-authz-grant section 3)."""
ID_JAG_TYP = "oauth-id-jag+jwt"
"""The `typ` in the header of every ID-JAG, and of no other token."""
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""A JWT authorization grant that is no ID-JAG (draft-ietf-oauth-identity-chaining section 2.4). It has no type of its
own in RFC 8693, so the grant's name stands for it (RFC 7523 section 2.1)."""
JWT_GRANT_TYP = "authorization-grant+jwt"
"""The `typ` in the header of every JWT authorization grant that we mint (draft-ietf-oauth-rfc7523bis)."""
GRANTS = frozenset({ID_JAG, JWT_GRANT})
"""The kinds of tokens that a client presents as a grant. Each is used once, and only for an access token."""
TXN_TOKEN = "urn:ietf:params:oauth:token-type:txn_token"  # noqa: S105
"""A transaction token (draft-ietf-oauth-transaction-tokens section 11.1)."""
TXN_TOKEN_TYP = "txntoken+jwt"  # noqa: S105  # a media type
"""The `typ` in the header of every transaction token, and of no other token."""

SELF_ISSUED = "@tokenmint"
"""The provider name of issued tokens; no provider can be configured with this name."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose issuer, signature, times, audience and required claims were verified.

    Only ``verification/verifier.py`` makes one, and ``issued/verifier.py`` for an issued token. It proves that this
    provider made these claims about this subject.
    """

    provider: str
    """The configured provider's name."""
    issuer: str
    """The exact ``iss``."""
    subject: str
    """The provider's name of the principal: ``sub``, or the configured claims (Entra ID: tid/oid)."""
    token_type: str
    """The kind of token, a URN of RFC 8693 section 3."""
    claims: Mapping[str, JsonValue]
    """Every claim of the payload. Verified to come from the provider, not to be true."""
    issued_at: float | None
    """``iat``, seconds since the epoch. None only if the provider's tokens need none (SPIFFE)."""
    expires_at: float
    """``exp``, seconds since the epoch."""
    fingerprint: str
    """SHA-256 of the whole token in hex, for audit."""
    replay_id: str
    """The key of a single-use token's record: a hash of (issuer, jti), or of the signing input without a jti."""
    single_use: bool
    """Whether the provider's configuration requires single use."""


def at_path(claims: Mapping[str, JsonValue], path: tuple[str, ...]) -> JsonValue:
    """Return the value at ``path``, or None."""
    value = claims.get(path[0])
    for name in path[1:]:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
