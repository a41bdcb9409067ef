"""The way of one signal: verified, counted once, applied, recorded. Its answer comes after the confirmed changes.

The identifier of the token is consumed last. So a failure before leads to a repetition by the transmitter, and every
change may be made twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from tokenmint.admission.audit import AuditTrail
from tokenmint.admission.rate_limit import Rate, RateLimiter
from tokenmint.base.clock import Clock
from tokenmint.base.errors import RevocationsFull, TokenmintError
from tokenmint.base.foreign_text import clipped
from tokenmint.base.telemetry import Metrics
from tokenmint.base.token_errors import ClaimRejected, TokenRejected
from tokenmint.model.profile import Identity
from tokenmint.model.secret import Secret
from tokenmint.model.signals import Action, Delivery, SignalEvent, SignalRules, VerifiedSignal
from tokenmint.model.tokens import JsonValue
from tokenmint.profiles.identity_changes import IdentityChanges
from tokenmint.verification.event_types import OF_STREAMS, STREAM_UPDATED, short_name
from tokenmint.verification.event_verifier import EventVerifier
from tokenmint.verification.provider import Provider
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.subjects import subject

log = structlog.get_logger(__name__)

IGNORED: Final = "ignored"
FOREIGN_SUBJECT: Final = "foreign_subject"
"""The subject is an account of another issuer, which this provider does not vouch for."""
NO_SUBJECT: Final = "no_subject"
"""The event names nobody, or in a form that the configuration does not read."""
STREAM: Final = "stream"
"""An event about the stream itself."""
REPEATED: Final = "repeated"
"""The same token was received before; it is acknowledged again, and changes nothing."""
MOST_PRINCIPALS: Final = 16  # in one audit event
_STATUS: Final = frozenset({"enabled", "paused", "disabled"})
"""States of a stream (Shared Signals Framework 1.0 section 8.1.2)."""


@dataclass(slots=True)
class _Record:
    """The facts about one delivery, for audit and metrics."""

    provider: str
    facts: dict[str, object]
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    """The short name of each event, and its outcome."""
    principals: list[str] = field(default_factory=list)
    verified: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """The parts that count and record signals."""

    limiter: RateLimiter
    audit: AuditTrail
    metrics: Metrics
    clock: Clock


class SignalReceiver:
    """Receives signals of providers.

    Args:
        verifier: verifies them.
        changes: applies them.
        replay: consumes their identifiers.
        recording: counts and records them.
        serving: raises while the clock or the store may be wrong.
        serves_unregistered: whether an audience serves identities of a provider that have no profile.
    """

    def __init__(
        self,
        verifier: EventVerifier,
        changes: IdentityChanges,
        replay: ReplayGuard,
        recording: Recording,
        *,
        serving: Callable[[], None],
        serves_unregistered: Callable[[str], bool],
    ) -> None:
        self._verifier = verifier
        self._changes = changes
        self._replay = replay
        self._recording = recording
        self._serving = serving
        self._serves_unregistered = serves_unregistered

    def rules(self, provider: str) -> SignalRules | None:
        """Return the rules for a provider's signals; None if it has none, or does not exist."""
        return self._verifier.rules(provider)

    async def admit(self, provider: str, rules: SignalRules, peer: str) -> None:
        """Count a delivery of a peer, before anything is verified. Raises ``RateLimited``."""
        await self._recording.limiter.take_of_signals(f"{provider}:peer:{peer}", Rate(*rules.peer_rate))

    async def receive(self, provider: str, delivery: Delivery, token: Secret, **about: str) -> VerifiedSignal:
        """Verify a token with events, and apply its events. All changes are confirmed when this returns.

        ``about``: further facts for the audit.

        Raises:
            TokenRejected: the token was refused.
            RateLimited: the provider sends too many.
            DependencyUnavailable: keys or store are out of reach, or the clock is wrong; a repetition may succeed.
        """
        facts: dict[str, object] = {"delivery": delivery.value, "token_sha256": token.fingerprint(), **about}
        record = _Record(provider, facts)
        try:
            signal = await self._received(provider, delivery, token, record)
        except TokenmintError as error:
            self._refused(record, error)
            raise
        self._done(record)
        return signal

    async def _received(self, name: str, delivery: Delivery, token: Secret, record: _Record) -> VerifiedSignal:
        now = self._recording.clock.now()
        self._serving()
        signal = await self._verifier.verify(name, delivery, token, now=now)
        record.verified = True
        record.facts |= {"issuer": clipped(signal.issuer), "jti": clipped(signal.token_id)}
        provider = self._verifier.provider(name)
        rules = provider.signals
        if rules is None:
            raise TokenRejected(detail="the configuration was replaced meanwhile")
        if await self._replay.event_consumed(signal):  # before the count: a thief may repeat it without end
            record.outcomes = [(short_name(event.type), REPEATED) for event in signal.events]
            record.repeated = True
            return signal
        rate = Rate(*rules.rate)
        await self._recording.limiter.take_of_signals(name, rate, min(_cost(provider, rules, signal), rate.burst))
        full: RevocationsFull | None = None
        for event in signal.events:
            full = await self._apply(provider, rules, event, record) or full
        if full is not None:  # not consumed: a repetition tells verifiers
            raise full
        await self._replay.consume_event(signal, now=now)
        return signal

    async def _apply(
        self, provider: Provider, rules: SignalRules, event: SignalEvent, record: _Record
    ) -> RevocationsFull | None:
        """Apply an event. Returns the error if all was changed, but verifiers can't be told of it."""
        kind = short_name(event.type)
        if event.type in OF_STREAMS:
            record.outcomes.append((kind, STREAM))
            record.facts |= _of_stream(provider.name, event)
            return None
        action = _action(rules, event)
        if action is Action.IGNORE:
            record.outcomes.append((kind, IGNORED))
            return None
        if event.foreign:
            record.outcomes.append((kind, FOREIGN_SUBJECT))
            return None
        identities = identities_of(provider, event.subjects)
        if not identities:
            record.outcomes.append((kind, NO_SUBJECT))
        unregistered = self._serves_unregistered(provider.name)
        full: RevocationsFull | None = None
        for identity in identities:
            try:
                changed = await self._changes.make(identity, action, unregistered=unregistered)
            except RevocationsFull as error:
                full = error  # the others are to be refused, too
                continue
            record.outcomes.append((kind, changed.outcome))
            if changed.principal and changed.principal not in record.principals:
                record.principals.append(changed.principal)
        return full

    def not_readable(self, provider: str, error: BaseException) -> None:
        """Count a delivery that brought no token. It was from a stranger, so it leaves no event."""
        self._recording.metrics.signal(provider, "", error.reason if isinstance(error, TokenmintError) else "INTERNAL")

    # --- recording -----------------------------------------------------------------------------------------------

    def _done(self, record: _Record) -> None:
        self._count(record)
        self._note(record, {"outcome": "done"}, keep=not record.repeated)

    def _refused(self, record: _Record, error: TokenmintError) -> None:
        self._count(record)  # the events before the failure
        self._recording.metrics.signal(record.provider, "", error.reason)
        facts = {"outcome": "refused", "reason": error.reason, "detail": error.detail or error.message}
        # As with unauthenticated calls: a stranger must not push other events out of the stream.
        self._note(record, facts, keep=record.verified)

    def _count(self, record: _Record) -> None:
        for kind, outcome in record.outcomes:
            self._recording.metrics.signal(record.provider, kind, outcome)

    def _note(self, record: _Record, facts: Mapping[str, object], *, keep: bool) -> None:
        event = {"kind": "signal", "caller": f"provider:{record.provider}", "provider": record.provider}
        events = [f"{kind}: {outcome}" for kind, outcome in record.outcomes]
        named: dict[str, object] = {"principals": record.principals[:MOST_PRINCIPALS]}
        if len(record.principals) <= 1:
            named = {"principal": "".join(record.principals)}
        self._recording.audit.note({**event, **record.facts, "events": events, **named, **facts}, keep=keep)


