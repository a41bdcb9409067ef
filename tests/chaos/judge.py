"""What a run came to: every promise of docs/keys.md, held against what was seen from outside.

What is excused is excused by a rule with a name, no wider than what docs/keys.md says to a verifier, a caller or an
operator; the report counts the excuses by name, and tests/unit/chaos/test_judge.py has each rule with what is just
inside and just outside of it. All processes of a run share one clock, so S excuses nothing here.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.ledger import ORDER, Failure, KeyHistory, Ledger, Refusal
from tests.chaos.plan import IN_FLIGHT, RECONNECT, SCHEDULE

from tokenmint.keys.types import KeyState

R: Final = SCHEDULE.replica_lag
P: Final = SCHEDULE.ahead
NOTICE_BOUND: Final = 1.0  # seconds for a revocation to reach the last replica, and a change every watcher
BROKEN: Final = 1.5  # seconds after a replica takes connections again in which those that broke are made anew
_STAMP: Final = 0.001  # seconds by which two times that are compared may differ without meaning anything

REVOKED: Final = "of a revoked key, by a set that was fetched after the revocation"
AT_ONCE: Final = "of a key that took a revoked one's place before P, by a set that was fetched before all published it"
KILLED: Final = "connection to a worker or a replica that was killed"
AWAY: Final = "store away"
BROKE_AWAY: Final = "store away, and the connection broke"
LATE_AWAY: Final = "store away, and an operator's call took too long"
NO_SUCCESSOR: Final = "revoked key without a successor that all replicas publish"
_EXCHANGE: Final = frozenset({"STORE_UNAVAILABLE", "SIGNER_UNAVAILABLE"})
_ADMIN: Final = frozenset({"STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"})


@dataclass
class Verdict:
    """Broken promises, by promise; and what else is worth saying."""

    broken: dict[str, list[str]] = field(default_factory=dict)
    unavailable: Counter[str] = field(default_factory=Counter)
    """Calls that failed, by the rule that excuses it and what was answered."""
    excused: Counter[str] = field(default_factory=Counter)
    """Refusals of tokens, by the rule that excuses it."""
    latest: float = 0.0
    """The longest that a key signed after the store was seen to hold that it is active no more, seconds."""
    late: float = 0.0
    """The longest after the store was back that a call failed for its having been away, seconds."""

    def add(self, promise: str, what: str) -> None:
        """Note a breach."""
        self.broken.setdefault(promise, []).append(what)


def judge(ledger: Ledger) -> Verdict:
    """Return what is to be said of a run."""
    verdict = Verdict()
    _signatures(ledger, verdict)
    _activations(ledger, verdict)
    _refusals(ledger, verdict)
    _revocations(ledger, verdict)
    _answers(ledger, verdict)
    _failures(ledger, verdict)
    if ledger.revocation is None or ledger.revocation > NOTICE_BOUND:
        verdict.add("a revocation reaches every replica within a second", f"{ledger.revocation} s")
    if not ledger.notices or max(ledger.notices) > NOTICE_BOUND:
        verdict.add("every watcher learns of a change within a second", f"{max(ledger.notices, default=-1)} s")
    for problem in ledger.problems:
        verdict.add("the run itself", problem)
    return verdict


def _signatures(ledger: Ledger, verdict: Verdict) -> None:
    promise = "no signature by a key that is not active"
    for token in ledger.minted:
        key = ledger.keys.get(token.key_id)
        if key is None or key.activated is None:
            verdict.add(promise, f"{token.key_id} was never active")
            continue
        if token.ended < key.activated:
            verdict.add(promise, f"{token.key_id} signed {key.activated - token.ended:.3f} s before its time")
        if key.ended is not None:
            verdict.latest = max(verdict.latest, token.started - key.ended)
            if token.started > key.ended + R + IN_FLIGHT:
                verdict.add(promise, f"{token.key_id} signed {token.started - key.ended:.3f} s after its end")


def _successor(ledger: Ledger, revoked: KeyHistory) -> KeyHistory | None:
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


def _took_its_place(ledger: Ledger, key: KeyHistory) -> bool:
    """Whether a key signed before it was published for P, since the one that signed had been revoked.

    That one signed when it was revoked, and none signed between the two: a revocation of a key that was prepared or
    retiring lets no other sign before its time.
    """
    if key.activated is None or key.activated >= key.published + P - _STAMP:
        return False
    return any(
        other.revoked is not None
        and other.signed_until_revoked
        and other.algorithm == key.algorithm
        and _successor(ledger, other) is key
        for other in ledger.keys.values()
    )


def _activations(ledger: Ledger, verdict: Verdict) -> None:
    for _, key_id in ledger.activations():
        key = ledger.keys[key_id]
        early = key.published + P - (key.activated or 0.0)
        if early > _STAMP and not _took_its_place(ledger, key):
            verdict.add("no key signs before it was published for P", f"{key_id}: {early:.3f} s early")


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
    if refusal.asked < told and refusal.fetched <= published and _took_its_place(ledger, key):
        return AT_ONCE
    return ""


def _refusals(ledger: Ledger, verdict: Verdict) -> None:
    for refusal in ledger.refusals:
        if rule := excuse(ledger, refusal):
            verdict.excused[rule] += 1
            continue
        key = ledger.keys.get(refusal.key_id)
        history = f"published {refusal.asked - key.published:.2f} s before" if key is not None else "never seen"
        if key is not None and key.revoked is not None:
            history += f", revoked {refusal.asked - key.revoked:.2f} s before"
        verdict.add(
            "no token refused by a verifier that keeps its contract",
            f"{refusal.verifier}: {refusal.key_id} ({history}, set fetched {refusal.asked - refusal.fetched:.2f} s "
            f"before): {refusal.reason}",
        )


def _revocations(ledger: Ledger, verdict: Verdict) -> None:
    promise = "no revoked key comes back"
    revoked: dict[str, float] = {}
    for answer in ledger.answers:
        if answer.state is KeyState.REVOKED:
            revoked[answer.subject] = min(answer.answered, revoked.get(answer.subject, answer.answered))
    for token in ledger.minted:
        when = revoked.get(token.key_id)
        if when is not None and token.started > when + R + IN_FLIGHT:
            verdict.add(promise, f"{token.key_id} signed {token.started - when:.3f} s after its revocation")
    for asked, key_ids in ledger.fetched:
        for key_id in key_ids & revoked.keys():
            if asked > revoked[key_id] + SCHEDULE.serve_unconfirmed + IN_FLIGHT:
                verdict.add(promise, f"{key_id} published {asked - revoked[key_id]:.3f} s after its revocation")
    for key_id in revoked:
        found = ledger.final.find(key_id) if ledger.final is not None else None
        if found is None or found.state is not KeyState.REVOKED:
            verdict.add(promise, f"{key_id} is {found.state if found is not None else 'forgotten'} in the end")


def _answers(ledger: Ledger, verdict: Verdict) -> None:
    promise = "no confirmed answer to an operator lost"
    for lost in ledger.lost_profiles:
        verdict.add(promise, f"profile {lost}")
    for answer in ledger.answers:
        if answer.state is None:
            continue
        found = ledger.final.find(answer.subject) if ledger.final is not None else None
        if found is not None:
            kept = ORDER[found.state] >= ORDER[answer.state]
        else:  # records of retired keys are pruned
            seen = ledger.keys.get(answer.subject)
            kept = seen is not None and seen.state is KeyState.RETIRED
        if not kept:
            verdict.add(promise, f"{answer.subject} was {answer.state}, is {found.state if found else 'forgotten'}")


def windows(ledger: Ledger) -> list[tuple[float, float]]:
    """Return from when until when the service may be without its store: the faults, and the way back after each."""
    spans = sorted(
        (fault.started, fault.ended + RECONNECT + IN_FLIGHT) for fault in ledger.faults if fault.replica is None
    )
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _failures(ledger: Ledger, verdict: Verdict) -> None:
    spans = windows(ledger)
    ends = sorted(fault.ended for fault in ledger.faults if fault.replica is None)
    for failed in ledger.failures:
        kind = kind_of(ledger, spans, failed)
        verdict.unavailable[f"{kind or 'for no reason'} ({failed.method}: {failed.reason or failed.code})"] += 1
        if kind == AWAY:
            verdict.late = max(verdict.late, _after(failed.ended, ledger, ends))
        if not kind:
            since = failed.started - ledger.began
            verdict.add(
                "UNAVAILABLE only while the store was away",
                f"{failed.method} at {since:.2f} s on replica {failed.replica}: {failed.code} {failed.reason}",
            )


def _after(when: float, ledger: Ledger, ends: list[float]) -> float:
    """Return how long after the last fault of the store something was, 0 while there is one."""
    if any(fault.replica is None and fault.started <= when <= fault.ended for fault in ledger.faults):
        return 0.0
    return min((when - end for end in ends if end <= when), default=0.0)


def kind_of(ledger: Ledger, spans: list[tuple[float, float]], failed: Failure) -> str:
    """Return the rule by which a call may fail, "" where it may not."""
    away = any(failed.ended >= start and failed.started <= end for start, end in spans)
    if failed.code == "UNAVAILABLE" and not failed.reason:
        died = any(
            fault.replica == failed.replica and fault.started <= failed.ended and failed.started <= fault.ended + BROKEN
            for fault in ledger.faults
        )
        gone = any(
            replica == failed.replica and start <= failed.ended and failed.started <= end + BROKEN
            for start, end, replica in ledger.outages
        )
        return KILLED if died or gone else BROKE_AWAY if away else ""
    expected = _EXCHANGE if failed.method == "ExchangeToken" else _ADMIN
    if failed.code == "UNAVAILABLE" and failed.reason in expected and away:
        return AWAY
    if failed.code == "DEADLINE_EXCEEDED" and failed.method == "admin" and away:
        return LATE_AWAY
    if failed.reason == "SIGNER_UNAVAILABLE" and _without_successor(ledger, failed):
        return NO_SUCCESSOR
    return ""


def _without_successor(ledger: Ledger, failed: Failure) -> bool:
    """Whether the key of the call's algorithm had been revoked and nothing signed in its place yet, or as of R ago."""
    for key in ledger.keys.values():
        if key.revoked is None or not key.signed_until_revoked or key.algorithm != failed.algorithm:
            continue
        successor = _successor(ledger, key)
        until = successor.activated if successor is not None and successor.activated is not None else float("inf")
        if until > key.revoked and failed.ended >= key.revoked and failed.started <= until + R:
            return True
    return False
