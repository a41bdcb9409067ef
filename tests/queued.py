"""A server whose calls are taken from the core's queue, with as much of a guard as it needs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from tokenmint.base.capacity import Capacity
from tokenmint.rpc.fast_calls import FastCalls
from tokenmint.rpc.queue_server import QueueServer
from tokenmint.rpc.refusing import Refusals

SERVICE = "tests.Queue"
FAST, SLOW, STREAM = f"/{SERVICE}/Fast", f"/{SERVICE}/Slow", f"/{SERVICE}/Stream"


class Fast:
    """A fast way that recognises messages that begin with `y`, and lets those that begin with `w` wait for ever."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.waits = asyncio.Event()
        self.written = 0

    def answer(self, request: bytes, _: Iterable[Any]) -> bytes | str | None:
        self.asked.append(request)
        if request[:1] == b"w":
            return request.decode()
        return request.upper() if request[:1] == b"y" else None

    async def fetch(self, pending: Sequence[str]) -> list[str]:
        self.waits.set()
        await asyncio.Event().wait()
        return list(pending)

    def finish(self, pending: str, fetched: str) -> bytes | None:
        raise AssertionError

    def write(self) -> None:
        self.written += 1


class Guard:
    """As much of a guard as a server needs; its handlers note how they were asked."""

    def __init__(self) -> None:
        self.fast = Fast()
        self.counted: list[str] = []
        self.capacity = Capacity(10, self.counted.append)
        self.refusals = Refusals()
        self.address = ""
        self.handled = 0
        self.began, self.hangs, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def refuses(self, method: str, call: Any) -> bool:
        return self.refusals.end(method, call, self.capacity, bounded=True)

    def has_fast_way(self, method: str) -> bool:
        return method == FAST

    def fast_calls(self, front: Any, methods: Sequence[str], pass_on: Callable[[list[Any]], None]) -> FastCalls:
        ways = [self.fast if method == FAST else None for method in methods]
        return FastCalls(front, ways, self.capacity, pass_on)

    async def unary(self, _: AsyncIterator[bytes], context: Any) -> bytes:
        self.handled += 1
        self.began.set()
        try:
            return await self._answer(context)
        finally:
            self.over.set()

    async def _answer(self, context: Any) -> bytes:
        message = await context.read()
        if message is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no message")
        if message in (b"hang", b"wait"):  # the fast way leaves a call here that came too late for it
            self.hangs.set()
            await asyncio.Event().wait()
        if message == b"fail":
            raise ValueError("secret")
        if message == b"cancelled":
            raise asyncio.CancelledError
        return b"slowly: " + bytes(message)

    async def stream(self, messages: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message * 2


@asynccontextmanager
async def serving(*options: tuple[str, Any]) -> AsyncIterator[tuple[Guard, QueueServer, Any]]:
    """Serve with channel arguments; the client's channel retries nothing."""
    guard = Guard()
    server = QueueServer(options, guard)  # type: ignore[arg-type]  # as much of one as it needs
    unary: Any = grpc.stream_unary_rpc_method_handler(guard.unary)
    stream: Any = grpc.stream_stream_rpc_method_handler(guard.stream)
    server.add_registered_method_handlers(SERVICE, {"Fast": unary, "Slow": unary, "Stream": stream})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        plain = [("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=plain) as channel:
            guard.address = f"127.0.0.1:{port}"
            yield guard, server, channel
    finally:
        await server.stop(0)
