"""Claim names that only the service may set.

Neither a profile nor a claim mapping may write them: in ZITADEL's CVE-2024-29892, a profile overwrote `sub`.
"""

from typing import Final

PREFIX: Final = "tm_"
"""The prefix of this service's claims."""
RESERVED_CLAIMS: Final = frozenset(
    {
        # RFC 7519 section 4.1
        "iss", "sub", "aud", "exp", "nbf", "iat", "jti",
        # OpenID Connect Core: claims about the authenticated user, the method and the recipient
        "azp", "nonce", "auth_time", "at_hash", "c_hash", "s_hash", "acr", "amr", "sid", "sub_jwk",
        # RFC 8693, RFC 9068, RFC 7662, RFC 7800, RFC 8417, RFC 9396
        "client_id", "scope", "act", "may_act", "cnf", "events", "toe", "txn", "authorization_details", "active",
        "token_type", "username",
        # claims that Firebase reads
        "firebase", "user_id", "uid",
    }
)  # fmt: skip


def is_reserved(name: str) -> bool:
    """Return whether only the service may set the claim ``name``."""
    return name in RESERVED_CLAIMS or name.startswith(PREFIX)
