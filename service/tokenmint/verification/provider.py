"""Providers as data, and the pure checks that interpret this data.

A provider declares its accepted tokens; nothing here is specific to one provider. The conditions of the shipped
providers are in ``config/catalogue/*.toml``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

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
from tokenmint.model.drafts import OF_TYPE, needed
from tokenmint.model.firebase import FirebaseProject
from tokenmint.model.signals import SignalRules
from tokenmint.model.tokens import (
    ACCESS_TOKEN,
    ID_JAG,
    ID_JAG_TYP,
    ID_TOKEN,
    JWT,
    JWT_GRANT,
    JWT_GRANT_TYP,
    JsonValue,
    at_path,
)
from tokenmint.verification.jws import UnverifiedAssertion, media_type
from tokenmint.verification.key_source import KeySource

LATEST: Final = 253402300799  # 9999-12-31T23:59:59Z; a later time is a mistake, and overflows other programs' types
ClaimPaths = tuple[tuple[str, ...], ...]
CheckKind = Literal[
    "present", "absent", "one_of", "none_of", "prefix", "true", "not_true", "past", "uuid", "no_suffix", "no_digits"
]


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ClaimCheck:
    """One condition on one claim, found by its path from the payload down."""

    path: tuple[str, ...]
    kind: CheckKind
    values: frozenset[str] = frozenset()
    """For `one_of`: the accepted values, as strings; numbers compare as their decimal text. For `none_of`: the refused
    are not accepted. For `prefix`: what the value may begin with. For `no_suffix`: what it may not end with, in lower
    case."""
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
    header_types: frozenset[str] = frozenset()
    """Values of `typ` that its JWTs may have beside "JWT" and none, as ``media_type`` returns them."""
    untyped_access_tokens: bool = False
    """Whether its access tokens lack the `typ` of RFC 9068."""
    check_authorized_party: bool = True
    """Whether a token for several audiences needs an `azp` of ours (OpenID Connect Core section 3.1.3.7)."""
    authorized_parties: frozenset[str] = frozenset()
    """The accepted `azp`; empty: the audiences."""
    checks: tuple[ClaimCheck, ...] = ()
    audience_claims: tuple[str, ...] = ()
    """The claims that stand for `aud` in tokens without one; the first that a token has counts."""
    where: Mapping[str, str] = field(default_factory=_nothing)
    """Exact claims that tell its tokens from those of other providers with the same issuer."""
    subject_claims: ClaimPaths = (("sub",),)
    """The paths of the claims that together name the principal (``subjects.joined``)."""
    subject_claims_by_type: Mapping[str, ClaimPaths] = field(default_factory=_nothing)
    """Other claims that name the principal, by the kind of token (URN)."""
    subject_claims_instead: Mapping[str, ClaimPaths] = field(default_factory=_nothing)
    """By the kind of token (URN): the claims that name the principal of a token that has none of the claims above."""
    numeric_subjects: Literal["refuse", "accept", "as_text"] = "refuse"
    """The meaning of a whole number in a claim that names the principal.

    `accept`: its decimal text, and a text that reads as a number is refused. `as_text`: the same identity as that text.
    """
    max_subject: int = 255
    boolean_claims: frozenset[str] = frozenset()
    """Claims that the provider may send as the text "true" or "false"."""
    google_email: bool = False
    """Whether `email_authoritative` is derived from Google's rule."""
    nameless_act: bool = False
    """Whether its `act` is dropped where it has no `sub`, and so names no actor."""
    skew: float = 30.0
    """Seconds that clocks may differ, at most 60."""
    iat_required: bool = True
    """Whether a token needs `iat`. If not, `nbf` replaces a missing `iat`, or else `exp` minus ``token_lifetime``."""
    token_lifetime: float | None = None
    """The lifetime in seconds of its tokens that have neither `iat` nor `nbf`."""
    max_age: float | None = None
    """Seconds after `iat` in which a token is accepted, even if its `exp` is later."""
    single_use: bool = False
    trust_domain: str | None = None
    """For SPIFFE JWT-SVIDs, which need no `iss`: the trust domain that `sub` has to be in. Then `iat` is optional."""
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
    signals: SignalRules | None = None
    """The rules for its signals about accounts; None: none are accepted."""


