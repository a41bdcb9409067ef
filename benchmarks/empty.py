"""A server whose exchange answers at once with nothing: the cost of a call on a transport, in a task of its own."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc.aio

from tokenmint.base.capacity import Capacity
from tokenmint.rpc.fast_calls import Event, FastCalls
from tokenmint.rpc.queue_server import QueueServer
from tokenmint.v1 import token_exchange_service_pb2 as pb

SERVICE: Final = "tokenmint.v1.TokenExchangeService"


async def exchange(_request: pb.ExchangeTokenRequest, _context: Any) -> pb.ExchangeTokenResponse:
    """Answer with a text in the place of a token."""
    return pb.ExchangeTokenResponse(token="none")  # noqa: S106  # no token at all


async def exchange_bytes(_messages: Any, context: Any) -> bytes:
    """Answer as :func:`exchange`; `QueueServer` leaves messages to its handlers."""
    request = pb.ExchangeTokenRequest.FromString(await context.read())
    return (await exchange(request, context)).SerializeToString()


class NoGuard:
    """In the place of a guard for `QueueServer`: no method has a fast way."""

    capacity = Capacity(sys.maxsize)

    def has_fast_way(self, _: str) -> bool:
        """Return False."""
        return False

    def fast_calls(self, front: Any, methods: Sequence[str], pass_on: Callable[[list[Event]], None]) -> FastCalls:
        """Return the fast way of no method."""
        return FastCalls(front, [None] * len(methods), self.capacity, pass_on)


def _native() -> Any:
    import pygrpc_native.aio

    server = pygrpc_native.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        exchange, pb.ExchangeTokenRequest.FromString, pb.ExchangeTokenResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"ExchangeToken": handler}),))
    server.add_registered_method_handlers(SERVICE, {"ExchangeToken": handler})
    return server


def _grpcio() -> Any:
    guard: Any = NoGuard()
    server = QueueServer([], guard)
    handler: Any = grpc.stream_unary_rpc_method_handler(exchange_bytes)
    server.add_registered_method_handlers(SERVICE, {"ExchangeToken": handler})
    return server


async def serve(transport: str) -> None:
    """Serve until SIGTERM."""
    server = _native() if transport == "native" else _grpcio()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps({"listen": f"127.0.0.1:{port}"}), flush=True)
    await stop.wait()
    await server.stop(0)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(sys.argv[1]))
