"""The rules by which a call may fail, or a verifier may refuse a token. The report counts them by their names.

None is wider than what docs/keys.md says to a verifier, a caller or an operator; tests/unit/chaos/test_excuses.py has
each with what is just inside and just outside of it. That nobody reads a log excuses nothing.
"""

from typing import Final

from tests.chaos.ledger import Effect, Failure, KeyHistory, Ledger, Refusal
from tests.chaos.plan import CLOCK_WRONG, IN_FLIGHT, LIFETIME, RECONNECT, SCHEDULE, STOPPING, STORE_WENT_BACK

R: Final = SCHEDULE.replica_lag
P: Final = SCHEDULE.ahead
BROKEN: Final = 1.5  # seconds after a replica takes connections again in which those that broke are made anew
STAMP: Final = 0.001  # seconds by which two times that are compared may differ without meaning anything

REVOKED: Final = "of a revoked key, by a set that was fetched after the revocation"
AT_ONCE: Final = "of a key that took a revoked one's place before P, by a set that was fetched before all published it"
KILLED: Final = "connection to a worker or a replica that was killed"
AWAY: Final = "store away"
BROKE_AWAY: Final = "store away, and the connection broke"
LATE_AWAY: Final = "store away, and an operator's call took too long"
WENT_BACK: Final = "store that has lost changes"
RESET: Final = "connections to the store were reset"
HUNG: Final = "worker that hangs, or is stopped for a moment"
CLOCK: Final = "clock is wrong"
LOST: Final = "of a key that the store has lost, or that began to sign at once for that"
NO_SUCCESSOR: Final = "revoked key without a successor that all replicas publish"
_EXCHANGE: Final = frozenset({"STORE_UNAVAILABLE", "SIGNER_UNAVAILABLE"})
_ADMIN: Final = frozenset({"STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"})
_EXPECTED: Final = {
    "ExchangeToken": _EXCHANGE,
    "IntrospectToken": _EXCHANGE,
    "single use": _EXCHANGE | _ADMIN,
    "admin": _ADMIN,
}
"""Reasons that a call is refused with while the store is away."""


def successor_of(ledger: Ledger, revoked: KeyHistory) -> KeyHistory | None:
    """Return the key of the same algorithm that signed first after one was revoked."""
    after = [
        key
        for key in ledger.keys.values()
        if key is not revoked
        and key.algorithm == revoked.algorithm
        and key.activated is not None
        and key.activated >= (revoked.revoked or 0.0)
    ]
    return min(after, key=lambda key: key.activated or 0.0, default=None)


def took_its_place(ledger: Ledger, key: KeyHistory) -> bool:
    """Whether a key signed before it was published for P, since the one that signed had been revoked.

    That one signed when it was revoked, and none signed between the two: a revocation of a key that was prepared or
    retiring lets no other sign before its time.
    """
    if key.activated is None or key.activated >= key.published + P - STAMP:
        return False
    return any(
        other.revoked is not None
        and other.signed_until_revoked
        and other.algorithm == key.algorithm
        and successor_of(ledger, other) is key
        for other in ledger.keys.values()
    )


def excuse(ledger: Ledger, refusal: Refusal) -> str:
    """Return the rule by which a verifier may refuse a token, "" where it may not.

    Nothing but a kid that is not in its set is ever excused, and only where what the operator was told explains that.
    """
    key = ledger.keys.get(refusal.key_id)
    if key is None or not refusal.unknown_kid:
        return ""
    if key.revoked is not None and refusal.asked >= key.revoked and refusal.received >= key.revoked:
        return REVOKED  # unpublished at once
    told = key.published + P  # RevokeSigningKey's answer: for how long verifiers may miss what signs now
    published = key.published + SCHEDULE.serve_unconfirmed + IN_FLIGHT  # by every replica that publishes anything
    if refusal.asked < told and refusal.fetched <= published and took_its_place(ledger, key):
        return AT_ONCE
    if any(loss.started <= refusal.asked <= loss.accepted + P + LIFETIME for loss in ledger.losses):
        return LOST
    return ""


def windows(ledger: Ledger) -> list[tuple[float, float]]:
    """Return from when until when the service may be without its store: the faults, and the way back after each."""
    spans = sorted(
        (fault.started, fault.over + RECONNECT + IN_FLIGHT)
        for fault in ledger.faults
        if fault.effect in (Effect.AWAY, Effect.WENT_BACK)
    )
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def kind_of(ledger: Ledger, spans: list[tuple[float, float]], failed: Failure) -> str:
    """Return the rule by which a call may fail, "" where it may not."""
    away = any(failed.ended >= start and failed.started <= end for start, end in spans)
    if failed.code == "UNAVAILABLE" and failed.reason in ("", STOPPING):
        return KILLED if _was_killed(ledger, failed) else BROKE_AWAY if away else ""
    expected = _EXPECTED[failed.method]
    if failed.code == "UNAVAILABLE" and failed.reason in expected and away:
        return AWAY
    if failed.code == "DEADLINE_EXCEEDED" and failed.method == "admin" and away:
        return LATE_AWAY
    if failed.reason == STORE_WENT_BACK and _during(ledger, failed, Effect.WENT_BACK, RECONNECT):
        return WENT_BACK
    if failed.code == "DEADLINE_EXCEEDED" and _during(ledger, failed, Effect.HUNG, BROKEN):
        return HUNG
    if failed.code == "UNAVAILABLE" and failed.reason in expected:
        for effect, rule in ((Effect.HUNG, HUNG), (Effect.RESET, RESET)):
            if _during(ledger, failed, effect, RECONNECT):
                return rule
    wrong = failed.code == "UNAVAILABLE" and failed.reason in CLOCK_WRONG | expected
    if wrong and _during(ledger, failed, Effect.CLOCK, RECONNECT):
        return CLOCK
    if failed.reason == "SIGNER_UNAVAILABLE" and _without_successor(ledger, failed):
        return NO_SUCCESSOR
    return ""


def _was_killed(ledger: Ledger, failed: Failure) -> bool:
    """Whether what the call was connected to may have been a process that is gone."""
    gone = [(start, end) for start, end, replica in ledger.outages if replica == failed.replica]
    gone += [
        (fault.started, fault.over)
        for fault in ledger.faults
        if fault.effect in (Effect.KILLED, Effect.HUNG) and fault.replica == failed.replica
    ]
    return any(start <= failed.ended and failed.started <= end + BROKEN for start, end in gone)


def _during(ledger: Ledger, failed: Failure, effect: Effect, after: float) -> bool:
    """Whether a call was under way during a fault of its replica, or of the store, or shortly after it."""
    return any(
        fault.effect is effect
        and fault.replica in (None, failed.replica)
        and fault.started <= failed.ended
        and failed.started <= fault.over + after + IN_FLIGHT
        for fault in ledger.faults
    )


def _without_successor(ledger: Ledger, failed: Failure) -> bool:
    """Whether the key of the call's algorithm had been revoked and nothing signed in its place yet, or as of R ago."""
    for key in ledger.keys.values():
        if key.revoked is None or not key.signed_until_revoked or key.algorithm != failed.algorithm:
            continue
        successor = successor_of(ledger, key)
        until = successor.activated if successor is not None and successor.activated is not None else float("inf")
        if until > key.revoked and failed.ended >= key.revoked and failed.started <= until + R:
            return True
    return False
