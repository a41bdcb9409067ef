"""Time limits of calls, against what asyncio's own do."""

import asyncio

import pytest

from tokenmint.base.tasks import TimeLimit


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_what_takes_longer_ends_with_a_time_out() -> None:
    with pytest.raises(TimeoutError), TimeLimit(0.001):
        await for_ever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0  # nothing of it is left for what comes after


async def test_what_is_done_in_time_is_left_alone() -> None:
    with TimeLimit(20):
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="its own"), TimeLimit(20):
        raise ValueError("its own")


async def test_a_cancellation_from_outside_stays_one() -> None:
    entered = asyncio.Event()

    async def work() -> None:
        with TimeLimit(20):
            entered.set()
            await for_ever()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancellation_at_the_same_time_wins() -> None:
    entered = asyncio.Event()

    async def work() -> None:
        limit = TimeLimit(20)
        with limit:
            entered.set()
            await asyncio.sleep(0)
            limit._pass()  # the limit, and before the task runs again somebody else
            await for_ever()

    task = asyncio.create_task(work())
    await entered.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_inner_of_two_limits_ends_what_is_in_it_alone() -> None:
    with TimeLimit(20):
        with pytest.raises(TimeoutError), TimeLimit(0.001):
            await for_ever()
        await asyncio.sleep(0)
