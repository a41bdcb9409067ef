"""Signals, and the stop that each asks for."""

import signal

import pytest
from tests.fakes import FakeClock

from tokenmint.process.worker import SAME_SIGNAL, StopSignals

pytestmark = pytest.mark.slow


async def test_sigterm_stops_after_the_pause_and_a_second_one_ends_the_pause(clock: FakeClock) -> None:
    signals = StopSignals(clock.now)
    assert not signals.requested.is_set()
    signals.came(signal.SIGTERM)
    assert (signals.requested.is_set(), signals.hurry.is_set()) == (True, False)
    clock.advance(SAME_SIGNAL / 2)
    signals.came(signal.SIGTERM)  # a supervisor sent the first one on
    assert not signals.hurry.is_set()
    clock.advance(SAME_SIGNAL / 2)
    signals.came(signal.SIGTERM)
    assert signals.hurry.is_set()


async def test_sigint_stops_without_a_pause(clock: FakeClock) -> None:
    signals = StopSignals(clock.now)
    signals.came(signal.SIGINT)
    assert signals.requested.is_set()
    assert signals.hurry.is_set()
