"""A server whose exchange answers at once with nothing: the cost of a call on a transport."""

import asyncio
import json
import signal
import sys
from typing import Any, Final

import grpc.aio

from tokenmint.v1 import token_exchange_service_pb2 as pb

SERVICE: Final = "tokenmint.v1.TokenExchangeService"


async def exchange(_request: pb.ExchangeTokenRequest, _context: Any) -> pb.ExchangeTokenResponse:
    """Answer with a text in the place of a token."""
    return pb.ExchangeTokenResponse(token="none")  # noqa: S106  # no token at all


async def serve(transport: str) -> None:
    """Serve until SIGTERM."""
    if transport == "native":
        import pygrpc_native.aio

        server: grpc.aio.Server = pygrpc_native.aio.server()
    else:
        server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        exchange, pb.ExchangeTokenRequest.FromString, pb.ExchangeTokenResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"ExchangeToken": handler}),))
    server.add_registered_method_handlers(SERVICE, {"ExchangeToken": handler})
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
