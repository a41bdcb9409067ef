"""The Internet-Drafts that the service follows if the configuration says so (`oauth.drafts`), by version.

A draft may change, so each is off by default. A later version gets a name of its own (docs/standards.md).
"""

from typing import Final

SPIFFE_CLIENT_AUTH: Final = "draft-ietf-oauth-spiffe-client-auth-02"
"""A JWT-SVID authenticates a client over HTTP."""
RFC7523BIS: Final = "draft-ietf-oauth-rfc7523bis-10"
"""The audience of every client assertion is the issuer alone, not the token endpoint."""
IDENTITY_ASSERTION: Final = "draft-ietf-oauth-identity-assertion-authz-grant-04"
"""ID-JAGs are minted for other authorization servers, and accepted from providers."""
TRANSACTION_TOKENS: Final = "draft-ietf-oauth-transaction-tokens-10"
"""Transaction tokens are minted for trust domains, and replaced in them."""
DRAFTS: Final = (IDENTITY_ASSERTION, RFC7523BIS, SPIFFE_CLIENT_AUTH, TRANSACTION_TOKENS)
"""All of them, in alphabetical order."""
