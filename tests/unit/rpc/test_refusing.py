"""Calls that are refused before they start."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from tokenmint.base.capacity import Capacity
from tokenmint.base.errors import DeadlinePassed, Overloaded, Stopping, TokenmintError
from tokenmint.rpc.refusing import Refusals


class Ended:
    """The context of a call that the transport has ended, for a frame that breaks the protocol, say."""

    async def abort(self, *_: Any, **__: Any) -> None:
        raise grpc.aio.InternalError


@pytest.mark.parametrize("error", [Overloaded(), Stopping(), DeadlinePassed()])
async def test_the_refusal_of_a_call_that_is_over_is_no_error_of_the_service(error: TokenmintError) -> None:
    """Raised further, the transport would log it: a flood of such calls, a flood of lines."""
    context: Any = Ended()
    with pytest.raises(asyncio.CancelledError):
        await Refusals().abort(context, error)


class Waiting:
    """A call that no task serves."""

    def __init__(self, remaining: float = 1.0, *, over: bool = False) -> None:
        self._remaining, self._over = remaining, over
        self.told: list[Any] = []

    def time_remaining(self) -> float:
        return self._remaining

    def answer(self, message: bytes, tag: object) -> bool:
        self.told.append(message)
        return not self._over

    def refuse(self, code: grpc.StatusCode, details: str, trailing: Any = ()) -> None:
        info = error_details_pb2.ErrorInfo()
        status = status_pb2.Status.FromString(dict(trailing)["grpc-status-details-bin"])
        status.details[0].Unpack(info)
        self.told.append((code, info.reason))


def full() -> tuple[Capacity, list[str]]:
    counted: list[str] = []
    capacity = Capacity(1, counted.append)
    capacity.enter().begin()
    return capacity, counted


def test_a_call_that_can_be_served_is_left_alone() -> None:
    capacity, counted = full()
    call, free = Waiting(), Waiting()
    assert not Refusals().end("/m", call, Capacity(1), bounded=True)
    assert not Refusals().end("/m", free, capacity, bounded=False)
    assert (call.told, free.told, counted) == ([], [], [])


@pytest.mark.parametrize(
    ("remaining", "stopping", "expected"),
    [
        (1.0, False, (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")),
        (1.0, True, (grpc.StatusCode.UNAVAILABLE, "STOPPING")),
        (0.0, False, (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")),
    ],
)
def test_a_call_without_a_place_is_ended_and_counted(remaining: float, stopping: bool, expected: Any) -> None:
    capacity, counted = full()
    capacity.stopping = stopping
    call = Waiting(remaining)
    assert Refusals().end("/m", call, capacity, bounded=True)
    assert (call.told, counted) == ([expected], [expected[1]])


def test_a_call_whose_deadline_has_passed_is_ended_and_counted() -> None:
    counted: list[str] = []
    call = Waiting(0.0)
    assert Refusals().end("/m", call, Capacity(1, counted.append), bounded=True)
    assert (call.told, counted) == ([(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")], ["DEADLINE"])


@pytest.mark.parametrize("over", [False, True])
def test_a_method_with_a_message_of_its_own_answers_with_it_if_it_can(over: bool) -> None:
    capacity, _ = full()
    call = Waiting(over=over)
    refusals = Refusals({"/m": lambda error: error.reason.encode()})
    assert refusals.end("/m", call, capacity, bounded=True)
    assert call.told[0] == b"OVERLOADED"
    assert call.told[1:] == ([(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")] if over else [])
