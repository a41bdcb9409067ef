"""The judge of `make chaos`: it notices each failure that the lane is there to find, and nothing else."""

from dataclasses import replace

import pytest
from tests.chaos import excuses, judge
from tests.chaos.excuses import P, R
from tests.chaos.ledger import Answer, Effect, End, Failure, Fault, Ledger, Loss, Minted, Wrong
from tests.chaos.plan import IN_FLIGHT, LOSS_NOTICED, RECONNECT, SCHEDULE, STORE_WENT_BACK
from tests.unit.chaos.ledgers import BACK, STORE, E, T, a, failed, key, ledger, refused, signed

from tokenmint.keys.signing_keys import DECIDED_LIMIT
from tokenmint.keys.types import KeyRing, KeyState, SigningKey


@pytest.mark.parametrize(
    ("token", "held"),
    [
        (signed("old", T + R), True),
        (signed("old", T + R + IN_FLIGHT + E), False),
        (signed("new", T - E), True),
        (signed("new", T - 3 * E), False),
        (signed("unheard of", T), False),
    ],
)
def test_signatures_by_keys_that_are_not_active(token: Minted, held: bool) -> None:
    seen = ledger(old=key(T - 100, T - 50, revoked=T, ended=T, state=KeyState.REVOKED))
    seen.minted.append(token)
    assert ("no signature by a key that is not active" not in judge.judge(seen).broken) is held


AFTER = SCHEDULE.serve_unconfirmed + IN_FLIGHT


@pytest.mark.parametrize(
    ("started", "fetched", "held"),
    [
        (T + R + IN_FLIGHT, T + AFTER, True),
        (T + R + IN_FLIGHT + E, T, False),  # signed with by a replica that should have stopped
        (T, T + AFTER + E, False),  # published by one that should have
    ],
)
def test_revoked_keys_that_come_back(started: float, fetched: float, held: bool) -> None:
    gone = SigningKey("old", "ES256", KeyState.REVOKED, {}, 0.0, 0.0)
    seen = ledger()
    seen.final = KeyRing("line", keys=(gone,))
    seen.answers = [Answer("old", KeyState.REVOKED, T - 1, T)]
    seen.minted = [signed("old", started)]
    seen.fetched = [(fetched, frozenset({"old", "new"}))]
    assert ("no revoked key comes back" not in judge.judge(seen).broken) is held
    seen.final = KeyRing("line", keys=(replace(gone, state=KeyState.RETIRED),))
    assert "no revoked key comes back" in judge.judge(seen).broken


def test_what_was_not_measured_is_a_broken_promise_and_a_second_is_the_bound() -> None:
    promises = {
        "a revocation reaches every replica within a second",
        "every watcher learns of a change within a second",
    }
    assert promises <= set(judge.judge(ledger()).broken)
    seen = ledger()
    seen.revocation, seen.notices = 1.0, [0.1, 1.0]
    assert not promises & set(judge.judge(seen).broken)
    seen.revocation, seen.notices = 1.0 + E, [0.1, 1.0 + E]
    assert promises <= set(judge.judge(seen).broken)


def test_the_verdict_counts_what_it_excused_by_rule() -> None:
    seen = ledger()
    seen.refusals = [refused("old"), refused("old"), refused("new", fetched=T - 1), refused("old", unknown_kid=False)]
    seen.failures = [failed(T), a("STORE_UNAVAILABLE"), a("STORE_UNAVAILABLE", BACK)]
    seen.faults = [STORE]
    verdict = judge.judge(seen)
    assert verdict.excused == {excuses.REVOKED: 2, excuses.AT_ONCE: 1}
    assert len(verdict.broken["no token refused by a verifier that keeps its contract"]) == 1
    assert verdict.unavailable == {
        f"{excuses.BROKE_AWAY} (ExchangeToken: UNAVAILABLE)": 1,
        f"{excuses.AWAY} (ExchangeToken: STORE_UNAVAILABLE)": 2,
    }
    assert verdict.late == pytest.approx(RECONNECT + IN_FLIGHT + E / 2)


def broken(seen: Ledger) -> dict[str, list[str]]:
    """Return the promises that do not hold, without those that every made-up ledger breaks: nothing was measured."""
    unmeasured = judge.judge(Ledger()).broken
    return {promise: what for promise, what in judge.judge(seen).broken.items() if promise not in unmeasured}


