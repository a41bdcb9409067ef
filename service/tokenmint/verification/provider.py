"""Providers as data, and the pure checks that interpret this data.

A provider declares its accepted tokens; nothing here is specific to one provider. The conditions of the shipped
providers are in ``config/catalogue/*.toml``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import (
    ClaimRejected,
    TokenExpired,
    TokenNotYetValid,
    TokenTooOld,
    UnsupportedTokenType,
    WrongAudience,
    WrongNonce,
)
from tokenmint.model.firebase import FirebaseProject
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT, JsonValue, at_path
from tokenmint.verification.jws import UnverifiedAssertion
from tokenmint.verification.key_source import KeySource

LATEST: Final = 253402300799  # 9999-12-31T23:59:59Z; a later time is a mistake, and overflows other programs' types
_SPIFFE_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
CheckKind = Literal["present", "absent", "one_of", "none_of", "prefix", "true", "past", "uuid"]


@dataclass(frozen=True, slots=True)
class ClaimCheck:
    """One condition on one claim, found by its path from the payload down."""

    path: tuple[str, ...]
    kind: CheckKind
    values: frozenset[str] = frozenset()
    """For `one_of`: the accepted values, as strings; numbers compare as their decimal text. For `none_of`: the refused
    values. For `prefix`: the accepted beginnings of the value."""
    message: str = ""
    """The remedy, for the message; default: a description of the check."""
    token_types: frozenset[str] = frozenset()
    """The kinds of tokens that the check is for, URNs of RFC 8693 section 3; empty: all."""
    or_path: tuple[str, ...] | None = None
    """The path of the value in tokens that lack ``path``."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The tokens that are accepted from one provider."""

    name: str
    issuers: Mapping[str, Mapping[str, str]]
    """The exact issuers, each with the claims that its tokens must carry (Entra ID: `tid`, `ver`)."""
    audiences: frozenset[str]
    key_source: KeySource
    algorithms: frozenset[str] = frozenset({"RS256", "ES256"})
    token_types: frozenset[str] = frozenset({ID_TOKEN, JWT})
    untyped_access_tokens: bool = False
    """Whether its access tokens lack the `typ` of RFC 9068."""
    check_authorized_party: bool = True
    """Whether a token for several audiences needs an `azp` of ours (OpenID Connect Core section 3.1.3.7)."""
    authorized_parties: frozenset[str] = frozenset()
    """The accepted `azp`; empty: the audiences."""
    checks: tuple[ClaimCheck, ...] = ()
    subject_claims: tuple[tuple[str, ...], ...] = (("sub",),)
    """The paths of the claims that together name the principal, joined with `/`."""
    max_subject: int = 255
    boolean_claims: frozenset[str] = frozenset()
    """Claims that the provider may send as the text "true" or "false"."""
    google_email: bool = False
    """Whether `email_authoritative` is derived from Google's rule."""
    skew: float = 30.0
    """Seconds that clocks may differ, at most 60."""
    max_age: float | None = None
    """Seconds after `iat` in which a token is accepted, even if its `exp` is later."""
    single_use: bool = False
    trust_domain: str | None = None
    """For SPIFFE JWT-SVIDs, which have no `iss`: the trust domain of `sub`. Then `iat` is optional."""
    condition: str | None = None
    """A CEL condition on the verified claims; the policy evaluates it."""
    claims: tuple[tuple[str, str], ...] = ()
    """Claims that are computed (CEL) from the verified ones, for mappings and conditions."""
    users: FirebaseProject | None = None
    """The Firebase project that reports, at every exchange, whether a user is disabled or was signed out."""
    key_issuer: Literal["ignore", "match"] = "ignore"
    """`match`: a key with an `issuer` member signs only for that issuer (Entra ID)."""
    key_id_required: bool = False
    """Whether a token has to name its key (`kid`) even if the provider has only one."""


_ID_TOKEN_TYPES: Final[frozenset[str]] = frozenset({"", "jwt"})
_ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})


