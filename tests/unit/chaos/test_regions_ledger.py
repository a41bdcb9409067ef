"""The judgement of a run with regions: each broken promise is told, and what may be is not."""

from collections import Counter

import pytest
from tests.chaos.regions.ledger import Acceptance, Ledger, Refusal, Token
from tests.chaos.regions.plan import LOST, PACES, PROFILES_BOUND, SHORT, Pace

from tokenmint.regions.pulling import LONGEST_PAUSE

AT = 1000.0
BOUND = SHORT.bound
SCHEDULE = SHORT.schedule


def token(region: str) -> Token:
    return Token("secret", f"{region}.key", region, AT + 100)


def good() -> Ledger:
    """Return a run in which every promise held, at whose end a region was given up."""
    ledger = Ledger(verifications=Counter({"one": 10}), asked=AT, given_up={"eu": AT + 1, "ap": AT + 2})
    ledger.signers = {name: {"1", "2"} for name in ("eu", "ap", LOST)}
    ledger.accepted = [Acceptance("one", "eu", AT + 1 + BOUND)]
    ledger.refusals = [Refusal("one", "eu", token(LOST), AT + 5, AT, "unknown kid")]
    ledger.oldest = Counter({"eu": int(10 * SCHEDULE.region_lag)})
    return ledger


def test_a_run_in_which_every_promise_held_is_told_as_such() -> None:
    assert good().broken(10) == []


@pytest.mark.parametrize("region", ["eu", LOST])
def test_a_refused_token_is_told_without_its_text(region: str) -> None:
    ledger = good()
    ledger.refusals.append(Refusal("one", "ap", token(region), AT, AT - 1, "unknown kid"))
    [told] = ledger.broken(10)
    assert f"{region}.key" in told
    assert "secret" not in told


def test_a_token_of_the_lost_region_after_the_bound_is_told() -> None:
    ledger = good()
    ledger.accepted.append(Acceptance("one", "eu", AT + 1.1 + BOUND))
    assert "accepted after the bound" in ledger.broken(10)[0]
    ledger = good()
    ledger.active_after = 1
    assert "active where it was given up" in ledger.broken(10)[0]


def test_a_principal_that_is_served_after_its_end_is_told() -> None:
    ledger = good()
    ledger.served_again = 1
    assert "refused before" in ledger.broken(10)[0]
    ledger = good()
    ledger.refused_while_linked = [PROFILES_BOUND + 1]
    assert "refused later" in ledger.broken(10)[0]


def test_a_run_that_proves_too_little_is_told() -> None:
    assert "fewer than 11" in good().broken(11)[0]
    ledger = good()
    ledger.oldest["ap"] = int(10 * SCHEDULE.region_lag) + 1
    assert "longer than L" in ledger.broken(10)[0]
    ledger = good()
    ledger.signers["eu"] = {"1"}
    assert "did not rotate" in ledger.broken(10)[0]


@pytest.mark.parametrize("pace", PACES.values(), ids=PACES)
def test_a_pace_proves_the_rule_and_does_not_break_it(pace: Pace) -> None:
    schedule = pace.schedule
    assert schedule.problems() == []
    pause = min(LONGEST_PAUSE, schedule.region_lag / 10)  # between attempts, and between records of a time
    assert pace.cuts[1] + 2 * pause + schedule.skew <= schedule.region_lag
    assert pace.between[0] > pause  # a pull comes between two cuts
    assert pace.given_up_after > schedule.rotation_interval  # the lost region rotates, too
    assert pace.at_most <= 11 * 60


def test_the_long_pace_cuts_for_minutes() -> None:
    assert PACES["long"].cuts[0] >= 120