_ID_TOKEN_TYPES: Final[frozenset[str]] = frozenset({"", "jwt"})
_ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt"})


def check_kind(provider: Provider, token: UnverifiedAssertion, token_type: str) -> str:
    """Refuse a token that was sent as another kind (RFC 8725 section 3.11); return its kind.

    Every JWT may be sent as one, which is correct too (RFC 8693 section 3). It then counts as the kind that the
    provider is configured for, and has to pass all checks of that kind.

    Raises ``UnsupportedTokenType``.
    """
    typ = media_type(str(token.header.get("typ", "")))
    if typ == "at+jwt" and token_type == JWT and ACCESS_TOKEN in provider.token_types:
        token_type = ACCESS_TOKEN
    if token_type == JWT and JWT not in provider.token_types:
        token_type = _kind_of_jwt(provider)
    if token_type not in provider.token_types:
        draft = OF_TYPE.get(token_type)
        raise UnsupportedTokenType(
            f"this provider's token_types do not list {token_type}, which {needed(draft)}" if draft else None,
            detail=f"the token_types of {provider.name} do not list {token_type}",
        )
    accepted = _ID_TOKEN_TYPES | ({"jose"} if provider.trust_domain is not None else frozenset())
    if token_type == ACCESS_TOKEN:
        accepted = _ACCESS_TOKEN_TYPES | (_ID_TOKEN_TYPES if provider.untyped_access_tokens else frozenset())
    elif token_type == JWT:
        accepted |= provider.header_types
    elif token_type == ID_JAG:
        accepted = frozenset({ID_JAG_TYP})
    elif token_type == JWT_GRANT:
        accepted = _ID_TOKEN_TYPES | {JWT_GRANT_TYP}
    if typ not in accepted:
        message = None
        if typ == "at+jwt":
            message = f"the header says that this is an access token (typ at+jwt): send it as {ACCESS_TOKEN}"
        untyped = token_type == ACCESS_TOKEN and typ in _ID_TOKEN_TYPES
        hint = ": untyped_access_tokens = true accepts access tokens without typ at+jwt" if untyped else ""
        raise UnsupportedTokenType(message, detail=f"typ {quoted(typ)} is not that of {token_type}{hint}")
    if "events" in token.claims:  # OpenID Connect Back-Channel Logout section 2.4
        raise UnsupportedTokenType(detail="this is a logout token or another security event (RFC 8417)")
    return token_type


def _kind_of_jwt(provider: Provider) -> str:
    """Return the one kind of a provider's tokens without a `typ` of their own; `jwt` if there are none or two."""
    kinds = [ID_TOKEN] if ID_TOKEN in provider.token_types else []
    if ACCESS_TOKEN in provider.token_types and provider.untyped_access_tokens:
        kinds.append(ACCESS_TOKEN)
    return kinds[0] if len(kinds) == 1 else JWT


def check_times(provider: Provider, claims: Mapping[str, JsonValue], now: float) -> tuple[float, float | None]:
    """Check `exp`, `iat`, `nbf` and the age. Return `exp`, and `iat` or its replacement.

    A token is valid while now < exp + skew, from nbf - skew and iat - skew on, and until iat + max_age + skew.

    Raises:
        ClaimRejected, TokenExpired, TokenNotYetValid, TokenTooOld
    """
    expires_at = numeric_date(claims, "exp")
    issued_at = numeric_date(claims, "iat")
    not_before = numeric_date(claims, "nbf")
    if expires_at is None or (issued_at is None and provider.iat_required and provider.trust_domain is None):
        raise ClaimRejected("exp and iat are required: iat_required = false lets a provider leave iat out")
    if now >= expires_at + provider.skew:
        raise TokenExpired(detail=f"exp {expires_at:.0f}, now {now:.0f}, skew {provider.skew:g}")
    for name, instant in (("nbf", not_before), ("iat", issued_at)):
        if instant is not None and instant > now + provider.skew:
            raise TokenNotYetValid(detail=f"{name} {instant:.0f}, now {now:.0f}, skew {provider.skew:g}")
    if issued_at is None:
        issued_at = not_before
    if issued_at is None and provider.token_lifetime is not None:
        issued_at = max(0.0, expires_at - provider.token_lifetime)
    if provider.max_age is not None and now > (issued_at or 0.0) + provider.max_age + provider.skew:
        raise TokenTooOld(detail=f"iat {issued_at}, now {now:.0f}, at most {provider.max_age:g} s")
    return expires_at, issued_at