def calm() -> Ledger:
    """A ledger without a breach: a key that was there from the start has signed."""
    return Ledger(began=T - 200, keys={"old": key(T - 100, T - 50)}, minted=[signed("old", T)])


def test_a_calm_run_breaks_no_promise() -> None:
    assert broken(calm()) == {}


@pytest.mark.parametrize("fault", [None, *(Fault("any", T - 1, T + 9, 1, effect) for effect in Effect)])
def test_a_process_that_ends_by_itself_is_a_breach_whatever_was_done_meanwhile(fault: Fault | None) -> None:
    seen = calm()
    if fault is not None:
        seen.faults, seen.losses = [fault], []
    seen.ends = [End(1, "worker 4711", 1, T, ("the last words",))]
    (told,) = broken(seen)[judge.ENDED]
    assert "worker 4711, exit status 1" in told
    assert "replica 1" in told
    assert "the last words" in told
    seen.ends = [End(1, "worker 4711", None, T)]
    assert "exit status unknown" in broken(seen)[judge.ENDED][0]


def test_a_token_for_somebody_who_is_denied_is_a_wrong_token() -> None:
    seen = calm()
    seen.faults = [Fault("old file put back", T - 1, T + 9, effect=Effect.WENT_BACK)]
    seen.wrong = [Wrong("disabled principal", "denied-1", 2, T - 5, T, T + E)]
    assert len(broken(seen)[judge.DENIED]) == 1
    assert judge.judge(seen).wrong == [judge.WrongToken(2, T)]


S = SCHEDULE.skew


@pytest.mark.parametrize(
    ("issued", "held"),
    [
        (float(int(T)), True),
        (T + E + S, True),
        (T + E + S + E, False),
        (T - 1 - S + E, True),  # whole seconds, rounded down
        (T - 1 - S, False),
        (T + 600, False),
        (T - 86400, False),
    ],
)
def test_a_token_with_another_time_than_the_true_one_is_wrong_also_on_a_replica_whose_clock_was_moved(
    issued: float, held: bool
) -> None:
    seen = calm()
    seen.minted = [replace(signed("old", T), issued=issued, replica=1)]
    seen.faults = [Fault("clock", T - 1, T + 5, 1, Effect.CLOCK)]
    assert (judge.UNTRUE not in broken(seen)) is held
    assert len(judge.judge(seen).wrong) == (not held)


def test_a_key_that_was_in_the_store_too_shortly_by_the_true_clock_is_told_though_the_ring_says_otherwise() -> None:
    least = P - DECIDED_LIMIT - IN_FLIGHT
    for there, held in ((least + E, True), (least - E, False), (17.0 / 302 * P, False)):
        hasty = key(T - 86400, T, absent=T - there, seen_active=T)
        assert (judge.EARLY not in broken(Ledger(keys={"first": key(T - 99, T - 98), "hasty": hasty}))) is held


@pytest.mark.parametrize(
    ("kind", "started", "held"),
    [
        ("failover by command", T - P, True),
        ("failover by command", T - 1, False),
        ("failover by command", T - 0.1, False),  # it began after the lane had looked
        ("store paused", T - P, False),
    ],
)
def test_in_a_failover_the_lane_may_have_looked_at_the_server_that_is_behind(
    kind: str, started: float, held: bool
) -> None:
    keys = {"first": key(T - 99, T - 98), "hasty": key(T - 86400, T, absent=T - 0.5, seen_active=T)}
    ledger = Ledger(keys=keys, faults=[Fault(kind, started, T)])
    assert (judge.EARLY not in broken(ledger)) is held


def loss(since: float = T - 3, accepted: float = T + 6) -> Loss:
    return Loss(since, T, accepted)


SAID = failed(T + 1, reason=STORE_WENT_BACK)
LOST = Fault("old file put back", T, T + 8, effect=Effect.WENT_BACK)
NOTICED = T + LOSS_NOTICED + IN_FLIGHT


@pytest.mark.parametrize(
    ("token", "held"),
    [
        (signed("old", NOTICED), True),
        (signed("old", NOTICED + E), False),
        (signed("old", T + 6 - E), True),  # answered as the operator accepts
        (signed("old", T + 6 - 3 * E), False),
        (signed("old", T - 1), True),
    ],
)
def test_exchanges_on_a_store_that_went_back_are_told_from_when_it_is_noticed_until_it_is_accepted(
    token: Minted, held: bool
) -> None:
    seen = calm()
    seen.minted, seen.losses, seen.faults, seen.failures = [token], [loss()], [LOST], [SAID]
    assert (judge.LOSSY not in broken(seen)) is held


