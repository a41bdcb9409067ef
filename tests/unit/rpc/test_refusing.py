"""Calls that are refused before they are begun."""

import asyncio
from typing import Any

import grpc.aio
import pytest

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
