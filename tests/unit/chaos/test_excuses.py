"""The rules of `make chaos` that excuse something, each with what is just inside of it and just outside."""

import pytest
from tests.chaos import excuses, judge
from tests.chaos.excuses import BROKEN, P, R, excuse, kind_of, windows
from tests.chaos.ledger import Effect, Failure, Fault, KeyHistory, Ledger, Loss, Refusal
from tests.chaos.plan import IN_FLIGHT, LIFETIME, RECONNECT, SCHEDULE, STORE_WENT_BACK
from tests.unit.chaos.ledgers import BACK, STORE, WORKER, E, T, a, failed, key, ledger, refused

NEW = T - 1  # when `new` was published
SERVED = NEW + SCHEDULE.serve_unconfirmed + IN_FLIGHT


@pytest.mark.parametrize(
    ("rule", "excused", "outside"),
    [
        ("after the revocation", refused("old", asked=T + E, received=T), refused("old", asked=T - E, received=T - E)),
        ("by a set from after it", refused("old", received=T), refused("old", received=T - E)),
        ("for want of the key", refused("old"), refused("old", unknown_kid=False)),
    ],
)
def test_a_revoked_key(rule: str, excused: Refusal, outside: Refusal) -> None:
    assert excuse(ledger(), excused) == excuses.REVOKED, rule
    assert excuse(ledger(), outside) == "", rule


@pytest.mark.parametrize(
    ("rule", "excused", "outside"),
    [
        (
            "as long as the operator was told",
            refused("new", asked=NEW + P - E, fetched=NEW),
            refused("new", asked=NEW + P, fetched=NEW),
        ),
        (
            "by a set from before every replica published it",
            refused("new", asked=SERVED + E, fetched=SERVED),
            refused("new", asked=SERVED + 2 * E, fetched=SERVED + E),
        ),
        ("for want of the key", refused("new", fetched=NEW), refused("new", fetched=NEW, unknown_kid=False)),
    ],
)
def test_a_key_that_took_the_place_of_a_revoked_one(rule: str, excused: Refusal, outside: Refusal) -> None:
    assert excuse(ledger(), excused) == excuses.AT_ONCE, rule
    assert excuse(ledger(), outside) == "", rule


@pytest.mark.parametrize(
    ("case", "keys"),
    [
        ("nothing was revoked", {"old": key(T - 100, T - 50, retired=T)}),
        ("what was revoked was prepared", {"old": key(T - 100, None, revoked=T)}),
        ("what was revoked was retiring", {"old": key(T - 100, T - 50, retired=T - 10, revoked=T)}),
        ("what was revoked was of another algorithm", {"old": key(T - 100, T - 50, revoked=T, algorithm="RS256")}),
        ("it was revoked afterwards", {"old": key(T - 100, T - 50, revoked=T + E)}),
        ("another had taken its place before", {"between": key(T - 90, T), "new": key(T - 1, T + 0.5)}),
    ],
)
def test_who_signs_before_its_time_for_no_such_reason_is_told(case: str, keys: dict[str, KeyHistory]) -> None:
    seen = ledger(first=key(T - 300, T - 300), **keys)
    assert excuse(seen, refused("new", fetched=NEW)) == "", case
    broken = judge.judge(seen).broken
    assert "no key signs before it was published for P" in broken, case


def test_a_key_that_had_been_published_for_p_needs_no_excuse_and_gets_none() -> None:
    seen = ledger(new=key(T - P, T))
    assert excuse(seen, refused("new", asked=T, fetched=T - P - 1)) == ""
    assert excuse(seen, refused("unheard of")) == ""


