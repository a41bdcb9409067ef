"""Verifies tokens with events: security event tokens, logout tokens, and Apple's notifications.

Issuer, keys and algorithms are those of the provider's other tokens. Only this module makes a :class:`VerifiedSignal`.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import (
    BadSignature,
    ClaimRejected,
    MalformedToken,
    TokenExpired,
    TokenNotYetValid,
    TokenTooOld,
    UnknownIssuer,
    UnsupportedTokenType,
    WrongAudience,
)
from tokenmint.model.secret import Secret
from tokenmint.model.signals import Delivery, SignalEvent, SignalRules, VerifiedSignal
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.event_types import APPLE, LOGOUT
from tokenmint.verification.jws import UnverifiedAssertion, media_type, parse_compact, parse_object
from tokenmint.verification.provider import Provider, numeric_date
from tokenmint.verification.subject_identifiers import NOBODY, Subject, read_subject
from tokenmint.verification.verifier import Verifier

MOST_EVENTS: Final = 16  # in one token; the Shared Signals Framework allows one (section 4.1.3)
LONGEST_ID: Final = 255  # characters of a `jti`
LONGEST_TYPE: Final = 512  # characters of an event's type
_TYPES: Final = {Delivery.SECEVENT: "secevent+jwt", Delivery.LOGOUT: "logout+jwt", Delivery.APPLE: ""}
"""The header's `typ`: RFC 8417 section 2.3, Back-Channel Logout 1.0 section 2.4. Apple's has none."""
_UNTYPED: Final = frozenset({"", "jwt"})
Claims = Mapping[str, JsonValue]


class _Context(NamedTuple):
    """A token whose signature was verified, and the rules for it."""

    claims: Claims
    issuer: str
    provider: Provider
    rules: SignalRules

    def subject(self, value: JsonValue) -> Subject:
        """Return the persons that a subject identifier names. Raises ``ClaimRejected``."""
        return read_subject(value, self._issuers(), self.rules.subject_formats)

    def _issuers(self) -> frozenset[str]:
        """Return the issuers whose `sub` is the provider's: of several tenants, the token's own alone."""
        tenants = any(self.provider.issuers.values())
        return frozenset({self.issuer}) | (
            frozenset() if tenants else self.rules.issuers | self.provider.issuers.keys()
        )


class EventVerifier:
    """Verifies the signals of providers.

    Args:
        verifier: returns the current verifier of providers' tokens, which a reload replaces.
    """

    def __init__(self, verifier: Callable[[], Verifier]) -> None:
        self._verifier = verifier

    def rules(self, provider: str) -> SignalRules | None:
        """Return the rules for a provider's signals; None if there is no such provider, or it has none."""
        found = self._verifier().providers.get(provider)
        return found.signals if found is not None else None

    def provider(self, name: str) -> Provider:
        """Return a provider that has rules for signals."""
        return self._verifier().providers[name]

    async def verify(self, name: str, delivery: Delivery, token: Secret, *, now: float) -> VerifiedSignal:
        """Verify a token with events that the provider ``name`` is said to have sent in this form.

        Raises:
            TokenRejected: it is not the provider's, not for us, or not of this form.
            KeySetUnavailable: the provider's keys are not present.
        """
        verifier = self._verifier()
        provider = verifier.providers[name]
        rules = provider.signals
        if rules is None or delivery not in rules.deliveries:
            raise UnsupportedTokenType(detail=f"{name} has no signals in the form {delivery.value}")
        unverified = parse_compact(token, verifier.max_token)
        if unverified.issuer not in rules.issuers:
            raise UnknownIssuer(
                "the token's issuer is not that of the provider",
                detail=f"iss {quoted(unverified.issuer, LONG)}, expected {quoted(sorted(rules.issuers), LONG)}",
            )
        _check_type(unverified, delivery, rules)
        if await verifier.check_signature(provider, unverified) is None:
            raise BadSignature(detail="events of an emulator are not accepted: they have no signature")
        claims = unverified.claims
        # Event tokens may lack the claims that tell tokens of several tenants or providers apart, but not contradict.
        for claim, expected in {**provider.where, **provider.issuers.get(unverified.issuer, {})}.items():
            if claims.get(claim, expected) != expected:
                raise ClaimRejected(f"{claim} is not the provider's", detail=f"{claim} has to be {expected!r}")
        _check_audience(rules, claims)
        issued_at = _check_times(provider, rules, claims, delivery, now)
        if "nonce" in claims:  # it would pass for an ID token elsewhere: Back-Channel Logout 1.0 section 2.4
            raise ClaimRejected("a token with events has no nonce")
        token_id = claims.get("jti")
        if not isinstance(token_id, str) or not 0 < len(token_id) <= LONGEST_ID:
            raise ClaimRejected(f"jti is not a text of 1 to {LONGEST_ID} characters (RFC 8417 section 2.2)")
        events = read_events(provider, delivery, unverified.issuer, claims)
        return VerifiedSignal(
            provider=name,
            delivery=delivery,
            issuer=unverified.issuer,
            token_id=token_id,
            issued_at=issued_at,
            forget_at=issued_at + rules.max_age + provider.skew,
            fingerprint=token.fingerprint(),
            events=events,
        )


def read_events(provider: Provider, delivery: Delivery, issuer: str, claims: Claims) -> tuple[SignalEvent, ...]:
    """Return the events in the claims of a verified token. Raises ``ClaimRejected``."""
    if provider.signals is None:
        raise ClaimRejected(detail=f"{provider.name} has no rules for signals")
    return _READERS[delivery](_Context(claims, issuer, provider, provider.signals))


