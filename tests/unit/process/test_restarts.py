"""When a worker that ended is started again: at once, later and later, or not any more."""

import pytest
from tests.fakes import FakeClock

from tokenmint.process.restarts import EARLY, FIRST_PAUSE, LONGEST_PAUSE, RESTART_LIMIT, Restarts


def test_pauses_double_while_workers_end_at_once_and_are_bounded(clock: FakeClock) -> None:
    restarts = Restarts(clock.monotonic)
    pauses = []
    for pid in range(12):
        restarts.ready(pid)
        clock.advance(0.2)
        pauses.append(restarts.ended(pid))
        clock.advance(pauses[-1])
    assert pauses[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert pauses[0] == FIRST_PAUSE
    assert set(pauses[6:]) == {LONGEST_PAUSE}


@pytest.mark.parametrize(("lived", "pause"), [(0.0, 2.0), (EARLY - 0.1, 2.0), (EARLY, 0.0), (3600.0, 0.0)])
def test_one_that_served_for_a_while_is_replaced_at_once_and_ends_the_row(
    clock: FakeClock, lived: float, pause: float
) -> None:
    restarts = Restarts(clock.monotonic)
    for pid in (1, 2):
        restarts.ready(pid)
        restarts.ended(pid)
    restarts.ready(3)
    clock.advance(lived)
    assert restarts.ended(3) == pause
    restarts.ready(4)
    assert restarts.ended(4) == (FIRST_PAUSE if pause == 0.0 else 4.0)


def test_time_before_a_worker_is_ready_is_no_time_in_which_it_served(clock: FakeClock) -> None:
    restarts = Restarts(clock.monotonic)
    clock.advance(15)  # a start that takes long
    restarts.ready(1)
    assert restarts.ended(1) == FIRST_PAUSE
    clock.advance(60)
    assert restarts.ended(2) == 2 * FIRST_PAUSE  # one that never was ready


def test_time_in_which_a_worker_hung_is_no_time_in_which_it_served(clock: FakeClock) -> None:
    restarts = Restarts(clock.monotonic)
    restarts.ready(1)
    clock.advance(25)
    assert restarts.ended(1, silent=24.0) == FIRST_PAUSE
    restarts.ready(2)
    clock.advance(24.0 + EARLY)
    assert restarts.ended(2, silent=24.0) == 0.0


def test_starting_again_does_not_help_after_so_many_that_ended_at_once(clock: FakeClock) -> None:
    restarts = Restarts(clock.monotonic)
    seen = []
    for pid in range(RESTART_LIMIT):
        seen.append(restarts.hopeless)
        restarts.ready(pid)
        restarts.ended(pid)
    assert [*seen, restarts.hopeless] == [False] * RESTART_LIMIT + [True]


def test_starting_again_helps_while_another_serves(clock: FakeClock) -> None:
    """One that was ready just now does not serve yet: those before it were as well."""
    restarts = Restarts(clock.monotonic)
    for pid in range(RESTART_LIMIT):
        restarts.ready(pid)
        restarts.ended(pid)
    restarts.ready(99)
    seen = [restarts.hopeless]
    clock.advance(EARLY)
    seen.append(restarts.hopeless)
    restarts.ended(99)
    seen.append(restarts.hopeless)
    assert seen == [True, False, False]