def numeric_date(claims: Mapping[str, JsonValue], name: str) -> float | None:
    """Return a claim that is a time, in Unix seconds; None if it is missing. Raises ``ClaimRejected``."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
        raise ClaimRejected(f"{name} is not a time (RFC 7519 section 2, NumericDate)")
    return float(value)


def audiences_of(provider: Provider, claims: Mapping[str, JsonValue]) -> list[str]:
    """Return the audiences of a token; none if `aud` is malformed.

    A token without `aud`, or with an empty list, is for the client that the first of ``audience_claims`` names.
    """
    value = claims.get("aud")
    if "aud" not in claims or value == []:
        value = next((claims[name] for name in provider.audience_claims if name in claims), None)
        return [value] if isinstance(value, str) and value else []
    audiences = value if isinstance(value, list) else [value]
    return [one for one in audiences if isinstance(one, str) and one] if all(audiences) else []


def check_audience(provider: Provider, claims: Mapping[str, JsonValue], token_type: str = ID_TOKEN) -> None:
    """Check `aud`, and in an ID token for several audiences `azp`. Raises ``WrongAudience``.

    OpenID Connect Core required `azp` in section 3.1.3.7, until errata set 2 left this to extensions. It is still
    required here, unless the provider's configuration says otherwise. There never was such a rule for access tokens.
    Where the configuration names parties for these, `client_id` (RFC 9068 section 2.2) stands for a missing `azp`.
    """
    value, audiences = claims.get("aud"), audiences_of(provider, claims)
    if not audiences or (isinstance(value, list) and value and len(audiences) != len(value)):
        if "aud" not in claims and not provider.audience_claims:
            raise WrongAudience("the token has no aud: audience_claims names the claims that stand for a missing one")
        if "aud" not in claims:
            raise WrongAudience("the token has neither aud nor a text in one of audience_claims")
        raise WrongAudience("aud is not a string or a list of strings")
    if provider.audiences.isdisjoint(audiences):
        raise WrongAudience(
            detail=f"aud {quoted(audiences, LONG)}, accepted {quoted(sorted(provider.audiences), LONG)}"
        )
    asked = provider.check_authorized_party and (token_type != ACCESS_TOKEN or provider.authorized_parties)
    if len(audiences) > 1 and asked:
        party = claims.get("azp", claims.get("client_id") if token_type == ACCESS_TOKEN else None)
        if not isinstance(party, str) or party not in (provider.authorized_parties or provider.audiences):
            raise WrongAudience(
                "the token is for several audiences and its azp is not ours: name the accepted ones in "
                "authorized_parties, or set check_authorized_party = false"
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
        case "not_true":
            return value is None or value is False
        case "one_of":
            text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
            return isinstance(text, str) and text in check.values
        case "none_of":
            return value is None or (isinstance(value, str) and value not in check.values)
        case "prefix":
            return isinstance(value, str) and value.startswith(tuple(check.values))
        case "no_suffix":
            return value is None or (isinstance(value, str) and not value.lower().endswith(tuple(check.values)))
        case "no_digits":
            return value is None or (isinstance(value, str) and not (value.isascii() and value.isdigit()))
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
        "not_true": f"{name} is neither missing nor false",
        "one_of": f"{name} is none of the configured values",
        "none_of": f"{name} has a value that is not accepted",
        "prefix": f"{name} does not begin with {' or '.join(sorted(check.values))}",
        "no_suffix": f"{name} ends with {' or '.join(sorted(check.values))}",
        "no_digits": f"{name} is a number",
        "past": f"{name} is not a time in the past",
        "uuid": f"{name} is not a GUID",
    }[check.kind]


def is_uuid(text: str) -> bool:
    """Return whether ``text`` is a GUID in its usual spelling, 8-4-4-4-12 hexadecimal digits."""
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(
        char in "0123456789abcdefABCDEF" for part in parts for char in part
    )


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
    act = result.get("act")
    if provider.nameless_act and isinstance(act, dict) and "sub" not in act:
        del result["act"]
    return MappingProxyType(result)