def check_kind(provider: Provider, token: UnverifiedAssertion, token_type: str) -> None:
    """Refuse one kind of token in the place of another (RFC 8725 section 3.11). Raises ``UnsupportedTokenType``."""
    if token_type not in provider.token_types:
        raise UnsupportedTokenType(detail=f"{provider.name} is not configured for {token_type}")
    typ = str(token.header.get("typ", "")).lower()
    accepted = _ID_TOKEN_TYPES | ({"jose"} if provider.trust_domain is not None else frozenset())
    if token_type == ACCESS_TOKEN:
        accepted = _ACCESS_TOKEN_TYPES | (_ID_TOKEN_TYPES if provider.untyped_access_tokens else frozenset())
    if typ not in accepted:
        raise UnsupportedTokenType(detail=f"typ {quoted(typ)} is not the one of {token_type}")
    if "events" in token.claims:  # OpenID Connect Back-Channel Logout section 2.4
        raise UnsupportedTokenType(detail="this is a logout token or another security event (RFC 8417)")


def check_times(provider: Provider, claims: Mapping[str, JsonValue], now: float) -> tuple[float, float | None]:
    """Check `exp`, `iat`, `nbf` and the age. Return (exp, iat).

    A token is valid while now < exp + skew, from nbf - skew and iat - skew on, and until iat + max_age + skew.

    Raises:
        ClaimRejected, TokenExpired, TokenNotYetValid, TokenTooOld
    """
    expires_at = _time(claims, "exp")
    issued_at = _time(claims, "iat")
    not_before = _time(claims, "nbf")
    if expires_at is None or (issued_at is None and provider.trust_domain is None):
        raise ClaimRejected("exp and iat are required")
    if now >= expires_at + provider.skew:
        raise TokenExpired(detail=f"exp {expires_at:.0f}, now {now:.0f}, skew {provider.skew:g}")
    for name, instant in (("nbf", not_before), ("iat", issued_at)):
        if instant is not None and instant > now + provider.skew:
            raise TokenNotYetValid(detail=f"{name} {instant:.0f}, now {now:.0f}, skew {provider.skew:g}")
    if provider.max_age is not None and now > (issued_at or 0.0) + provider.max_age + provider.skew:
        raise TokenTooOld(detail=f"iat {issued_at}, now {now:.0f}, at most {provider.max_age:g} s")
    return expires_at, issued_at