def identities_of(provider: Provider, subjects: Sequence[Mapping[str, JsonValue]]) -> tuple[Identity, ...]:
    """Return the identities that claims of a subject name, by the rules for the provider's tokens of each kind."""
    found: dict[Identity, None] = {}
    for claims in subjects:
        for token_type in sorted(provider.token_types):
            try:
                name = subject(provider, claims, token_type)
            except ClaimRejected:
                continue  # the claims lack those that name a principal
            found[Identity(provider.name, name)] = None
    return tuple(found)


def _cost(provider: Provider, rules: SignalRules, signal: VerifiedSignal) -> int:
    """Return the number of identities that a token may change, at least 1: each takes several confirmed writes."""
    acting = [event for event in signal.events if not event.foreign and _action(rules, event) is not Action.IGNORE]
    return max(1, sum(len(identities_of(provider, event.subjects)) for event in acting))


def _action(rules: SignalRules, event: SignalEvent) -> Action:
    return Action.IGNORE if event.type in OF_STREAMS else rules.actions.get(event.type, Action.IGNORE)


def _of_stream(provider: str, event: SignalEvent) -> dict[str, object]:
    if event.type != STREAM_UPDATED:
        return {"state": clipped(str(event.details.get("state", "")), 64)}
    status = event.details.get("status")
    if status not in _STATUS:
        raise ClaimRejected("the status of the stream is none of the framework (section 8.1.5)")
    if status != "enabled":
        log.warning("a provider does not send signals any more", provider=provider, status=status)
    return {"stream_status": status, "stream_reason": clipped(str(event.details.get("reason", "")), 128)}
