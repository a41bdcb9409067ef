"""The count of each kind of fault: how often, the answers during and after it, the time until all was well."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.judge import Verdict
from tests.chaos.ledger import Failure, Fault, Ledger, Minted

AFTER: Final = 3.0  # seconds after a fault that are counted with it


@dataclass
class Tally:
    """One kind's."""

    times: int = 0
    answered: int = 0
    """Exchanges that got a token, during a fault of this kind or shortly after."""
    refused: Counter[str] = field(default_factory=Counter)
    """Calls that failed meanwhile, by reason."""
    recovery: float = 0.0
    """The longest from the end of a fault to the first token after the last failure, seconds; inf: none came."""
    ended: int = 0
    """Processes that ended by themselves."""
    wrong: int = 0
    """Tokens that should not have been signed."""


def tallies(ledger: Ledger, verdict: Verdict) -> dict[str, Tally]:
    """Return one for each kind that was made, by name. What falls into two faults counts for both."""
    found: dict[str, Tally] = {}
    for fault in ledger.faults:
        tally = found.setdefault(fault.kind, Tally())
        minted = [token for token in ledger.minted if _in(fault, token.replica, token.started)]
        failed = [call for call in ledger.failures if _in(fault, call.replica, call.ended)]
        tally.times += 1
        tally.answered += len(minted)
        tally.refused.update(call.reason or call.code for call in failed)
        tally.recovery = max(tally.recovery, _recovery(fault, ledger.minted, failed))
        tally.ended += sum(_in(fault, end.replica, end.when) for end in ledger.ends)
        tally.wrong += sum(_in(fault, wrong.replica, wrong.when) for wrong in verdict.wrong)
    return found


def _in(fault: Fault, replica: int, when: float) -> bool:
    return fault.replica in (None, replica) and fault.started <= when <= fault.ended + AFTER


def _recovery(fault: Fault, minted: Iterable[Minted], failed: list[Failure]) -> float:
    """Return the longest that a replica needed, from when the fault was over to a token after its last failure."""
    last: dict[int, float] = {}
    for call in failed:
        if call.method == "ExchangeToken":
            last[call.replica] = max(call.started, last.get(call.replica, call.started))
    over = fault.lifted if fault.lifted is not None else fault.started
    longest = 0.0
    for replica, when in last.items():
        after = (token.ended for token in minted if token.replica == replica and token.started > when)
        longest = max(longest, min(after, default=float("inf")) - over)
    return longest


def lines(found: dict[str, Tally]) -> str:
    """Return a line for each kind, to print."""
    text = []
    for kind, tally in sorted(found.items()):
        refused = ", ".join(f"{count} {reason}" for reason, count in tally.refused.most_common()) or "none"
        text.append(
            f"  {kind}: {tally.times} times; {tally.answered} OK, refused {tally.refused.total()} ({refused}); "
            f"well again after {tally.recovery:.1f} s at most; ended {tally.ended}, wrong tokens {tally.wrong}\n"
        )
    return "".join(text)
