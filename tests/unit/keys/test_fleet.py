"""Random histories of a fleet: what holds in all of them, and that it would be noticed if a rule did not."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.unit.keys.fleet import TIMING, Fleet, broken

from tokenmint.keys.schedule import Schedule

EXAMPLES, STEPS = 200, 50
FACTOR = int(os.environ.get("TOKENMINT_SOAK", "1"))
"""`make soak` sets it to 100."""


class NoPublishAhead(Schedule):
    """Lets a key sign as soon as it is published."""

    @property
    def ahead(self) -> float:
        return 0.0


class NoRetention(Schedule):
    """Withdraws a key as soon as it is replaced."""

    def retention(self, max_lifetime: float = 0.0) -> float:
        return 0.0


def test_the_invariants_of_docs_keys_md_hold_in_random_histories() -> None:
    run_state_machine_as_test(
        Fleet,
        settings=settings(
            max_examples=EXAMPLES * FACTOR,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"\n{dict(Fleet.counts)}")
    assert Fleet.counts["verifications"] > 1000 * FACTOR
    assert Fleet.counts["rotations"] > 100 * FACTOR
    assert Fleet.counts["lost"] < Fleet.counts["histories"] / 2


@pytest.mark.parametrize(
    ("rule", "machine"),
    [
        ("publish-ahead", broken(SCHEDULE=NoPublishAhead(**TIMING, rotation_interval=200.0))),
        ("retention", broken(SCHEDULE=NoRetention(**TIMING, rotation_interval=200.0))),
        ("compare-and-swap", broken(COMPARE_AND_SWAP=False)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_that_is_broken_on_purpose_is_noticed(rule: str, machine: type[Fleet]) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES * 3,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
