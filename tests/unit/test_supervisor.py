"""When a worker that ended is started again: at once, later and later, or not any more."""

import pytest
from tests.fakes import FakeClock

from tokenmint.supervisor import EARLY, FIRST_PAUSE, LONGEST_PAUSE, RESTART_LIMIT, Restarts


def test_pauses_double_while_workers_end_at_once_and_are_bounded(clock: FakeClock) -> None:
    restarts = Restarts(clock.monotonic)
    pauses = []
    for pid in range(12):
        restarts.began(pid)
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
        restarts.began(pid)
        restarts.ended(pid)
    restarts.began(3)
    clock.advance(lived)
    assert restarts.ended(3) == pause
    restarts.began(4)
    assert restarts.ended(4) == (FIRST_PAUSE if pause == 0.0 else 4.0)


def test_starting_again_does_not_help_after_so_many_that_ended_at_once(clock: FakeClock) -> None:
    restarts = Restarts(clock.monotonic)
    for pid in range(RESTART_LIMIT):
        assert not restarts.hopeless
        restarts.began(pid)
        restarts.ended(pid)
    assert restarts.hopeless
    restarts.began(99)
    clock.advance(EARLY)
    restarts.ended(99)
    assert not restarts.hopeless
