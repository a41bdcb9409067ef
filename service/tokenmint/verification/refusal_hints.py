"""Names the kind of a refused token, if it is often sent by mistake, so that its sender learns what to send.

Nothing is accepted here: the token was refused already, and this module only chooses the words. The words quote no part
of the token.
"""

from collections.abc import Collection
from typing import Final

from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import BadSignature, TokenRejected, UnknownIssuer, WrongAudience
from tokenmint.verification.jws import UnverifiedAssertion

FIREBASE_CUSTOM_TOKEN: Final = (
    "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"  # noqa: S105
)
"""The `aud` of Firebase custom tokens."""
_ISSUERS: Final = (
    (
        "https://session.firebase.google.com/",
        "this is a session cookie of a Firebase project whose session cookies are not configured: send the ID token",
    ),
    ("https://securetoken.google.com/", "this is a Firebase ID token, of a project that is not configured"),
    ("https://sts.windows.net/", "this is an Entra ID token, of a tenant that is not configured"),
    ("https://login.microsoftonline.com/", "this is an Entra ID token, of a tenant that is not configured"),
    (
        "kubernetes/serviceaccount",
        "this is a service account's token from a Secret, which never expires: request a projected one (TokenRequest)",
    ),
)


def unknown_issuer(token: UnverifiedAssertion, *, own_issuer: str, known: Collection[str] = ()) -> TokenRejected:
    """Return the refusal of a token whose issuer is not a provider's. ``known`` are the providers' issuers."""
    claims = token.claims
    if claims.get("aud") == FIREBASE_CUSTOM_TOKEN:
        return WrongAudience(
            "this is a Firebase custom token: sign in to Firebase with it and send the ID token that comes back"
        )
    legacy = claims.get("d")
    if token.algorithm == "HS256" and claims.get("v") == 0 and isinstance(legacy, dict) and "uid" in legacy:
        return WrongAudience("this is a legacy Firebase custom token: send the ID token of a user who has signed in")
    if token.issuer == own_issuer:
        return UnknownIssuer(
            "tokenmint itself minted this token: exchange it as an access_token, if policy allows that"
        )
    detail = f"iss {quoted(token.issuer, LONG)}, accepted {quoted(sorted(known), LONG)}"
    for prefix, words in _ISSUERS:
        if token.issuer.startswith(prefix):
            return UnknownIssuer(words, detail=detail)
    return UnknownIssuer(detail=detail)


def bad_signature(token: UnverifiedAssertion) -> TokenRejected:
    """Return the refusal of a token with a bad signature."""
    if "nonce" in token.header:
        return BadSignature(
            "the header has a nonce: this is an access token for Microsoft Graph, which only Graph can verify; "
            "request one for your own API"
        )
    return BadSignature()
