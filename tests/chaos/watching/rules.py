"""The rules by which verifiers that follow revocations are judged.

A verifier with an open stream refuses within a second, on a machine that has nothing else to do. On any machine, and
under any fault, it goes by its lag: it refuses each token that was revoked before its set was complete, and one that
fails closed accepts nothing by a set that is older than N. Only a lane that stood still itself excuses a breach.
"""

from collections.abc import Iterator
from math import ceil
from typing import Final

from tests.chaos.ledger import Effect, Ledger
from tests.chaos.plan import IN_FLIGHT, RECONNECT
from tests.chaos.watching.seen import MAX_LAG, Accepted, Connection, Refused, Watched
from tests.clients.building import LANGUAGES

BOUND: Final = 1.0  # seconds
SNAPSHOT: Final = 1.0  # seconds after its connection in which a verifier gets its first snapshot

SOON: Final = "a connected verifier refuses a revoked token within a second"
STALE: Final = "no verifier accepts a revoked token by a set that is from after the revocation, or too old"
BACK: Final = "a verifier whose stream was away catches up"
RUNS: Final = "no verifier that follows revocations ends by itself"

_EXCUSES: Final = frozenset({Effect.AWAY, Effect.WENT_BACK, Effect.HUNG, Effect.RESET})
"""Faults for which a replica learns of nothing, though its connections stay. Kills end connections."""


def breaches(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Yield each promise that did not hold, and how."""
    seen = ledger.seen
    for accepted in seen.accepted:
        revoked = _revoked(accepted.watched)
        told = (
            f"{accepted.language}, {accepted.watched.kind}: asked {accepted.asked - revoked:.2f} s after the revocation"
        )
        if wrong := _stale(ledger, accepted):
            yield STALE, f"{told}, {wrong}"
        late = accepted.asked > revoked + BOUND + ledger.stalled(revoked, accepted.answered)
        if late and _connected(ledger, accepted.language, revoked, accepted.answered):
            yield SOON, f"{told}, it was accepted"
    for language in seen.verifiers:
        measured = [one for one in seen.refused if one.language == language and connected(ledger, one)]
        for refused in measured:
            took = latency(refused)
            if took - ledger.stalled(_revoked(refused.watched), refused.answered) > BOUND:
                yield SOON, f"{language}, {refused.watched.kind}: {took:.3f} s"
        if not measured:
            yield SOON, f"{language}: not measured"
    for language in seen.behind:
        yield BACK, f"{language}: it was not up to date in the end"
    for language in seen.ended:
        yield RUNS, language
    for language in seen.silent:
        yield SOON, f"{language}: no answer for long, so that it was started again"


def _stale(ledger: Ledger, accepted: Accepted) -> str:
    """Return why a verifier had to refuse a token that it accepted; "": it did not have to."""
    watched, language = accepted.watched, accepted.language
    revoked = _revoked(watched)
    losses = [loss for loss in ledger.losses if loss.lost(watched.asked or revoked, revoked)]
    if any(accepted.answered >= loss.started for loss in losses):
        return ""
    late = IN_FLIGHT + ledger.stalled(revoked, accepted.answered)
    if accepted.known > revoked + late:
        return f"by a set that was complete as of {accepted.known - revoked:.2f} s after it"
    if ledger.seen.verifiers[language].closed and accepted.asked > revoked + MAX_LAG + late:
        return f"by a set that is older than {MAX_LAG:.0f} s, though it fails closed"
    return ""


def connected(ledger: Ledger, refused: Refused) -> bool:
    """Whether a verifier's stream was open from the revocation to its refusal."""
    return _connected(ledger, refused.language, _revoked(refused.watched), refused.answered)


def _connected(ledger: Ledger, language: str, revoked: float, until: float) -> bool:
    """Whether its newest connection stayed, to a replica that could learn of everything."""
    last: Connection | None = None
    for one in ledger.seen.connections:
        if one.language == language and one.opened <= revoked and (last is None or one.opened > last.opened):
            last = one
    if last is None or last.opened + SNAPSHOT > revoked or last.closed <= until:
        return False
    if any(one.language == language and one.started <= until and revoked <= one.ended for one in ledger.seen.cuts):
        return False
    return not any(
        fault.effect in _EXCUSES
        and fault.replica in (None, last.replica)
        and fault.started <= until
        and revoked <= fault.over + RECONNECT + IN_FLIGHT
        for fault in ledger.faults
    )


def latency(refused: Refused) -> float:
    """Return the seconds from the answer to a revocation to the verifier's refusal."""
    return max(0.0, refused.answered - _revoked(refused.watched))


def _revoked(watched: Watched) -> float:
    return watched.revoked if watched.revoked is not None else float("inf")


def lines(ledger: Ledger) -> str:
    """Return what was measured, to print."""
    seen, text = ledger.seen, ""
    kinds = {kind: sum(one.kind == kind and one.revoked is not None for one in seen.watched) for kind in _kinds(ledger)}
    counts = ", ".join(f"{count} by {kind}" for kind, count in kinds.items()) or "none"
    text += f"revocations    for verifiers that follow them: {counts}; {seen.unanswered} not answered for\n"
    for language, verifier in seen.verifiers.items():
        refused = [one for one in seen.refused if one.language == language and one.watched.revoked is not None]
        stayed: list[float] = []
        away: list[float] = []
        for one in refused:
            (stayed if connected(ledger, one) else away).append(latency(one))
        cuts = [one for one in seen.cuts if one.language == language]
        back = [one.caught_up - one.ended for one in cuts if one.caught_up is not None]
        mode = f"fails closed after {MAX_LAG:.0f} s" if verifier.closed else "fails open"
        periods = sum(one.language == language for one in seen.periods)
        text += (
            f"  {language + ',':8} {mode}: connected {_spread(stayed)}; cut off or in a fault {_spread(away)}; "
            f"caught up after {len(back)} of {len(cuts)} cuts, in {max(back, default=0.0):.1f} s at most; "
            f"{periods} times closed\n"
        )
    left_out = [name for name in LANGUAGES if name not in seen.verifiers]
    return text + "".join(f"  {name + ',':8} left out: its toolchain is missing\n" for name in left_out)


def _kinds(ledger: Ledger) -> list[str]:
    return sorted({one.kind for one in ledger.seen.watched})


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "0 measured"
    ordered = sorted(seconds)
    p50, p99 = (ordered[ceil(share * len(ordered)) - 1] * 1000 for share in (0.5, 0.99))
    return f"{len(ordered)} measured, p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {ordered[-1] * 1000:.0f} ms"
