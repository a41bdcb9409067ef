"""The rules for grants (RFC 7523 section 2.1) that go beyond those of other tokens: ID-JAGs, and other JWTs.

draft-ietf-oauth-identity-assertion-authz-grant section 4.4.1, draft-ietf-oauth-identity-chaining section 2.4.2.
"""

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


_OF_SIGN_INS: Final = ("nonce", "at_hash", "c_hash", "s_hash")
"""Claims of ID tokens alone, which are no grants (OpenID Connect Core sections 2 and 3.3.2.11)."""


def check_grant(
    provider: Provider,
    claims: Mapping[str, JsonValue],
    own_issuer: str,
    expires_at: float,
    token_type: str = ID_JAG,
) -> None:
    """Check the claims of a grant, whose signature and times were verified.

    Its audience is exactly our issuer, as a text or as a list of one, and it is short-lived. An ID-JAG has a `jti`, by
    which it is used once, and names the client that may use it. Another grant may have both, and is used once by its
    signing input otherwise. If it names a tenant, the provider's configuration has to: `sub` is unique in its tenant
    only (section 6.3).

    Raises:
        WrongAudience: it is for another server, or for several.
        ClaimRejected: another claim is missing, is not as required, or is one of ID tokens.
    """
    audience = claims.get("aud")
    if audience not in (own_issuer, [own_issuer]):
        raise WrongAudience(detail=f"aud {quoted(audience, LONG)}, expected {own_issuer!r} alone")
    for name in ("jti", "client_id"):
        value = claims.get(name)
        if (token_type == ID_JAG or name in claims) and (not isinstance(value, str) or not value):
            raise ClaimRejected(f"{name} is required in an ID-JAG, and in any grant a text")
    for name in _OF_SIGN_INS:
        if token_type != ID_JAG and name in claims:
            raise ClaimRejected(f"{name} is a claim of ID tokens, and an ID token is no grant")
    if not isinstance(claims.get("scope", ""), str):
        raise ClaimRejected("scope is not a text (RFC 8693 section 4.2)")
    for name in _TENANTS:
        if name in claims and not _tells_apart(provider, name, token_type):
            raise ClaimRejected(
                f"the grant has {name}: name the accepted one in the provider's where or checks, or {name} in its "
                "subject_claims"
            )
    issued_at = claims.get("iat")  # not its replacement: an ID-JAG has one
    if not isinstance(issued_at, int | float):
        raise ClaimRejected("iat is required in a grant")
    if expires_at - issued_at > MAX_LIFETIME:
        raise ClaimRejected(f"a grant lives at most {MAX_LIFETIME:.0f} s")


def _tells_apart(provider: Provider, claim: str, token_type: str) -> bool:
    """Return whether the rules of a provider read a claim of its grants of a type."""
    paths = [*provider.subject_claims_by_type.get(token_type, provider.subject_claims)]
    paths += [check.path for check in provider.checks if not check.token_types or token_type in check.token_types]
    return claim in provider.where or (claim,) in paths
