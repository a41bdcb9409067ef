"""Prints what a run came to."""

import time
from collections import Counter

from tests.chaos import tally
from tests.chaos.excuses import windows
from tests.chaos.judge import Verdict
from tests.chaos.ledger import Ledger
from tests.chaos.plan import REPLICAS, SCHEDULE, WORKERS, Plan
from tests.chaos.watching import rules

SHOWN = 5  # breaches of each promise


def show(plan: Plan, ledger: Ledger, verdict: Verdict) -> None:
    """Print it."""
    seconds = time.time() - ledger.began
    away = sum(min(end, time.time()) - start for start, end in windows(ledger))
    activations = ledger.activations()
    by_operator = sum(key_id in ledger.rotated for _, key_id in activations)
    revocations = sum(answer.state == "revoked" for answer in ledger.answers)
    bound = max(SCHEDULE.max_age, SCHEDULE.verifier_cache)
    print(
        f"\n--- {plan.topology}: {REPLICAS} replicas x {WORKERS} workers, {seconds:.0f} s, seed {plan.seed}\n"
        f"timing         R {SCHEDULE.replica_lag} s, A {SCHEDULE.max_age} s, C {SCHEDULE.verifier_cache} s, "
        f"S {SCHEDULE.skew} s, T {SCHEDULE.max_lifetime} s, P {SCHEDULE.ahead} s\n"
        f"rotations      {len(activations)}: {by_operator} by an operator, "
        f"{len(activations) - by_operator} by the schedule or in place of a revoked key; {revocations} revocations\n"
        f"exchanges      {len(ledger.minted)}\n"
        f"denied         {ledger.denials.total()} tries: {_counts(ledger.denials)}\n"
        f"verifications  {_counts(ledger.verifications)}\n"
        f"               not yet decided for want of a key set: {_counts(ledger.deferred)}\n"
        f"refused        {len(ledger.refusals)} tokens, {verdict.excused.total()} of them as they may be\n"
        f"{_lines(verdict.excused)}"
        f"faults         {len(ledger.faults)}; connections that were reset: {_counts(ledger.resets)}\n"
        f"{tally.lines(tally.tallies(ledger, verdict))}"
        f"{_versions(plan, ledger)}"
        f"               the store was away for {away:.0f} s in all; it came back with an older ring "
        f"{ledger.went_back} times\n"
        f"failed         {len(ledger.failures)} calls; the last that missed the store {verdict.late * 1000:.0f} ms "
        f"after that was back\n{_lines(verdict.unavailable)}"
        f"told           the operator, who tries again: {_counts(ledger.told)}\n"
        f"after its end  a key signed for {max(0.0, verdict.latest) * 1000:.0f} ms at most (R: "
        f"{SCHEDULE.replica_lag * 1000:.0f} ms)\n"
        f"revocation     {_milliseconds(ledger.revocation)} until the last replica refused to sign; verifiers may "
        f"accept for another max(A, C) = {bound:.0f} s\n"
        f"               {ledger.revocation_parts}\n"
        f"WatchKeySet    {len(ledger.notices)} notices, the last after "
        f"{_milliseconds(max(ledger.notices, default=None))}\n"
        f"{rules.lines(ledger)}"
        f"the lane       stood still {len(ledger.stalls)} times, "
        f"{_milliseconds(max((end - start for start, end in ledger.stalls), default=0.0))} at most\n"
        f"wrong tokens   {len(verdict.wrong)}\n"
        f"ended          {len(ledger.ends)}"
    )
    for promise, breaches in verdict.broken.items():
        print(f"BROKEN         {promise}: {len(breaches)} times")
        for breach in breaches[:SHOWN]:
            print(f"               {breach}")
    if not verdict.broken:
        print("held           every promise", flush=True)


def _versions(plan: Plan, ledger: Ledger) -> str:
    """Return the records that crossed between two versions; nothing where there was one."""
    if plan.other is None:
        return ""
    makers = ledger.makers
    crossed = ledger.crossed + Counter(
        f"tokens signed by {token.version} with keys of {maker}"
        for token in ledger.minted
        if (maker := makers.get(token.key_id, token.version)) != token.version
    )
    keys = _counts(Counter(f"by {name}" for name in makers.values()))
    tokens = _counts(Counter(f"of {token.version}" for token in ledger.minted))
    return f"two versions   exchanges: {tokens}; keys that were made: {keys}\n{_lines(crossed)}"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def _lines(counts: Counter[str]) -> str:
    return "".join(f"               {count:6} {name}\n" for name, count in counts.most_common())


def _milliseconds(seconds: float | None) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds is not None else "not measured"
