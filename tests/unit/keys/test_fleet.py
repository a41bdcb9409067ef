"""Histories of a fleet, random and directed: what holds in all, and that it would be noticed if a rule did not."""

import secrets
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.depth import depth
from tests.unit.keys.fleet import STEPS, Fleet, broken, play
from tests.unit.keys.world import ALGORITHM, STEP, TIMING

from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyState

pytestmark = pytest.mark.slow

EXAMPLES = 50
"""Histories of a shard."""
SHARDS = depth(2, 8)  # `make soak` plays hundreds
TRIES = 60
SEEDS = range(30)


class NoPublishAhead(Schedule):
    """Lets a key sign as soon as it is published."""

    @property
    def ahead(self) -> float:
        return 0.0


class NoRetention(Schedule):
    """Withdraws a key as soon as it is replaced."""

    def retention(self, max_lifetime: float = 0.0) -> float:
        return 0.0


@pytest.mark.deep
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_invariants_of_docs_keys_md_hold_in_random_histories(shard: int) -> None:
    """Each shard has its own histories, so that the test processes share them."""
    fleet = broken()  # nothing is: it counts for itself
    number = secrets.randbits(64)
    print(f"seed {number}")
    play(fleet, number, EXAMPLES)
    print(f"\n{dict(fleet.counts)}")
    assert fleet.counts["verifications"] > 250
    assert fleet.counts["rotations"] > 0
    assert fleet.counts["jumps"] > 0
    # A history that loses its store asserts less from then on. Of some fifty in a shard 1 to 28 do (36 shards counted).
    assert fleet.counts["lost"] < fleet.counts["histories"] * 4 / 5


@pytest.mark.parametrize(
    ("rule", "machine"),
    [
        ("publish-ahead", broken(SCHEDULE=NoPublishAhead(**TIMING, rotation_interval=200.0))),
        ("retention", broken(SCHEDULE=NoRetention(**TIMING, rotation_interval=200.0))),
        ("compare-and-swap", broken(COMPARE_AND_SWAP=False)),
        ("clock check", broken(CLOCK_CHECK=False)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_that_is_broken_on_purpose_is_noticed(rule: str, machine: type[Fleet]) -> None:
    def histories() -> None:
        for number in SEEDS:  # the same histories in each run: random ones may meet no harm for long
            run_state_machine_as_test(
                seed(number)(machine),
                settings=settings(
                    max_examples=TRIES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    report_multiple_bugs=False,
                    suppress_health_check=list(HealthCheck),
                ),
            )

    with pytest.raises(AssertionError):
        histories()


def about_to_rotate(machine: type[Fleet]) -> Fleet:
    """Return a fleet of which two replicas have decided on the next rotation by one ring, and not yet made it."""
    fleet = machine()
    fleet.start()
    while not all(replica.decided for replica in fleet.replicas[:2]):
        fleet.world.now += STEP
        for index in range(len(fleet.replicas)):
            fleet._refresh(index)
        for index in (0, 1):
            fleet._decide(index)
        fleet.everything_holds()
    first, second = (replica.decided for replica in fleet.replicas[:2])
    assert first is not None
    assert second is not None
    assert first[0] is second[0] is fleet.world.ring
    assert first[1] != second[1], "each has made a key of its own"
    return fleet


def both_rotate(machine: type[Fleet]) -> Fleet:
    """One rotates, and the other after it."""
    fleet = about_to_rotate(machine)
    for index in (0, 1):
        fleet._change(index)
        fleet.everything_holds()
    return fleet


def one_revokes_and_the_other_rotates(machine: type[Fleet]) -> Fleet:
    """An operator revokes the key that signs on one replica, and another rotates that has not heard of it."""
    fleet = about_to_rotate(machine)
    assert fleet.world.ring is not None
    places = [key.state for key in reversed(fleet.world.ring.keys)]
    fleet.revoke(0, places.index(KeyState.ACTIVE), with_prepared=False, ends=True)
    fleet.everything_holds()
    fleet._change(1)
    fleet.everything_holds()
    return fleet


@pytest.mark.parametrize("history", [both_rotate, one_revokes_and_the_other_rotates])
def test_of_two_changes_to_one_ring_the_second_is_not_made(history: Callable[[type[Fleet]], Fleet]) -> None:
    """The directed history for compare-and-swap: what random ones meet by chance, here in every run."""
    fleet = history(broken())  # nothing is
    ring = fleet.world.ring
    assert ring is not None
    assert fleet.replicas[0].held is ring, "the first change stands"
    fleet.quiet(steps=10, signer=0, fetched=0, racing=True)
    assert ring.only(ALGORITHM, KeyState.ACTIVE)
    fleet.everything_holds()


@pytest.mark.parametrize("history", [both_rotate, one_revokes_and_the_other_rotates])
def test_without_compare_and_swap_the_second_change_undoes_the_first_and_that_is_noticed(
    history: Callable[[type[Fleet]], Fleet],
) -> None:
    with pytest.raises(AssertionError) as noticed:
        history(broken(COMPARE_AND_SWAP=False))
    assert noticed.traceback[-1].name == Fleet.what_was_answered_for_is_overwritten_by_nobody.__name__


def test_a_key_that_signed_is_published_for_its_tokens_also_if_a_lost_history_comes_back() -> None:
    """Another prepared key takes its place in the restored ring, and the first replica to merge never saw it sign."""
    fleet = broken()()
    fleet.start()
    fleet.revoke(ends=False, index=0, which=0, with_prepared=False)
    fleet.crash(index=0)
    fleet.the_store_goes_back(back=1)
    fleet.quiet(fetched=0, racing=False, signer=0, steps=26)
    fleet.rotate(force=False, index=2)
    signing = fleet.replicas[2].held
    assert fleet.lost
    assert signing is not None
    signed = signing.only(ALGORITHM, KeyState.ACTIVE)
    assert signed is not None
    fleet.the_store_goes_back(back=2)
    fleet.quiet(fetched=0, racing=False, signer=0, steps=1)
    ring = fleet.world.ring
    kept = ring.find(signed.key_id) if ring is not None else None
    assert kept is not None
    assert kept.state is KeyState.RETIRING
    fleet.everything_holds()
