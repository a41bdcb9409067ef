"""Calls that the native transport brings in batches, and those of them that are answered at once."""

from collections.abc import Iterable
from typing import Any

from tokenmint.base.capacity import Capacity
from tokenmint.rpc.fast_calls import BATCH, FastCalls

METADATA = (("key", "value"),)


class Front:
    """The transport's front: keeps what is answered, in order with what is written."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def respond(self, call: int, answer: bytes) -> None:
        self.done.append((call, answer))


class Fast:
    """A fast way that recognises messages that begin with `y`."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.asked: list[bytes] = []

    def answer(self, request: bytes, metadata: Iterable[tuple[str, str | bytes]]) -> bytes | None:
        assert tuple(metadata) == METADATA
        self.asked.append(request)
        return request.upper() if request[:1] == b"y" else None

    def write(self) -> None:
        self.front.done.append("written")


def call(number: int, message: bytes = b"yes", method: int = 0, remaining: float | None = None) -> tuple[Any, ...]:
    return 0, number, method, message, None, (METADATA, "peer", remaining)


def calls(limit: int = 10) -> tuple[Front, Fast, FastCalls, Capacity]:
    front, capacity = Front(), Capacity(limit)
    fast = Fast(front)
    return front, fast, FastCalls(front, [fast, None], capacity), capacity


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
