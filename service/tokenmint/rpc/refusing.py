"""Refusing calls over gRPC at next to no cost: before their message is read and their caller proved.

Refusing takes the time of the calls that are served: where many are refused, it is what decides how many are answered.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeAlias

import grpc.aio

from tokenmint.base.errors import DeadlinePassed, Overloaded, Stopping, TokenmintError
from tokenmint.rpc.status import code_of, trailers

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Answers: TypeAlias = Mapping[str, Callable[[TokenmintError], bytes | None]]
"""Methods whose refusals are messages of their own: returns the bytes of the message, or None for a status as usual."""
NONE: Final[Answers] = MappingProxyType({})


class Refusals:
    """Answers calls that are not begun. Each answer is made once.

    Args:
        answers: the methods whose refusals are messages of their own.
    """

    def __init__(self, answers: Answers = NONE) -> None:
        self._answers = answers
        # None names the delay that gRPC's own retries obey: of Stopping the retry is at once and elsewhere, and
        # RESOURCE_EXHAUSTED is not retried by gRPC.
        errors: tuple[TokenmintError, ...] = (Overloaded(), Stopping(), DeadlinePassed())
        self._statuses = {
            type(error): (code_of(error), error.message, trailers(error, pushback=False)) for error in errors
        }

    async def answer(self, method: str, context: Context, error: TokenmintError) -> bytes:
        """Return the message of a refusal where the method has one; else end the call with its status."""
        answer = self._answers.get(method)
        message = answer(error) if answer is not None else None
        return message if message is not None else await self.abort(context, error)

    async def abort(self, context: Context, error: TokenmintError) -> NoReturn:
        """End the call with the status of a refusal."""
        code, message, trailing = self._statuses[type(error)]
        await context.abort(code, message, trailing_metadata=trailing)
