"""Calls that the native transport brings in batches, and those of them that are answered at once."""

import asyncio
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from tokenmint.base.capacity import Capacity
from tokenmint.rpc.fast_calls import BATCH, BATCH_BYTES, FastCalls

METADATA = (("key", "value"),)


class Front:
    """The transport's front: keeps what is answered, in order with what is written."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def respond(self, call: int, answer: bytes) -> None:
        self.done.append((call, answer))


class Fast:
    """A fast way that recognises messages that begin with `y`, and lets those that begin with `w` wait."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.asked: list[bytes] = []
        self.finished: list[str] = []
        self.fetched: asyncio.Future[None] | None = None

    def answer(self, request: bytes, metadata: Iterable[tuple[str, str | bytes]]) -> bytes | str | None:
        assert tuple(metadata) == METADATA
        self.asked.append(request)
        if request[:1] == b"w":
            return request.decode()
        return request.upper() if request[:1] == b"y" else None

    async def fetch(self, pending: Sequence[str]) -> list[str]:
        self.fetched = asyncio.get_running_loop().create_future()
        await self.fetched
        return [f"{one}: fetched" for one in pending]

    def finish(self, pending: str, fetched: str) -> bytes | str | None:
        assert fetched == f"{pending}: fetched"
        self.finished.append(pending)
        if pending == "wait twice":
            return "wait"
        return pending.upper().encode() if pending != "wrong" else None

    def write(self) -> None:
        self.front.done.append("written")


def call(number: int, message: bytes = b"yes", method: int = 0, remaining: float | None = None) -> tuple[Any, ...]:
    return 0, number, method, message, None, (METADATA, "peer", remaining)


def calls(limit: int = 10) -> tuple[Front, Fast, FastCalls, Capacity]:
    front, capacity = Front(), Capacity(limit)
    fast = Fast(front)
    return front, fast, FastCalls(front, [fast, None], capacity, passed_on(front)), capacity


def passed_on(front: Front) -> Any:
    """Keep what is passed on among what is done."""
    return lambda events: front.done.extend(("passed on", event) for event in events)


def test_what_is_recognised_is_answered_and_the_rest_is_handed_on_in_order() -> None:
    front, _, serving, _ = calls()
    others = serving.answer([call(1), call(2, b"no"), call(3, method=1), call(4, b"yet", remaining=5.0)])
    assert [event[1] for event in others] == [2, 3]
    assert front.done == ["written", (1, b"YES"), (4, b"YET")]


def test_exchanges_are_recorded_before_any_of_their_answers_goes_out() -> None:
    front, _, serving, _ = calls()
    assert serving.answer([call(number) for number in range(BATCH + 1)]) == []
    answers = [(number, b"YES") for number in range(BATCH + 1)]
    assert front.done == ["written", *answers[:BATCH], "written", *answers[BATCH:]]


