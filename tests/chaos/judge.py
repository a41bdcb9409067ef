"""The judgement of a run: every promise of docs/keys.md, held against the events that were seen from outside.

What may fail is excused by a rule with a name (excuses.py). A process that ends by itself is excused by none, nor is a
token for somebody who is denied, or with a time that is not true. The lane, the store and the verifiers share one true
clock, so S excuses nothing but an `iat`.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.excuses import AWAY, STAMP, P, R, excuse, kind_of, took_its_place, windows
from tests.chaos.ledger import ORDER, Effect, KeyHistory, Ledger, Loss
from tests.chaos.plan import IN_FLIGHT, LOSS_NOTICED, RECONNECT, SCHEDULE, STORE_WENT_BACK
from tests.chaos.stores import FAILOVER
from tests.chaos.versions.records import ANSWERED
from tests.chaos.watching import rules

from tokenmint.keys.signing_keys import DECIDED_LIMIT
from tokenmint.keys.types import KeyState

NOTICE_BOUND: Final = 1.0  # seconds for a revocation to reach the last replica, and a change every watcher

ENDED: Final = "no process ends by itself"
DENIED: Final = "no token for who was disabled, deleted or revoked, or by a token that was used"
UNTRUE: Final = "no token is signed with a time that is further than S from the true one"
LOSSY: Final = "no exchange is answered by a store that has lost changes, until an operator accepts that"
SAID: Final = f"exchanges are refused with {STORE_WENT_BACK} on a store that has lost changes"
EARLY: Final = "no key signs before it was published for P"
INACTIVE: Final = "no signature by a key that is not active"


@dataclass(frozen=True, slots=True)
class WrongToken:
    """A token that should not have been signed."""

    replica: int
    when: float
    """When it was asked for."""


REVOCATION: Final = "a revocation reaches every replica within a second"
WATCHERS: Final = "every watcher learns of a change within a second"
CALLS: Final = "no call fails but for a fault that excuses it"
PACED: Final = frozenset({REVOCATION, WATCHERS, rules.SOON, ANSWERED})
"""Promises about how soon, which hold on a machine that has nothing else to do."""


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
    wrong: list[WrongToken] = field(default_factory=list)

    def add(self, promise: str, what: str) -> None:
        """Note a breach."""
        self.broken.setdefault(promise, []).append(what)

    def beyond_pace(self) -> dict[str, list[str]]:
        """Return what is broken that does not depend on the pace of the machine.

        Without how soon something is heard of, and calls that the service put off (UNAVAILABLE): on a machine that is
        shared, both may be late for want of a processor.
        """
        hard = {promise: list(breaches) for promise, breaches in self.broken.items() if promise not in PACED}
        if CALLS in hard:
            hard[CALLS] = [breach for breach in hard[CALLS] if ": UNAVAILABLE" not in breach]
        return {promise: breaches for promise, breaches in hard.items() if breaches}

    def add_wrong(self, promise: str, what: str, replica: int, when: float) -> None:
        """Note a token that should not have been signed."""
        self.add(promise, what)
        self.wrong.append(WrongToken(replica, when))


def judge(ledger: Ledger) -> Verdict:
    """Return what is to be said of a run."""
    verdict = Verdict()
    _ends(ledger, verdict)
    _wrong(ledger, verdict)
    _losses(ledger, verdict)
    _signatures(ledger, verdict)
    _activations(ledger, verdict)
    _refusals(ledger, verdict)
    if ledger.final is not None or not ledger.problems:  # or nobody could look, and the run says so
        _revocations(ledger, verdict)
        _answers(ledger, verdict)
    _failures(ledger, verdict)
    if ledger.revocation is None or ledger.revocation > NOTICE_BOUND:
        verdict.add(REVOCATION, f"{ledger.revocation} s")
    if not ledger.notices or max(ledger.notices) > NOTICE_BOUND:
        verdict.add(WATCHERS, f"{max(ledger.notices, default=-1)} s")
    for promise, what in [*ledger.breaches, *rules.breaches(ledger)]:
        verdict.add(promise, what)
    for problem in ledger.problems:
        verdict.add("the run itself", problem)
    return verdict


def _ends(ledger: Ledger, verdict: Verdict) -> None:
    for end in ledger.ends:
        status = "exit status unknown" if end.status is None else f"exit status {end.status}"
        lines = "".join(f"\n                 {line}" for line in end.lines)
        when = end.when - ledger.began
        verdict.add(ENDED, f"at {when:.2f} s, of replica {end.replica}: {end.process}, {status}{lines}")


def _wrong(ledger: Ledger, verdict: Verdict) -> None:
    for wrong in ledger.wrong:
        after = f"asked for {wrong.started - wrong.denied:.2f} s after it was denied"
        if before := [loss for loss in ledger.losses if loss.started <= wrong.ended]:
            after += f", answered {wrong.ended - before[-1].started:.2f} s after the store was made to forget"
        verdict.add_wrong(
            DENIED, f"{wrong.kind} {wrong.subject}, on replica {wrong.replica}: {after}", wrong.replica, wrong.started
        )
    for token in ledger.minted:
        if not token.true_to_time:
            off = token.issued - (token.started + token.ended) / 2
            jumps = [
                token.ended - fault.started
                for fault in ledger.faults
                if fault.effect is Effect.CLOCK and fault.replica == token.replica and fault.started <= token.ended
            ]
            since = f", answered {jumps[-1]:.2f} s after its clock was moved" if jumps else ""
            verdict.add_wrong(UNTRUE, f"{off:+.1f} s, by replica {token.replica}{since}", token.replica, token.started)


def _losses(ledger: Ledger, verdict: Verdict) -> None:
    for loss in ledger.losses:
        begins = loss.started - ledger.began
        for token in ledger.minted:
            if loss.started + LOSS_NOTICED + IN_FLIGHT < token.started and token.ended < loss.accepted:
                late = token.started - loss.started
                verdict.add(LOSSY, f"replica {token.replica}, {late:.2f} s after the loss at {begins:.2f} s")
        if not _said(ledger, loss):
            verdict.add(SAID, f"none was, after the loss at {begins:.2f} s")


def _said(ledger: Ledger, loss: Loss) -> bool:
    return any(
        failed.reason == STORE_WENT_BACK and loss.started <= failed.ended and failed.started <= loss.accepted
        for failed in ledger.failures
    )


def _signatures(ledger: Ledger, verdict: Verdict) -> None:
    for token in ledger.minted:
        for what in _out_of_turn(ledger.keys.get(token.key_id), verdict, token.started, token.ended):
            verdict.add_wrong(INACTIVE, f"{token.key_id} {what}", token.replica, token.started)


def _out_of_turn(key: KeyHistory | None, verdict: Verdict, started: float, ended: float) -> list[str]:
    """Return in which way a key should not have signed between two times."""
    if key is None:
        return [f"was never in the store, and signed {ended:.2f}"]
    if key.activated is None:
        seen = "" if key.absent == float("-inf") else f", and there since {started - key.absent:.2f} s before"
        return [f"was never active: it got to {key.state}{seen}"]
    found = []
    if ended < key.activated:
        found.append(f"signed {key.activated - ended:.3f} s before its time")
    if key.ended is not None:
        verdict.latest = max(verdict.latest, started - key.ended)
        if started > key.ended + R + IN_FLIGHT:
            found.append(f"signed {started - key.ended:.3f} s after its end")
    return found


def _activations(ledger: Ledger, verdict: Verdict) -> None:
    for _, key_id in ledger.activations():
        key = ledger.keys[key_id]
        if took_its_place(ledger, key):
            continue
        early = key.published + P - (key.activated or 0.0)
        if early > STAMP:
            verdict.add(EARLY, f"{key_id}: {early:.3f} s early")
        elif key.seen_active is not None:
            # By the true clock: what the ring says may be a wrong clock's. A change is under way for a while.
            there = key.seen_active - _last_absent(ledger, key)
            if there < P - DECIDED_LIMIT - IN_FLIGHT:
                verdict.add(EARLY, f"{key_id}: it was in the store for {there:.3f} s, against its own times")


def _last_absent(ledger: Ledger, key: KeyHistory) -> float:
    """Return when the store certainly did not have a key yet.

    In a failover two servers answer as the primary, and the lane may have looked at the one that is behind.
    """
    begun = [
        fault.started
        for fault in ledger.faults
        if fault.kind.startswith(FAILOVER) and fault.started <= key.absent <= fault.over + RECONNECT
    ]
    return min([key.absent, *begun])


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
    lost: set[str] = set()
    for answer in ledger.answers:
        if answer.state is KeyState.REVOKED:
            revoked[answer.subject] = min(answer.answered, revoked.get(answer.subject, answer.answered))
            if ledger.was_lost(answer.asked, answer.answered):
                lost.add(answer.subject)
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
        if found is None and key_id in lost:
            continue  # with the key itself
        if found is None or found.state is not KeyState.REVOKED:
            verdict.add(promise, f"{key_id} is {found.state if found is not None else 'forgotten'} in the end")


def _answers(ledger: Ledger, verdict: Verdict) -> None:
    promise = "no confirmed answer to an operator lost"
    for lost in ledger.lost_profiles:
        verdict.add(promise, f"profile {lost}")
    for answer in ledger.answers:
        if answer.state is None or ledger.was_lost(answer.asked, answer.answered):
            continue
        found = ledger.final.find(answer.subject) if ledger.final is not None else None
        if found is not None:
            kept = ORDER[found.state] >= ORDER[answer.state]
        else:  # records of retired keys are pruned
            seen = ledger.keys.get(answer.subject)
            kept = seen is not None and seen.state is KeyState.RETIRED
        if not kept:
            verdict.add(promise, f"{answer.subject} was {answer.state}, is {found.state if found else 'forgotten'}")


def _failures(ledger: Ledger, verdict: Verdict) -> None:
    spans = windows(ledger)
    ends = sorted(fault.over for fault in ledger.faults if fault.effect is Effect.AWAY)
    for failed in ledger.failures:
        kind = kind_of(ledger, spans, failed)
        verdict.unavailable[f"{kind or 'for no reason'} ({failed.method}: {failed.reason or failed.code})"] += 1
        if kind == AWAY:
            verdict.late = max(verdict.late, _after(failed.ended, ledger, ends))
        if not kind:
            since = failed.started - ledger.began
            verdict.add(
                CALLS,
                f"{failed.method} at {since:.2f} s on replica {failed.replica}: {failed.code} {failed.reason}",
            )


def _after(when: float, ledger: Ledger, ends: list[float]) -> float:
    """Return how long after the last fault of the store something was, 0 while there is one."""
    if any(fault.effect is Effect.AWAY and fault.started <= when <= fault.over for fault in ledger.faults):
        return 0.0
    return min((when - end for end in ends if end <= when), default=0.0)