@pytest.mark.parametrize(
    ("rule", "excused", "outside"),
    [
        (excuses.AWAY, a("STORE_UNAVAILABLE", BACK), a("STORE_UNAVAILABLE", BACK + E)),
        (excuses.AWAY, a("STORE_UNAVAILABLE", T), a("STORE_UNAVAILABLE", T - E)),
        (excuses.AWAY, a("SIGNER_UNAVAILABLE"), a("DEPENDENCY_UNAVAILABLE")),
        (excuses.AWAY, a("OUTCOME_UNKNOWN", method="admin"), a("OUTCOME_UNKNOWN")),
        (excuses.AWAY, a("STORE_UNAVAILABLE"), a("STORE_UNAVAILABLE", code="INTERNAL")),
        (excuses.LATE_AWAY, failed(T, "admin", "DEADLINE_EXCEEDED"), failed(T, "ExchangeToken", "DEADLINE_EXCEEDED")),
        (excuses.LATE_AWAY, failed(T, "admin", "DEADLINE_EXCEEDED"), failed(T - E, "admin", "DEADLINE_EXCEEDED")),
        (excuses.BROKE_AWAY, failed(T), failed(T, code="UNKNOWN")),
    ],
)
def test_calls_that_fail_while_the_store_is_away(rule: str, excused: Failure, outside: Failure) -> None:
    seen = Ledger(faults=[STORE])
    assert kind_of(seen, windows(seen), excused) == rule
    assert kind_of(seen, windows(seen), outside) == ""


@pytest.mark.parametrize(
    ("excused", "outside"),
    [
        (failed(T + 0.1 + BROKEN), failed(T + 0.1 + BROKEN + E)),
        (failed(T - E / 2), failed(T - E)),
        (failed(T), failed(T, replica=2)),
        (failed(T), failed(T, reason="STORE_UNAVAILABLE")),
        (failed(T), failed(T, code="CANCELLED")),
        (failed(T + 30 + BROKEN, replica=0), failed(T + 30 + BROKEN + E, replica=0)),  # was not there for 30 seconds
        (failed(T + 10, replica=0), failed(T + 10, replica=2)),
    ],
)
def test_connections_to_what_was_killed(excused: Failure, outside: Failure) -> None:
    seen = Ledger(faults=[WORKER], outages=[(T, T + 30, 0)])
    assert kind_of(seen, windows(seen), excused) == excuses.KILLED
    assert kind_of(seen, windows(seen), outside) == ""


UNTIL = T + 0.2  # when a key signs after a revocation that left none
BARE = {"new": key(T, UNTIL)}


@pytest.mark.parametrize(
    ("excused", "outside", "keys"),
    [
        (a("SIGNER_UNAVAILABLE", T), a("SIGNER_UNAVAILABLE", T - E), BARE),
        (a("SIGNER_UNAVAILABLE", UNTIL + R), a("SIGNER_UNAVAILABLE", UNTIL + R + E), BARE),
        (a("SIGNER_UNAVAILABLE"), a("SIGNER_UNAVAILABLE", algorithm="RS256"), BARE),
        (a("SIGNER_UNAVAILABLE"), a("STORE_UNAVAILABLE"), BARE),
    ],
)
def test_a_revoked_key_without_a_successor(excused: Failure, outside: Failure, keys: dict[str, KeyHistory]) -> None:
    seen = ledger(**keys)
    assert kind_of(seen, [], excused) == excuses.NO_SUCCESSOR
    assert kind_of(seen, [], outside) == ""


def test_where_a_prepared_key_took_the_place_at_once_every_replica_goes_on_signing() -> None:
    assert kind_of(ledger(), [], a("SIGNER_UNAVAILABLE", T)) == ""
    retiring = ledger(old=key(T - 100, T - 50, retired=T - 1, revoked=T), **BARE)
    assert kind_of(retiring, [], a("SIGNER_UNAVAILABLE", T)) == ""


HANG = Fault("worker hung", T, T + 40, 1, Effect.HUNG, lifted=T + 30)
RESET = Fault("idle store connections reset", T, T + 9, 1, Effect.RESET, lifted=T)
CLOCK = Fault("clocks moved by a day, ahead", T, T + 9, 1, Effect.CLOCK, lifted=T + 4)
WENT_BACK = Fault("old file put back", T, T + 8, None, Effect.WENT_BACK, lifted=T + 1)
WAY_BACK = RECONNECT + IN_FLIGHT


