"""Prints what a run with regions came to."""

from statistics import median

from tests.chaos.regions.ledger import Ledger
from tests.chaos.regions.plan import LOST, NAMES, Plan


def show(plan: Plan, ledger: Ledger) -> bool:
    """Print it; return whether a promise did not hold."""
    pace, schedule = plan.pace, plan.pace.schedule
    broken = ledger.broken(plan.verifications)
    lengths = [seconds for _, _, seconds in ledger.cuts]
    late = [one.at - ledger.given_up[one.follows] for one in ledger.accepted]
    print(
        f"\n--- regions: {', '.join(NAMES)}, each with a store of its own, seed {plan.seed}\n"
        f"timing         R {schedule.replica_lag} s, L {schedule.region_lag} s, A {schedule.max_age} s, "
        f"C {schedule.verifier_cache} s, S {schedule.skew} s, T {schedule.max_lifetime} s, P {schedule.ahead} s\n"
        f"exchanges      {dict(sorted(ledger.minted.items()))}\n"
        f"keys           that signed: { {name: len(keys) for name, keys in sorted(ledger.signers.items())} }\n"
        f"links          cut {len(lengths)} times, for {sum(lengths):.0f} s in all and {max(lengths, default=0):.0f} s "
        f"at most (allowed: {pace.cuts[1]:.0f} s)\n"
        f"oldest keys    { {name: tenths / 10 for name, tenths in sorted(ledger.oldest.items())} } s (L: "
        f"{schedule.region_lag:.0f} s)\n"
        f"verifications  {ledger.verifications.total()}: {dict(sorted(ledger.verifications.items()))}\n"
        f"refused        {len(ledger.wrong_refusals())} tokens that had to be accepted; "
        f"{len(ledger.refusals) - len(ledger.wrong_refusals())} of {LOST}, after it was given up\n"
        f"given up       {LOST}: {len(ledger.accepted)} of its tokens were accepted within max(A, C) = "
        f"{pace.bound:.0f} s, the last after {max(late, default=0.0):.1f} s; "
        f"{len(ledger.wrong_acceptances())} after that; "
        f"{ledger.active_after} of {ledger.introspected_after} were active\n"
        f"revocations    {len(ledger.spread)} were known in another region after {_seconds(ledger.spread)};\n"
        f"               {len(ledger.linked)} over a link that was not cut, after {_seconds(ledger.linked)}\n"
        f"profiles       {len(ledger.refused_elsewhere)} principals that were disabled at home were refused elsewhere "
        f"after {_seconds(ledger.refused_elsewhere)};\n"
        f"               {len(ledger.refused_while_linked)} over a link that was not cut, after "
        f"{_seconds(ledger.refused_while_linked)}; {ledger.served_again} were served again"
    )
    for promise in broken:
        print(f"BROKEN         {promise}")
    if not broken:
        print("held           every promise", flush=True)
    return bool(broken)


def _seconds(measured: list[float]) -> str:
    return f"{median(measured):.2f} s, {max(measured):.2f} s at most" if measured else "not measured"
