"""Refusal of gRPC calls at low cost: before their message is read and their caller authenticated.

A refusal takes time from the calls that are served. Under overload its cost decides how many calls are answered.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn, Protocol, TypeAlias

import grpc
import grpc.aio

from tokenmint.base.capacity import Capacity
from tokenmint.base.errors import DeadlinePassed, Overloaded, Stopping, TokenmintError
from tokenmint.rpc.status import code_of, trailers

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Answers: TypeAlias = Mapping[str, Callable[[TokenmintError], bytes | None]]
"""Methods with messages for refusals: returns the bytes of the message, or None to send a status."""
NONE: Final[Answers] = MappingProxyType({})


class Unserved(Protocol):
    """A call that no task serves."""

    def time_remaining(self) -> float:
        """Return the seconds until its deadline."""
        ...

    def answer(self, message: bytes, tag: object) -> bool:
        """End the call with a response. Returns whether it could."""
        ...

    def refuse(self, code: grpc.StatusCode, details: str, trailing: Sequence[tuple[str, str | bytes]] = ()) -> None:
        """End the call with a status."""
        ...


class Refusals:
    """Answers calls that are refused before they start. Each response is built once.

    Args:
        answers: the methods with messages for refusals.
    """

    def __init__(self, answers: Answers = NONE) -> None:
        self._answers = answers
        # None of them sends the delay that gRPC's own retries obey: after Stopping a retry is immediate and goes
        # elsewhere, and gRPC does not retry RESOURCE_EXHAUSTED.
        errors: tuple[TokenmintError, ...] = (Overloaded(), Stopping(), DeadlinePassed())
        self._statuses = {
            type(error): (code_of(error), error.message, trailers(error, pushback=False)) for error in errors
        }

    async def answer(self, method: str, context: Context, error: TokenmintError) -> bytes:
        """Return the method's message for a refusal, or end the call with its status."""
        answer = self._answers.get(method)
        message = answer(error) if answer is not None else None
        return message if message is not None else await self.abort(context, error)

    def end(self, method: str, call: Unserved, capacity: Capacity, *, bounded: bool) -> bool:
        """End a call that can't be served, without a task for it, and count it. Returns whether it was ended."""
        error = capacity.refusal(bounded=bounded)
        if error is None:
            if call.time_remaining() > 0:
                return False
            error = DeadlinePassed()
            capacity.count(error.reason)
        answer = self._answers.get(method)
        message = answer(error) if answer is not None else None
        if message is None or not call.answer(message, None):
            call.refuse(*self._statuses[type(error)])
        return True

    async def abort(self, context: Context, error: TokenmintError) -> NoReturn:
        """End the call with the status of a refusal, unless the transport has ended the call meanwhile."""
        code, message, trailing = self._statuses[type(error)]
        try:
            await context.abort(code, message, trailing_metadata=trailing)
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None