@pytest.mark.parametrize(
    ("failure", "held"),
    [
        (SAID, True),
        (failed(T + 6 + E, reason=STORE_WENT_BACK), False),
        (failed(T - 1, reason=STORE_WENT_BACK), False),
        (failed(T + 1, reason="STORE_UNAVAILABLE"), False),
        (None, False),
    ],
)
def test_a_store_that_went_back_has_to_be_named_as_that(failure: Failure | None, held: bool) -> None:
    seen = calm()
    seen.losses, seen.faults, seen.failures = [loss()], [LOST], [failure] if failure else []
    assert (judge.SAID not in broken(seen)) is held


def test_what_was_answered_before_the_copy_was_made_is_not_lost_and_what_was_asked_after_it_is_accepted_neither() -> (
    None
):
    active = [Answer("gone", KeyState.ACTIVE, T - 2, T - 1)]
    for changed, excused in (((T - 2, T - 1), True), ((T - 9, T - 3 - E), False), ((T + 6 + E, T + 7), False)):
        seen = calm()
        seen.losses, seen.faults, seen.failures = [loss()], [LOST], [SAID]
        seen.final = KeyRing("line")
        seen.answers = [replace(active[0], asked=changed[0], answered=changed[1])]
        assert ("no confirmed answer to an operator lost" not in broken(seen)) is excused


def test_a_revocation_that_is_lost_may_be_forgotten_with_its_key_and_never_be_undone() -> None:
    seen = calm()
    seen.losses, seen.faults, seen.failures = [loss()], [LOST], [SAID]
    seen.answers = [Answer("k", KeyState.REVOKED, T - 2, T - 1)]
    seen.final = KeyRing("line")
    assert "no revoked key comes back" not in broken(seen)
    seen.final = KeyRing("line", keys=(SigningKey("k", "ES256", KeyState.ACTIVE, {}, 0.0, 0.0),))
    assert "no revoked key comes back" in broken(seen)


def test_calls_that_fail_because_nobody_reads_the_log_are_told() -> None:
    for call in (
        failed(T, code="UNKNOWN"),
        failed(T, code="DEADLINE_EXCEEDED"),
        failed(T),
        failed(T, reason="STORE_UNAVAILABLE"),
        failed(T, "admin", "DEADLINE_EXCEEDED"),
    ):
        seen = calm()
        seen.faults, seen.failures = [Fault("log not read", T - 1, T + 5, 1, Effect.LOG)], [call]
        assert "no call fails but for a fault that excuses it" in broken(seen), call


def test_what_the_faults_found_themselves_is_a_breach() -> None:
    seen = calm()
    seen.breaches = [("a worker that hangs is replaced", "worker 4711 was still there")]
    assert broken(seen) == {"a worker that hangs is replaced": ["worker 4711 was still there"]}


def test_a_store_that_holds_a_key_no_more_has_ended_it() -> None:
    seen = Ledger()
    one = SigningKey("one", "ES256", KeyState.ACTIVE, {}, 0.0, 0.0, activate_time=1.0)
    ended = []
    for ring in (KeyRing("line", 2, keys=(one,)), KeyRing("line", 1), KeyRing("line", 3, keys=(one,))):
        seen.saw(ring)
        ended.append(seen.keys["one"].ended is not None)
    assert ended == [False, True, False]
    assert seen.went_back == 1


def test_on_a_shared_machine_what_is_late_is_told_and_everything_else_is_a_breach() -> None:
    seen = calm()
    seen.revocation, seen.notices, seen.failures = 1.0 + E, [1.0 + E], [failed(T)]
    verdict = judge.judge(seen)
    assert {judge.REVOCATION, judge.WATCHERS, judge.CALLS} <= set(verdict.broken)
    assert verdict.beyond_pace() == {}
    seen.failures = [failed(T), failed(T, code="UNKNOWN")]
    seen.breaches = [("a worker that hangs is replaced", "worker 4711 was still there")]
    hard = judge.judge(seen).beyond_pace()
    assert set(hard) == {judge.CALLS, "a worker that hangs is replaced"}
    assert len(hard[judge.CALLS]) == 1
