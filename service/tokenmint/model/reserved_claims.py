"""Claim names that only the service itself sets.

Neither a profile nor a claim mapping may write them: ZITADEL's CVE-2024-29892 was a profile that overwrote `sub`.
"""

from typing import Final

PREFIX: Final = "tm_"
"""Claims of our own."""
RESERVED_CLAIMS: Final = frozenset(
    {
        # RFC 7519 section 4.1
        "iss", "sub", "aud", "exp", "nbf", "iat", "jti",
        # OpenID Connect Core: what says who was authenticated, how and for whom
        "azp", "nonce", "auth_time", "at_hash", "c_hash", "s_hash", "acr", "amr", "sid", "sub_jwk",
        # RFC 8693, RFC 9068, RFC 7662, RFC 7800, RFC 8417, RFC 9396
        "client_id", "scope", "act", "may_act", "cnf", "events", "toe", "txn", "authorization_details", "active",
        "token_type", "username",
        # Firebase reads these of a token
        "firebase", "user_id", "uid",
    }
)  # fmt: skip


def is_reserved(name: str) -> bool:
    """Tell whether only the service may set the claim ``name``."""
    return name in RESERVED_CLAIMS or name.startswith(PREFIX)
