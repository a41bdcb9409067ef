"""The rules for ID-JAGs that go beyond those of other tokens (draft-ietf-oauth-identity-assertion-authz-grant)."""

from collections.abc import Mapping
from typing import Final

from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import ClaimRejected, WrongAudience
from tokenmint.model.tokens import JsonValue

MAX_LIFETIME: Final = 3600.0  # seconds from `iat` to `exp`; the draft wants it short


def check_grant(claims: Mapping[str, JsonValue], own_issuer: str, expires_at: float, issued_at: float | None) -> None:
    """Check the claims of an ID-JAG, whose signature and times were verified.

    Its audience is exactly our issuer, as a text or as a list of one. It has a `jti`, by which it is used once, names
    the client that may use it, and is short-lived.

    Raises:
        WrongAudience: it is for another server, or for several.
        ClaimRejected: another claim is missing, or is not as required.
    """
    audience = claims.get("aud")
    if audience not in (own_issuer, [own_issuer]):
        raise WrongAudience(detail=f"aud {quoted(audience, LONG)}, expected {own_issuer!r} alone")
    for name in ("jti", "client_id"):
        value = claims.get(name)
        if not isinstance(value, str) or not value:
            raise ClaimRejected(f"{name} is required in an ID-JAG: a text")
    if not isinstance(claims.get("scope", ""), str):
        raise ClaimRejected("scope is not a text (RFC 8693 section 4.2)")
    if issued_at is None or expires_at - issued_at > MAX_LIFETIME:
        raise ClaimRejected(f"an ID-JAG lives at most {MAX_LIFETIME:.0f} s")
