"""pygrpc-native's server, with the additions that it lacks."""

import asyncio
from typing import Any

import grpc
import pytest

PATIENCE = 20.0


class Open:
    """A guard that lets every call through, and answers none itself."""

    def before(self, front: Any) -> Any:
        return front

    def fast_calls(self, *_: Any) -> "Open":
        return self

    def answer(self, events: Any) -> Any:
        return events


async def test_a_call_that_is_cancelled_before_its_first_step_is_kept_by_nobody() -> None:
    """Its task runs no part of itself, not even the part that would take it out of the table of calls."""
    package = pytest.importorskip("pygrpc_native", reason="the extra `native` is not installed")
    from tokenmint.rpc import native

    begun: list[bytes] = []

    async def answer(request: bytes, _: Any) -> bytes:
        begun.append(request)
        return b""

    guard: Any = Open()
    server: Any = native.server([], guard)
    server.add_registered_method_handlers("x.Y", {"Z": grpc.unary_unary_rpc_method_handler(answer)})
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        for call in range(10**6, 10**6 + 50):
            server._on_events([(package.EVENT_CALL, call, 0, b"", None, ((), "ipv4:192.0.2.1:1", None))])
            server._on_events([(package.EVENT_CANCEL, call, 0, b"", None, None)])
        assert len(server._calls) == 50
        async with asyncio.timeout(PATIENCE):
            while server._calls:  # noqa: ASYNC110  # what is awaited is done in the event loop
                await asyncio.sleep(0)
        assert not begun
    finally:
        await server.stop(0)
