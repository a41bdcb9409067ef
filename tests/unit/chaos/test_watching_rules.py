"""The rules for verifiers that follow revocations: one that accepts a revoked token too late is noticed."""

from collections.abc import Callable

import pytest
from tests.chaos.judge import judge
from tests.chaos.ledger import Effect, Fault, Ledger, Loss
from tests.chaos.plan import IN_FLIGHT, RECONNECT
from tests.chaos.watching import rules
from tests.chaos.watching.rules import BACK, BOUND, RUNS, SNAPSHOT, SOON, STALE
from tests.chaos.watching.seen import MAX_LAG, Accepted, Connection, Cut, Period, Refused, Seen, Verifier, Watched

T = 1_000.0
"""When the revocation was answered for."""
E = 0.01
TOKEN = Watched("token", T + 10, "token id", T - E, T, {"go"})


def seen(*, closed: bool = False, connection: Connection | None = None) -> Seen:
    """A verifier of one language, which is connected to replica 1 all the time."""
    opened = connection or Connection("go", 1, T - 100)
    return Seen({"go": Verifier("go", closed=closed)}, watched=[TOKEN], connections=[opened])


def ledger(
    found: Seen, *, faults: list[Fault] | None = None, stalls: list[tuple[float, float]] | None = None
) -> Ledger:
    return Ledger(began=T - 200, seen=found, faults=faults or [], stalls=stalls or [])


def accepted(asked: float, known: float) -> Accepted:
    return Accepted("go", TOKEN, asked, asked + E, known)


def promises(one: Ledger) -> set[str]:
    return {promise for promise, _ in rules.breaches(one)} - {SOON}


CUT = Connection("go", 1, T - 100, T + E)
"""The connection of a verifier whose stream ends just after the revocation."""


@pytest.mark.parametrize(
    ("one", "held"),
    [
        (accepted(T + E, T - 1), True),
        (accepted(T + 1, T + IN_FLIGHT), True),
        (accepted(T + 1, T + IN_FLIGHT + E), False),  # its set was complete as of after the revocation
    ],
)
def test_a_connected_verifier_that_accepts_a_revoked_token(one: Accepted, held: bool) -> None:
    found = seen()
    found.accepted.append(one)
    assert (promises(ledger(found)) == set()) is held
    assert (STALE not in judge(ledger(found)).beyond_pace()) is held, "slowness is no excuse"


@pytest.mark.parametrize(
    ("connection", "asked", "held"),
    [
        (None, T + BOUND, True),
        (None, T + BOUND + E, False),
        (CUT, T + BOUND + E, True),
    ],
)
def test_a_connected_verifier_that_still_accepts_after_a_second(
    connection: Connection | None, asked: float, held: bool
) -> None:
    found = seen(connection=connection)
    found.accepted.append(accepted(asked, T - 1))
    found.refused.append(Refused("go", TOKEN, T + 0.4, T + 0.4 + E))
    one = ledger(found)
    one.seen.connections.append(Connection("go", 1, T - 50, T + 0.5) if connection else Connection("java", 1, T - 50))
    broken = [what for promise, what in rules.breaches(one) if promise == SOON]
    assert (not any("it was accepted" in what for what in broken)) is held
    assert not judge(one).beyond_pace().keys() & {SOON, STALE}, "a matter of pace"


@pytest.mark.parametrize(
    ("closed", "asked", "held"),
    [
        (True, T + MAX_LAG + IN_FLIGHT, True),
        (True, T + MAX_LAG + IN_FLIGHT + E, False),  # with a set that is older than N
        (False, T + 9, True),  # a verifier that fails open goes on with the last set
    ],
)
def test_a_verifier_whose_stream_is_away(closed: bool, asked: float, held: bool) -> None:
    found = seen(closed=closed, connection=CUT)
    found.accepted.append(accepted(asked, T - 1))
    assert promises(ledger(found)) == (set() if held else {STALE})


def test_the_lane_s_stand_still_is_an_excuse_for_as_long_as_it_lasted() -> None:
    for closed, connection, asked, known in (
        (False, None, T + 1.5, T + IN_FLIGHT + 2 * E),
        (True, CUT, T + MAX_LAG + IN_FLIGHT + 2 * E, T - 1),
    ):
        found = seen(closed=closed, connection=connection)
        found.accepted.append(accepted(asked, known))
        assert promises(ledger(found)) == {STALE}
        assert promises(ledger(found, stalls=[(T + 1, T + 1 + E)])) == {STALE}
        assert promises(ledger(found, stalls=[(T + 1, T + 1 + 3 * E)])) == set()
        assert promises(ledger(found, stalls=[(T - 5, T)])) == {STALE}, "it stood still before"


def test_what_the_store_has_lost_may_be_accepted_from_then_on() -> None:
    found = seen(closed=True)
    found.accepted.append(accepted(T + 8, T + 7))
    one = ledger(found)
    one.losses = [Loss(T - 1, T + 6)]
    assert promises(one) == set()
    one.losses = [Loss(T - 1, T + 9)]
    assert promises(one) == {STALE}, "it was lost later"
    one.losses = [Loss(T + 1, T + 6)]
    assert promises(one) == {STALE}, "the copy that was put back has it"


