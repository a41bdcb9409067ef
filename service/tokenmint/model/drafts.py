"""The Internet-Drafts that the service follows if the configuration says so (`oauth.drafts`), by version.

A draft may change, so each is off by default. A later version gets a name of its own (docs/standards.md).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tokenmint.model.tokens import ID_JAG, JWT_GRANT, TXN_TOKEN

SPIFFE_CLIENT_AUTH: Final = "draft-ietf-oauth-spiffe-client-auth-02"
"""A JWT-SVID authenticates a client over HTTP."""
RFC7523BIS: Final = "draft-ietf-oauth-rfc7523bis-10"
"""The audience of every client assertion is the issuer alone, not the token endpoint."""
IDENTITY_ASSERTION: Final = "draft-ietf-oauth-identity-assertion-authz-grant-04"
"""ID-JAGs are minted for other authorization servers, and accepted from providers."""
IDENTITY_CHAINING: Final = "draft-ietf-oauth-identity-chaining-17"
"""JWT authorization grants are minted for other authorization servers, and accepted from providers."""
TRANSACTION_TOKENS: Final = "draft-ietf-oauth-transaction-tokens-10"
"""Transaction tokens are minted for trust domains, and replaced in them."""
STATUS_LIST: Final = "draft-ietf-oauth-status-list-20"
"""Tokens have an index in a status list, which is published."""
DRAFTS: Final = (
    IDENTITY_ASSERTION,
    IDENTITY_CHAINING,
    RFC7523BIS,
    SPIFFE_CLIENT_AUTH,
    STATUS_LIST,
    TRANSACTION_TOKENS,
)
"""All of them, in alphabetical order."""
OF_TYPE: Final[Mapping[str, str]] = MappingProxyType(
    {ID_JAG: IDENTITY_ASSERTION, JWT_GRANT: IDENTITY_CHAINING, TXN_TOKEN: TRANSACTION_TOKENS}
)
"""The draft that each type of token belongs to."""


def needed(*drafts: str) -> str:
    """Return the condition, for a message, that one of these drafts is followed."""
    return f"needs oauth.drafts to have {' or '.join(drafts)}"