def test_long_answers_do_not_wait_for_many_others() -> None:
    front, _, serving, _ = calls()
    long = b"y" * (BATCH_BYTES // 2)
    assert serving.answer([call(number, long) for number in range(3)]) == []
    assert front.done == ["written", (0, long.upper()), (1, long.upper()), "written", (2, long.upper())]


def test_a_call_that_was_cancelled_or_whose_time_is_over_is_handed_on() -> None:
    front, fast, serving, _ = calls()
    cancelled = (1, 2, 0, None, None, None)
    events = [call(1, remaining=0.0), call(2), cancelled, call(3, remaining=-1.0)]
    assert serving.answer(events) == events
    assert (front.done, fast.asked) == ([], [])


def test_a_call_that_the_capacity_would_refuse_is_handed_on() -> None:
    front, fast, serving, capacity = calls(limit=1)
    in_hand = capacity.enter()
    in_hand.begin()
    assert [event[1] for event in serving.answer([call(1)])] == [1]
    in_hand(None)
    assert serving.answer([call(2)]) == []
    capacity.stopping = True
    assert [event[1] for event in serving.answer([call(3)])] == [3]
    assert (front.done, fast.asked) == (["written", (2, b"YES")], [b"yes"])


async def settled(fast: Fast) -> None:
    """Bring what calls wait for, and let them go on."""
    await asyncio.sleep(0)
    assert fast.fetched is not None
    fast.fetched.set_result(None)
    for _ in range(3):
        await asyncio.sleep(0)


async def test_calls_that_wait_are_answered_together_when_their_profiles_are_there() -> None:
    front, fast, serving, capacity = calls()
    assert serving.answer([call(1, b"wait"), call(2), call(3, b"wrong"), call(4, b"wide", remaining=60.0)]) == []
    assert front.done == ["written", (2, b"YES")]
    assert capacity.in_flight == 3
    await settled(fast)
    assert front.done[2:] == ["written", (1, b"WAIT"), (4, b"WIDE"), ("passed on", call(3, b"wrong"))]
    assert capacity.in_flight == 0
    assert await capacity.idle(0.0)


async def test_a_call_that_waits_and_whose_caller_leaves_is_not_finished() -> None:
    front, fast, serving, capacity = calls()
    assert serving.answer([call(1, b"wait"), call(2, b"wide")]) == []
    cancelled = (1, 1, 0, None, None, None)
    assert serving.answer([cancelled]) == [cancelled]
    assert capacity.in_flight == 1
    await settled(fast)
    assert (front.done, fast.finished, capacity.in_flight) == (["written", (2, b"WIDE")], ["wide"], 0)


async def test_a_call_that_waits_beyond_its_deadline_is_passed_on_with_the_time_that_is_left() -> None:
    front, fast, serving, capacity = calls()
    assert serving.answer([call(1, b"wait", remaining=1e-9), call(2, b"wrong", remaining=60.0)])[0][1] == 1
    assert serving.answer([call(3, b"wait", remaining=0.01)]) == []
    await asyncio.sleep(0.02)
    await settled(fast)
    assert "wait" not in fast.finished
    [(_, event)] = [one for one in front.done if one[0] == "passed on" and one[1][1] == 3]
    assert event[:5] == call(3, b"wait")[:5]
    assert event[5][2] <= 0
    assert capacity.in_flight <= 1  # call 2 still waits, for a read of its own


async def test_calls_that_wait_take_places_of_the_capacity() -> None:
    _, fast, serving, capacity = calls(limit=2)
    events = [call(number, b"wait") for number in range(4)]
    assert serving.answer(events) == events[2:]
    await settled(fast)
    assert serving.answer([call(9)]) == []
    assert capacity.in_flight == 0


async def test_a_call_may_wait_for_one_thing_after_the_other() -> None:
    front, fast, serving, capacity = calls()
    assert serving.answer([call(1, b"wait twice"), call(2, b"wide")]) == []
    await settled(fast)
    assert front.done == ["written", (2, b"WIDE")]
    assert capacity.in_flight == 1, "an answered call takes no place from its caller's next one"
    await settled(fast)
    assert front.done[2:] == ["written", (1, b"WAIT")]
    assert capacity.in_flight == 0


async def test_a_declined_call_does_not_wait_for_what_others_wait_for() -> None:
    front, fast, serving, capacity = calls()
    assert serving.answer([call(1, b"wait twice"), call(2, b"wrong")]) == []
    await settled(fast)
    assert front.done == [("passed on", call(2, b"wrong"))]
    assert capacity.in_flight == 1
    await settled(fast)


async def test_nothing_refers_to_a_call_whose_caller_has_left() -> None:
    """The results for which it waited may take long to come."""

    class Call:
        pass

    _, fast, serving, capacity = calls()
    left = Call()
    gone = weakref.ref(left)
    serving.answer([(0, left, 0, b"wait", None, (METADATA, "peer", None))])
    await asyncio.sleep(0)
    assert serving.holds(left)
    serving.answer([(1, left, 0, None, None, None)])
    assert not serving.holds(left)
    del left
    assert gone() is None
    assert capacity.in_flight == 0
    await settled(fast)


async def test_calls_whose_process_ends_are_not_passed_on() -> None:
    front, _, serving, capacity = calls()
    serving.answer([call(1, b"wait")])
    await asyncio.sleep(0)
    [task] = serving._tasks
    task.cancel()
    await asyncio.wait([task])
    assert (front.done, capacity.in_flight) == ([], 0)