@pytest.mark.parametrize(
    ("rule", "fault", "excused", "outside"),
    [
        # a worker that hangs: its calls come to no answer, until those that it had are connected anew
        (excuses.HUNG, HANG, failed(T + 29, code="DEADLINE_EXCEEDED"), failed(T - 1, code="DEADLINE_EXCEEDED")),
        (
            excuses.HUNG,
            HANG,
            failed(T + 30 + BROKEN + IN_FLIGHT, code="DEADLINE_EXCEEDED"),
            failed(T + 30 + BROKEN + IN_FLIGHT + E, code="DEADLINE_EXCEEDED"),
        ),
        (excuses.HUNG, HANG, failed(T, "admin", "DEADLINE_EXCEEDED"), failed(T, code="DEADLINE_EXCEEDED", replica=2)),
        (excuses.HUNG, HANG, a("STORE_UNAVAILABLE"), a("STORE_UNAVAILABLE", code="INTERNAL")),
        (excuses.KILLED, HANG, failed(T + 30), failed(T + 30, replica=0)),
        # a reset: the store is missed, by this replica, until it is found again; and no connection of a client breaks
        (excuses.RESET, RESET, a("STORE_UNAVAILABLE", T + WAY_BACK), a("STORE_UNAVAILABLE", T + WAY_BACK + E)),
        (excuses.RESET, RESET, a("SIGNER_UNAVAILABLE", T), a("SIGNER_UNAVAILABLE", T, replica=0)),
        (excuses.RESET, RESET, a("OUTCOME_UNKNOWN", T, "admin"), failed(T)),
        # a wrong clock: what is refused says so, and never that it is the caller's token
        (excuses.CLOCK, CLOCK, a("CLOCK_WRONG"), a("EXPIRED", code="UNAUTHENTICATED")),
        (excuses.CLOCK, CLOCK, a("SIGNER_UNAVAILABLE"), a("SIGNER_UNAVAILABLE", replica=2)),
        (excuses.CLOCK, CLOCK, a("CLOCK_WRONG", T + 4 + WAY_BACK), a("CLOCK_WRONG", T + 4 + WAY_BACK + E)),
        # a store that has lost changes: until every replica serves again
        (excuses.WENT_BACK, WENT_BACK, a(STORE_WENT_BACK, T + 7), a(STORE_WENT_BACK, T - E)),
        (excuses.WENT_BACK, WENT_BACK, a(STORE_WENT_BACK, method="admin"), a("NOT_FOUND", method="admin")),
        (excuses.AWAY, WENT_BACK, a("STORE_UNAVAILABLE", T + 7), a("CORRUPT_RECORD", T + 7)),
    ],
)
def test_calls_that_fail_during_a_fault_of_their_replica(
    rule: str, fault: Fault, excused: Failure, outside: Failure
) -> None:
    seen = Ledger(faults=[fault])
    assert kind_of(seen, windows(seen), excused) == rule
    assert kind_of(seen, windows(seen), outside) == ""


@pytest.mark.parametrize("call", [failed(T), failed(T, code="DEADLINE_EXCEEDED"), a("SIGNER_UNAVAILABLE", T)])
def test_nobody_reading_a_log_excuses_nothing(call: Failure) -> None:
    seen = Ledger(faults=[Fault("log closed", T - 5, T + 5, 1, Effect.LOG)])
    assert kind_of(seen, windows(seen), call) == ""


@pytest.mark.parametrize(
    ("excused", "outside"),
    [
        (refused("any", asked=T), refused("any", asked=T - E)),
        (refused("any", asked=T + 6 + P + LIFETIME), refused("any", asked=T + 6 + P + LIFETIME + E)),
        (refused("any", asked=T + 1), refused("any", asked=T + 1, unknown_kid=False)),
    ],
)
def test_a_key_that_the_store_has_lost(excused: Refusal, outside: Refusal) -> None:
    seen = ledger(any=key(T - 50, T - 40))
    seen.losses = [Loss(T - 3, T, T + 6)]
    assert excuse(seen, excused) == excuses.LOST
    assert excuse(seen, outside) == ""