def away(start: float, end: float, effect: Effect = Effect.AWAY, replica: int | None = None) -> Fault:
    return Fault("fault", start, end, replica=replica, effect=effect)


@pytest.mark.parametrize(
    ("change", "measured"),
    [
        (lambda one: one.seen.behind.clear(), True),
        (lambda one: one.seen.connections.clear(), False),
        (lambda one: setattr(one.seen.connections[0], "closed", T + 0.5), False),
        (lambda one: setattr(one.seen.connections[0], "closed", T + 0.5 + 2 * E), True),
        (lambda one: setattr(one.seen.connections[0], "opened", T - SNAPSHOT + E), False),
        (lambda one: one.seen.connections.append(Connection("go", 2, T - 2, T + 0.1)), False),  # the newest counts
        (lambda one: one.seen.connections.append(Connection("java", 2, T - 2, T + 0.1)), True),
        (lambda one: one.seen.cuts.append(Cut("go", "stream cut", T - 1, T)), False),
        (lambda one: one.seen.cuts.append(Cut("go", "stream cut", T - 2, T - 1)), True),
        (lambda one: one.seen.cuts.append(Cut("java", "stream cut", T - 1)), True),
        (lambda one: one.faults.append(away(T - 1, T + 5)), False),
        (lambda one: one.faults.append(away(T - 9, T - RECONNECT - IN_FLIGHT)), False),
        (lambda one: one.faults.append(away(T - 9, T - RECONNECT - IN_FLIGHT - E)), True),
        (lambda one: one.faults.append(away(T + 0.5 + 2 * E, T + 5)), True),
        (lambda one: one.faults.append(away(T - 1, T + 5, Effect.HUNG, 1)), False),
        (lambda one: one.faults.append(away(T - 1, T + 5, Effect.HUNG, 2)), True),
        (lambda one: one.faults.append(away(T - 1, T + 5, Effect.RESET, 1)), False),
        (lambda one: one.faults.append(away(T - 1, T + 5, Effect.KILLED, 1)), True),  # its connection stayed
        (lambda one: one.faults.append(away(T - 1, T + 5, Effect.CLOCK, 1)), True),
        (lambda one: one.faults.append(away(T - 1, T + 5, Effect.LOG, 1)), True),
    ],
)
def test_which_verifiers_are_connected(change: Callable[[Ledger], None], measured: bool) -> None:
    found = seen()
    found.refused.append(Refused("go", TOKEN, T + 0.5, T + 0.5 + E))
    one = ledger(found)
    change(one)
    assert (SOON not in judge(one).broken) is measured
    assert rules.connected(one, found.refused[0]) is measured


@pytest.mark.parametrize(
    ("took", "stall", "held"), [(BOUND, 0.0, True), (BOUND + E, 0.0, False), (BOUND + E, 0.1, True)]
)
def test_a_second_is_the_bound_and_a_matter_of_pace(took: float, stall: float, held: bool) -> None:
    found = seen()
    found.refused.append(Refused("go", TOKEN, T + took - E, T + took))
    verdict = judge(ledger(found, stalls=[(T + 0.2, T + 0.2 + stall)]))
    assert (SOON not in verdict.broken) is held
    assert SOON not in verdict.beyond_pace()


def test_a_refusal_before_the_answer_took_no_time() -> None:
    assert rules.latency(Refused("go", TOKEN, T - 2 * E, T - E)) == 0.0


def test_a_verifier_that_stays_behind_or_ends() -> None:
    found = seen()
    found.behind.append("go")
    found.ended.append("go")
    found.silent.append("java")
    verdict = judge(ledger(found))
    assert {BACK, RUNS} <= set(verdict.beyond_pace())
    assert any("java" in what for what in verdict.broken[SOON])


def test_the_report_has_each_language() -> None:
    found = seen(closed=True)
    found.verifiers["java"] = Verifier("java", closed=False)
    found.refused = [Refused("go", TOKEN, T, T + number / 1000) for number in range(1, 101)]
    found.refused.append(Refused("java", TOKEN, T + 2, T + 3))
    found.cuts = [Cut("java", "stream cut", T - 9, T - 4, T - 2.5), Cut("java", "verifier killed", T + 4, T + 4)]
    found.periods = [Period("go", T + 5)]
    text = rules.lines(ledger(found))
    assert "1 by token id; 0 not answered for" in text
    assert "go,      fails closed after 3 s: connected 100 measured, p50 50 ms, p99 99 ms, max 100 ms;" in text
    assert "cut off or in a fault 0 measured; caught up after 0 of 0 cuts, in 0.0 s at most; 1 times closed" in text
    assert "java,    fails open: connected 0 measured; cut off or in a fault 1 measured, p50 3000 ms" in text
    assert "caught up after 1 of 2 cuts, in 1.5 s at most; 0 times closed" in text
    assert "python,  left out: its toolchain is missing" in text
