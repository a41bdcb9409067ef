"""The rules for ID-JAGs that go beyond those of other tokens (draft-ietf-oauth-identity-assertion-authz-grant)."""

from collections.abc import Mapping
from typing import Final

from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import ClaimRejected, WrongAudience
from tokenmint.model.tokens import ID_JAG, JsonValue
from tokenmint.verification.provider import Provider

MAX_LIFETIME: Final = 3600.0  # seconds from `iat` to `exp`; the draft wants it short


_TENANTS: Final = ("tenant", "aud_tenant")
"""The claims with which users of several tenants are told apart: the provider's tenants, and ours, of which there are
none."""


def check_grant(provider: Provider, claims: Mapping[str, JsonValue], own_issuer: str, expires_at: float) -> None:
    """Check the claims of an ID-JAG, whose signature and times were verified.

    Its audience is exactly our issuer, as a text or as a list of one. It has a `jti`, by which it is used once, names
    the client that may use it, and is short-lived. If it names a tenant, the provider's configuration has to: `sub` is
    unique in its tenant only (section 6.3).

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
    for name in _TENANTS:
        if name in claims and not _tells_apart(provider, name):
            raise ClaimRejected(
                f"the ID-JAG has {name}: name the accepted one in the provider's where or checks, or {name} in its "
                "subject_claims"
            )
    issued_at = claims.get("iat")  # not its replacement: an ID-JAG has one
    if not isinstance(issued_at, int | float):
        raise ClaimRejected("iat is required in an ID-JAG")
    if expires_at - issued_at > MAX_LIFETIME:
        raise ClaimRejected(f"an ID-JAG lives at most {MAX_LIFETIME:.0f} s")


def _tells_apart(provider: Provider, claim: str) -> bool:
    """Return whether the rules of a provider read a claim of its ID-JAGs."""
    paths = [*provider.subject_claims_by_type.get(ID_JAG, provider.subject_claims)]
    paths += [check.path for check in provider.checks if not check.token_types or ID_JAG in check.token_types]
    return claim in provider.where or (claim,) in paths
