"""Signals of providers about their accounts: the rules for them, and the events that were verified."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from tokenmint.model.tokens import JsonValue


class Action(StrEnum):
    """The effect of an event on the principal that it is about."""

    DISABLE = "disable"
    """Refuse the principal, and every token issued before, until an operator enables it."""
    REVOKE = "revoke"
    """Refuse every token issued before."""
    UNLINK = "unlink"
    """Take the identity from the principal, and refuse the identity from then on."""
    IGNORE = "ignore"
    """Count and record it, and change nothing."""


class Delivery(StrEnum):
    """A form in which a provider delivers signals. The values are those of the configuration."""

    SECEVENT = "secevent"
    """A security event token: RFC 8417 in the profile of the Shared Signals Framework 1.0."""
    LOGOUT = "logout"
    """A logout token: OpenID Connect Back-Channel Logout 1.0."""
    APPLE = "apple"
    """A notification of Sign in with Apple."""


@dataclass(frozen=True, slots=True)
class Poll:
    """The polls for a provider's signals (RFC 8936)."""

    url: str
    interval: float
    """Seconds between polls that bring nothing."""
    most: int
    """Events that one answer may bring."""


@dataclass(frozen=True, slots=True)
class SignalRules:
    """The rules for the signals of one provider."""

    deliveries: frozenset[Delivery]
    issuers: frozenset[str]
    """The exact `iss` of event tokens."""
    audiences: frozenset[str]
    actions: Mapping[str, Action]
    """By the URI of the event type; types that it lacks are ignored."""
    untyped: bool = False
    """Whether the header's `typ` may be missing, or `JWT`."""
    subject_formats: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """By the format of a subject identifier (RFC 9493) with one value: the claim that the value stands for."""
    max_age: float = 7 * 24 * 3600.0
    """Seconds after `iat` in which an event is accepted."""
    rate: tuple[float, int] = (20.0, 200)
    """Identities that verified events are about, a second and at once; a token counts as one at least."""
    peer_rate: tuple[float, int] = (20.0, 200)
    """Deliveries of one peer a second, and at once, before anything is verified."""
    push_secrets: tuple[str, ...] = ()
    """SHA-256 in hex of the bearer tokens of which a push needs one; none: its signature is enough."""
    transmitter: str = ""
    """The issuer of the transmitter's metadata."""
    token_file: Path | None = None
    """The bearer token for the transmitter: for polls, and for the management of streams."""
    poll: Poll | None = None


@dataclass(frozen=True, slots=True)
class SignalEvent:
    """One event of a verified token."""

    type: str
    """Its URI."""
    subjects: tuple[Mapping[str, JsonValue], ...]
    """The claims that name its subject, once for each identifier of it; none if it names no person."""
    foreign: bool = False
    """Whether the subject is an account of another issuer."""
    details: Mapping[str, JsonValue] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """The event's own members."""


@dataclass(frozen=True, slots=True)
class VerifiedSignal:
    """A token with events, whose issuer, signature, times and audience were verified.

    Only ``verification/event_verifier.py`` makes one.
    """

    provider: str
    delivery: Delivery
    issuer: str
    token_id: str
    """Its `jti`."""
    issued_at: float
    forget_at: float
    """The time from which the token is too old to be accepted again."""
    fingerprint: str
    """SHA-256 of the whole token in hex."""
    events: tuple[SignalEvent, ...]
