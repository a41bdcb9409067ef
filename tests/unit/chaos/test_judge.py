"""The judge of `make chaos`: each rule that excuses something, with what is just inside of it and just outside."""

from dataclasses import replace

import pytest
from tests.chaos import judge
from tests.chaos.judge import BROKEN, P, R, excuse, kind_of, windows
from tests.chaos.ledger import Answer, Failure, Fault, KeyHistory, Ledger, Minted, Refusal
from tests.chaos.plan import IN_FLIGHT, RECONNECT, SCHEDULE

from tokenmint.keys.types import KeyRing, KeyState, SigningKey

T = 1_000.0
"""When the key that signed was revoked."""
E = 0.01
"""A little, seconds."""


def key(published: float, activated: float | None = None, **more: float | str | None) -> KeyHistory:
    history = KeyHistory("ES256", published, activated)
    for name, value in more.items():
        setattr(history, name, value)
    return history


def ledger(**keys: KeyHistory) -> Ledger:
    """`old` signed until it was revoked; `new` had been published for a second and took its place at once."""
    known = {"old": key(T - 100, T - 50, revoked=T), "new": key(T - 1, T)}
    return Ledger(began=T - 200, keys=known | keys)


def refused(key_id: str, **changes: float | bool) -> Refusal:
    """A refusal for want of the key, by a set that was fetched a moment before."""
    asked = float(changes.pop("asked", T + 1))
    plain = Refusal("somebody", key_id, asked, "unknown kid", True, fetched=asked - 0.02, received=asked - 0.01)
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields are those of the row


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
    assert excuse(ledger(), excused) == judge.REVOKED, rule
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
    assert excuse(ledger(), excused) == judge.AT_ONCE, rule
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


STORE = Fault("store paused", T, T + 2)
BACK = STORE.ended + RECONNECT + IN_FLIGHT
WORKER = Fault("worker killed", T, T + 0.1, replica=1)


def failed(started: float, method: str = "ExchangeToken", code: str = "UNAVAILABLE", **more: object) -> Failure:
    plain = Failure(method, 1, started, started + E / 2, code, "", "ES256")
    return replace(plain, **more)  # type: ignore[arg-type]  # the fields are those of the row


def a(
    reason: str, started: float = T + 1, method: str = "ExchangeToken", code: str = "UNAVAILABLE", **more: object
) -> Failure:
    return failed(started, method, code, reason=reason, **more)


@pytest.mark.parametrize(
    ("rule", "excused", "outside"),
    [
        (judge.AWAY, a("STORE_UNAVAILABLE", BACK), a("STORE_UNAVAILABLE", BACK + E)),
        (judge.AWAY, a("STORE_UNAVAILABLE", T), a("STORE_UNAVAILABLE", T - E)),
        (judge.AWAY, a("SIGNER_UNAVAILABLE"), a("DEPENDENCY_UNAVAILABLE")),
        (judge.AWAY, a("OUTCOME_UNKNOWN", method="admin"), a("OUTCOME_UNKNOWN")),
        (judge.AWAY, a("STORE_UNAVAILABLE"), a("STORE_UNAVAILABLE", code="INTERNAL")),
        (judge.LATE_AWAY, failed(T, "admin", "DEADLINE_EXCEEDED"), failed(T, "ExchangeToken", "DEADLINE_EXCEEDED")),
        (judge.LATE_AWAY, failed(T, "admin", "DEADLINE_EXCEEDED"), failed(T - E, "admin", "DEADLINE_EXCEEDED")),
        (judge.BROKE_AWAY, failed(T), failed(T, code="UNKNOWN")),
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
    assert kind_of(seen, windows(seen), excused) == judge.KILLED
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
    assert kind_of(seen, [], excused) == judge.NO_SUCCESSOR
    assert kind_of(seen, [], outside) == ""


def test_where_a_prepared_key_took_the_place_at_once_every_replica_goes_on_signing() -> None:
    assert kind_of(ledger(), [], a("SIGNER_UNAVAILABLE", T)) == ""
    retiring = ledger(old=key(T - 100, T - 50, retired=T - 1, revoked=T), **BARE)
    assert kind_of(retiring, [], a("SIGNER_UNAVAILABLE", T)) == ""


def signed(key_id: str, started: float) -> Minted:
    return Minted("token", key_id, "ES256", started, started + E, started + 4)


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
    seen.refusals = [refused("old"), refused("old"), refused("new", fetched=NEW), refused("old", unknown_kid=False)]
    seen.failures = [failed(T), a("STORE_UNAVAILABLE"), a("STORE_UNAVAILABLE", BACK)]
    seen.faults = [STORE]
    verdict = judge.judge(seen)
    assert verdict.excused == {judge.REVOKED: 2, judge.AT_ONCE: 1}
    assert len(verdict.broken["no token refused by a verifier that keeps its contract"]) == 1
    assert verdict.unavailable == {
        f"{judge.BROKE_AWAY} (ExchangeToken: UNAVAILABLE)": 1,
        f"{judge.AWAY} (ExchangeToken: STORE_UNAVAILABLE)": 2,
    }
    assert verdict.late == pytest.approx(RECONNECT + IN_FLIGHT + E / 2)
