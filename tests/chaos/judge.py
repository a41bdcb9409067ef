"""What a run came to: every promise of docs/keys.md, held against what was seen from outside."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.ledger import ORDER, Failure, Ledger
from tests.chaos.plan import IN_FLIGHT, RECONNECT, SCHEDULE

from tokenmint.keys.types import KeyState

R: Final = SCHEDULE.replica_lag
NOTICE_BOUND: Final = 1.0  # seconds for a revocation to reach the last replica, and a change every watcher
_STORE: Final = frozenset({"STORE_UNAVAILABLE", "OUTCOME_UNKNOWN", "SIGNER_UNAVAILABLE", "DEPENDENCY_UNAVAILABLE"})
_BROKEN: Final = 5.0  # seconds after the death of a worker within which calls to its replica may break off


@dataclass
class Verdict:
    """Broken promises, by promise; and what else is worth saying."""

    broken: dict[str, list[str]] = field(default_factory=dict)
    unavailable: Counter[str] = field(default_factory=Counter)
    excused: int = 0
    """Refusals of tokens of a revoked key, or of one that had to take its place at once."""
    latest: float = 0.0
    """The longest that a key signed after the store was seen to hold that it is active no more, seconds."""

    def add(self, promise: str, what: str) -> None:
        """Note a breach."""
        self.broken.setdefault(promise, []).append(what)


def judge(ledger: Ledger, confirmation: float) -> Verdict:
    """Return what is to be said of a run. ``confirmation``: seconds that the store may take to confirm a write."""
    verdict = Verdict()
    _signatures(ledger, verdict)
    _activations(ledger, verdict)
    _refusals(ledger, verdict)
    _revocations(ledger, verdict)
    _answers(ledger, verdict)
    _failures(ledger, verdict)
    if ledger.revocation is None or ledger.revocation > NOTICE_BOUND + confirmation:
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


def _emergency(ledger: Ledger, key_id: str) -> bool:
    """Whether a key signed before its time, since one of its algorithm was revoked."""
    key = ledger.keys[key_id]
    if key.activated is None or key.activated >= key.published + SCHEDULE.ahead - 0.001:
        return False
    return any(
        other.revoked is not None
        and other.algorithm == key.algorithm
        and other.revoked <= key.activated < other.revoked + SCHEDULE.ahead
        for name, other in ledger.keys.items()
        if name != key_id
    )


def _activations(ledger: Ledger, verdict: Verdict) -> None:
    for _, key_id in ledger.activations():
        key = ledger.keys[key_id]
        early = key.published + SCHEDULE.ahead - (key.activated or 0.0)
        if early > 0.001 and not _emergency(ledger, key_id):
            verdict.add("no key signs before it was published for P", f"{key_id}: {early:.3f} s early")


def _refusals(ledger: Ledger, verdict: Verdict) -> None:
    for refusal in ledger.refusals:
        key = ledger.keys.get(refusal.key_id)
        revoked = key is not None and key.revoked is not None and refusal.asked >= key.revoked
        known_from = key.published + SCHEDULE.ahead + SCHEDULE.skew if key is not None else 0.0
        if revoked or (refusal.asked < known_from and _emergency(ledger, refusal.key_id)):
            verdict.excused += 1
            continue
        history = f"published {refusal.asked - key.published:.2f} s before" if key is not None else "never seen"
        verdict.add(
            "no token refused by a verifier that keeps its contract",
            f"{refusal.verifier}: {refusal.key_id} ({history}): {refusal.reason}",
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
    """Return from when until when the service may have been without its store: the faults, R, and the way back."""
    spans = sorted((fault.started, fault.ended + R + RECONNECT) for fault in ledger.faults if fault.replica is None)
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _failures(ledger: Ledger, verdict: Verdict) -> None:
    spans = windows(ledger)
    for failed in ledger.failures:
        kind = _kind(ledger, spans, failed)
        verdict.unavailable[kind or "for no reason"] += 1
        if not kind:
            since = failed.started - ledger.began
            verdict.add(
                "UNAVAILABLE only while the store was away",
                f"{failed.method} at {since:.2f} s on replica {failed.replica}: {failed.code} {failed.reason}",
            )


def _kind(ledger: Ledger, spans: list[tuple[float, float]], failed: Failure) -> str:
    away = any(failed.ended >= start and failed.started <= end for start, end in spans)
    if failed.code == "UNAVAILABLE" and not failed.reason:
        died = any(
            fault.replica == failed.replica
            and fault.started <= failed.ended
            and failed.started <= fault.started + _BROKEN
            for fault in ledger.faults
        )
        gone = any(
            replica == failed.replica and start <= failed.ended and failed.started <= end + _BROKEN
            for start, end, replica in ledger.outages
        )
        return "connection to a killed worker" if died or gone or away else ""
    if failed.code == "UNAVAILABLE" and failed.reason in _STORE and away:
        return "store away"
    if failed.code == "DEADLINE_EXCEEDED" and failed.method == "admin" and away:
        return "store away"
    if failed.reason == "SIGNER_UNAVAILABLE" and any(
        failed.ended >= asked and failed.started <= done + R for asked, done, _ in ledger.revoking
    ):
        return "revoked key without a successor that all replicas publish"
    return ""
