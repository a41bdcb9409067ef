"""Tokens of Azure App Service's custom authentication, sent to the site as `x-zumo-auth`.

https://learn.microsoft.com/azure/app-service/configure-authentication-customize-sign-in-out ("client-directed sign-in"
with custom authentication). HMAC-SHA-256 with the site's signing key, which is a secret between the site and this
service and never in the key set.
"""

import hashlib
import hmac
from typing import Final

from tokenmint.base.errors import ClaimsTooLarge
from tokenmint.formats.jwt import encode, encode_segment
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import AppServiceFormat, TokenGrant
from tokenmint.model.reserved_claims import is_reserved
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue

VERSION: Final = "3"
"""The `ver` that App Service asks for."""
OWN_CLAIMS: Final = frozenset({"ver"})
"""Claims that only this format sets, beside the reserved ones."""


def app_service_token(grant: TokenGrant, form: AppServiceFormat, *, token_id: str) -> MintedToken:
    """Return a token for the site that is the grant's audience: its URL is `iss` and `aud`.

    Raises:
        ClaimsTooLarge: the token would be longer than the audience allows.
        ValueError: a mapped claim has a reserved name; the configuration is refused for it, and this is the last look.
    """
    taken = [name for name in grant.claims if is_reserved(name) or name in OWN_CLAIMS]
    if taken:
        raise ValueError(f"reserved claims in a grant: {taken}")
    claims: dict[str, JsonValue] = {
        "iss": grant.audience,
        "aud": grant.audience,
        "sub": grant.principal,
        "ver": VERSION,
        "iat": grant.issued_at,
        "nbf": grant.issued_at,
        "exp": grant.expires_at,
        "jti": token_id,
    }
    unsigned = encode({"alg": "HS256", "typ": "JWT"}) + b"." + encode(dict(grant.claims) | claims)
    token = unsigned + b"." + encode_segment(hmac.digest(form.key.reveal_bytes(), unsigned, hashlib.sha256))
    if len(token) > grant.max_token_bytes:
        raise ClaimsTooLarge()
    return MintedToken(
        token=Secret(token),
        issued_token_type=grant.token_type,
        token_type="N_A",  # noqa: S106  # RFC 8693 section 2.2.1: no access token
        expires_at=grant.expires_at,
        scopes=(),
        key_id="",
        token_id=token_id,
        subject=grant.principal,
    )