def _check_type(token: UnverifiedAssertion, delivery: Delivery, rules: SignalRules) -> None:
    """Check `typ` exactly (RFC 8725 section 3.11). Raises ``UnsupportedTokenType``."""
    typ = media_type(str(token.header.get("typ", "")))
    accepted = _UNTYPED if delivery is Delivery.APPLE else frozenset({_TYPES[delivery]})
    if rules.untyped:
        accepted |= _UNTYPED
    if typ not in accepted:
        raise UnsupportedTokenType(
            "the typ is not that of this kind of event token: untyped = true accepts tokens without one",
            detail=f"typ {quoted(typ)}, accepted {sorted(accepted)}",
        )


def _check_audience(rules: SignalRules, claims: Claims) -> None:
    value = claims.get("aud")
    audiences = value if isinstance(value, list) else [value]
    named = {one for one in audiences if isinstance(one, str)}
    if len(named) < len(audiences) or rules.audiences.isdisjoint(named):
        raise WrongAudience(detail=f"aud {quoted(value, LONG)}, accepted {quoted(sorted(rules.audiences), LONG)}")


def _check_times(provider: Provider, rules: SignalRules, claims: Claims, delivery: Delivery, now: float) -> float:
    """Check `iat` and `exp`, and return `iat`."""
    issued_at, expires_at = numeric_date(claims, "iat"), numeric_date(claims, "exp")
    if issued_at is None:
        raise ClaimRejected("iat is required (RFC 8417 section 2.2)")
    if expires_at is None and delivery is Delivery.LOGOUT and not rules.untyped:
        raise ClaimRejected("exp is required (Back-Channel Logout 1.0 section 2.4)")
    if issued_at > now + provider.skew:
        raise TokenNotYetValid(detail=f"iat {issued_at:.0f}, now {now:.0f}, skew {provider.skew:g}")
    if now > issued_at + rules.max_age + provider.skew:
        raise TokenTooOld("the event is too old", detail=f"iat {issued_at:.0f}, at most {rules.max_age:g} s old")
    if expires_at is not None and now >= expires_at + provider.skew:
        raise TokenExpired("the token has expired", detail=f"exp {expires_at:.0f}, now {now:.0f}")
    return issued_at


# --- the events of each form -------------------------------------------------------------------------------------


def _of_secevent(context: _Context) -> tuple[SignalEvent, ...]:
    """Return the events of a security event token (RFC 8417 section 2.2)."""
    events = context.claims.get("events")
    if not isinstance(events, dict) or not 1 <= len(events) <= MOST_EVENTS:
        raise ClaimRejected(f"events is not an object with 1 to {MOST_EVENTS} members (RFC 8417 section 2.2)")
    common = _common_subject(context)
    found = []
    for kind, details in events.items():
        if not kind or len(kind) > LONGEST_TYPE or not isinstance(details, dict):
            raise ClaimRejected("an event is not a URI with an object (RFC 8417 section 2.2)")
        # Until its final version, the framework had the subject in the event, and Google still has.
        subject = context.subject(details["subject"]) if "subject" in details else common
        found.append(SignalEvent(kind, subject.claims, subject.foreign, details))
    return tuple(found)


def _common_subject(context: _Context) -> Subject:
    """Return the subject of all events: `sub_id` (RFC 9493 section 4.1), or else `sub`. They may not differ."""
    claims = context.claims
    named = claims.get("sub")
    by_sub = context.subject({"format": "iss_sub", "iss": context.issuer, "sub": named}) if "sub" in claims else NOBODY
    if "sub_id" not in claims:
        return by_sub
    by_id = context.subject(claims["sub_id"])
    if "sub" in claims and by_sub.claims[0] not in by_id.claims:
        raise ClaimRejected("sub and sub_id name different subjects (RFC 9493 section 4.1)")
    return by_id


def _of_logout(context: _Context) -> tuple[SignalEvent, ...]:
    """Return the event of a logout token (Back-Channel Logout 1.0 section 2.4)."""
    events = context.claims.get("events")
    details = events.get(LOGOUT) if isinstance(events, dict) and len(events) <= MOST_EVENTS else None
    if not isinstance(details, dict):
        raise ClaimRejected("events does not have the member of a logout token (Back-Channel Logout 1.0 section 2.4)")
    if not isinstance(context.claims.get("sub"), str):
        raise ClaimRejected("the logout token has no sub: sessions (sid) are not known here")
    return (SignalEvent(LOGOUT, (context.claims,), details=details),)


def _of_apple(context: _Context) -> tuple[SignalEvent, ...]:
    """Return the event of a notification: one JSON object, as a text."""
    text = context.claims.get("events")
    if not isinstance(text, str):
        raise ClaimRejected("events is not a text, as in Apple's notifications")
    try:
        event = parse_object(text.encode(), "event")
    except MalformedToken as error:
        raise ClaimRejected("events holds no JSON object", detail=error.detail) from None
    kind = event.get("type")
    if not isinstance(kind, str) or not 0 < len(kind) <= LONGEST_TYPE:
        raise ClaimRejected("the event has no type")
    subject = context.subject({"format": "iss_sub", "iss": context.issuer, "sub": event.get("sub")})
    return (SignalEvent(APPLE + kind, subject.claims, details=event),)


_READERS: Final = {Delivery.SECEVENT: _of_secevent, Delivery.LOGOUT: _of_logout, Delivery.APPLE: _of_apple}