def _time(claims: Mapping[str, JsonValue], name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
        raise ClaimRejected(f"{name} is not a time (RFC 7519 section 2, NumericDate)")
    return float(value)


def check_audience(provider: Provider, claims: Mapping[str, JsonValue]) -> None:
    """Check `aud`, and `azp` if there are several audiences. Raises ``WrongAudience``."""
    value = claims.get("aud")
    audiences = value if isinstance(value, list) else [value]
    if not audiences or not all(isinstance(audience, str) and audience for audience in audiences):
        raise WrongAudience("aud is not a string or a list of strings")
    if provider.audiences.isdisjoint(str(audience) for audience in audiences):
        raise WrongAudience(detail=f"aud {quoted(audiences, LONG)}, accepted {sorted(provider.audiences)}")
    if len(audiences) > 1 and provider.check_authorized_party:
        party = claims.get("azp")
        if not isinstance(party, str) or party not in (provider.authorized_parties or provider.audiences):
            raise WrongAudience(
                "the token is for several audiences and its azp is not ours (OpenID Connect Core section 3.1.3.7)"
            )


def check_nonce(claims: Mapping[str, JsonValue], nonce: str | None) -> None:
    """Compare `nonce` if the request names one. Raises ``WrongNonce``."""
    if nonce is not None and claims.get("nonce") != nonce:
        raise WrongNonce()


def check_claims(
    provider: Provider, issuer: str, claims: Mapping[str, JsonValue], now: float, token_type: str = ID_TOKEN
) -> None:
    """Check the conditions of the issuer and of the provider. Raises ``ClaimRejected``."""
    for name, expected in provider.issuers.get(issuer, {}).items():
        if claims.get(name) != expected:
            raise ClaimRejected(f"{name} is not the issuer's", detail=f"{name} has to be {expected!r}")
    for check in provider.checks:
        if (not check.token_types or token_type in check.token_types) and not _holds(check, claims, now):
            raise ClaimRejected(check.message or _describe(check))


def _holds(check: ClaimCheck, claims: Mapping[str, JsonValue], now: float) -> bool:
    value = at_path(claims, check.path)
    if value is None and check.or_path is not None:
        value = at_path(claims, check.or_path)
    match check.kind:
        case "present":
            return value is not None
        case "absent":
            return value is None
        case "true":
            return value is True
        case "one_of":
            text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
            return isinstance(text, str) and text in check.values
        case "none_of":
            return value is None or (isinstance(value, str) and value not in check.values)
        case "prefix":
            return isinstance(value, str) and value.startswith(tuple(check.values))
        case "past":
            return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= now + 60
        case "uuid":
            return isinstance(value, str) and is_uuid(value)


def _describe(check: ClaimCheck) -> str:
    name = ".".join(check.path)
    return {
        "present": f"{name} is missing",
        "absent": f"{name} is not accepted",
        "true": f"{name} is not true",
        "one_of": f"{name} is none of the configured values",
        "none_of": f"{name} has a value that is not accepted",
        "prefix": f"{name} does not begin with {' or '.join(sorted(check.values))}",
        "past": f"{name} is not a time in the past",
        "uuid": f"{name} is not a GUID",
    }[check.kind]


def in_trust_domain(subject: JsonValue, trust_domain: str) -> bool:
    """Return whether ``subject`` is a SPIFFE id of ``trust_domain`` with a path (SPIFFE-ID section 2)."""
    if not isinstance(subject, str):
        return False
    prefix, _, path = subject.removeprefix("spiffe://").partition("/")
    parts = path.split("/")
    return (
        subject.startswith("spiffe://")
        and prefix == trust_domain
        and all(part not in ("", ".", "..") and set(part) <= _SPIFFE_CHARACTERS for part in parts)
    )


def is_uuid(text: str) -> bool:
    """Return whether ``text`` is a GUID in its usual spelling, 8-4-4-4-12 hexadecimal digits."""
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(
        char in "0123456789abcdefABCDEF" for part in parts for char in part
    )


def subject(provider: Provider, claims: Mapping[str, JsonValue]) -> str:
    """Return the provider's name for the principal. Raises ``ClaimRejected`` if the token lacks it."""
    standard = claims.get("sub")
    if not isinstance(standard, str) or not 0 < len(standard) <= provider.max_subject:
        raise ClaimRejected(f"sub is not a string of 1 to {provider.max_subject} characters")
    parts: list[str] = []
    for path in provider.subject_claims:
        value = at_path(claims, path)
        if not isinstance(value, str) or not 0 < len(value) <= provider.max_subject:
            raise ClaimRejected(f"{'.'.join(path)}, which names the principal, is missing or too long")
        if "/" in value and len(provider.subject_claims) > 1:
            raise ClaimRejected(f"{'.'.join(path)} has a '/', which separates the parts of the subject")
        parts.append(value)
    return "/".join(parts)


def normalised(provider: Provider, claims: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return the claims in a uniform form, without the provider's peculiarities."""
    result = dict(claims)
    for name in provider.boolean_claims & result.keys():
        if result[name] in ("true", "false"):
            result[name] = result[name] == "true"
    if provider.google_email:
        email = result.get("email")
        verified = result.get("email_verified") is True
        result["email_authoritative"] = isinstance(email, str) and (
            email.lower().endswith("@gmail.com") or (verified and bool(result.get("hd")))
        )
    return MappingProxyType(result)
