"""Counting the calls in hand: the bound, the stop, and the deadline of a call."""

import asyncio

import pytest

from tokenmint.base import capacity as capacity_module
from tokenmint.base.capacity import Capacity, check_deadline, note_deadline
from tokenmint.base.errors import DeadlinePassed, Overloaded, Stopping


async def test_as_many_calls_as_the_limit_says_are_in_hand_and_one_more_when_one_has_ended() -> None:
    counted: list[str] = []
    capacity = Capacity(2, counted.append)
    assert capacity.refusal(bounded=True) is None
    left, other, third = capacity.enter(), capacity.enter(), capacity.enter()
    left.begin()
    other.begin()
    with pytest.raises(Overloaded):
        third.begin()
    third(None)
    assert isinstance(capacity.refusal(bounded=True), Overloaded)
    assert capacity.refusal(bounded=False) is None
    left(None)
    assert capacity.refusal(bounded=True) is None
    assert counted == ["OVERLOADED", "OVERLOADED"]


async def test_calls_that_are_not_bounded_or_not_here_as_a_whole_take_no_place_of_those_that_are() -> None:
    capacity = Capacity(1)
    for _ in range(5):
        capacity.enter()
    assert capacity.in_flight == 5
    assert capacity.refusal(bounded=True) is None


async def test_a_stop_begins_nothing_more_and_waits_for_what_was_begun() -> None:
    capacity = Capacity(2)
    left = capacity.enter()
    capacity.stopping = True
    for bounded in (True, False):
        assert isinstance(capacity.refusal(bounded=bounded), Stopping)
    assert not await capacity.idle(0.0)
    left(None)
    assert await capacity.idle(0.0)
    assert (capacity.answered, capacity.refused) == (1, 2)


async def test_a_stop_waits_for_calls_that_are_here_and_not_for_those_that_never_come_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capacity_module, "UNFINISHED", 0.01)
    capacity = Capacity(2)
    headers_only, whole, other = capacity.enter(), capacity.enter(), capacity.enter()
    whole.arrived(bounded=True)
    other.arrived(bounded=False)
    capacity.stopping = True
    assert not await capacity.idle(0.05)
    whole(None)
    waiting = asyncio.ensure_future(capacity.idle(3600.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    other(None)
    assert not await asyncio.wait_for(waiting, 20)  # one is in hand still
    headers_only(None)
    assert await capacity.idle(0.0)


@pytest.mark.parametrize("remaining", [0.0, -1.0])
async def test_a_call_whose_deadline_has_passed_is_not_begun(remaining: float) -> None:
    with pytest.raises(DeadlinePassed):
        note_deadline(remaining)


@pytest.mark.parametrize("remaining", [None, 9.2e18])
async def test_a_caller_without_a_deadline_waits_for_ever(remaining: float | None) -> None:
    assert note_deadline(remaining) == float("inf")
    check_deadline()


async def test_a_deadline_that_passes_on_the_way_ends_the_call() -> None:
    assert note_deadline(1e-9) == 1e-9
    with pytest.raises(DeadlinePassed):
        check_deadline()


async def test_outside_of_a_call_there_is_no_deadline() -> None:
    check_deadline()
