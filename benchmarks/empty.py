"""A server whose exchange answers at once with nothing: what a call costs on a transport, whatever it is about."""

import asyncio
import json
import signal
import sys
from typing import Any

import grpc.aio

from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1 import token_exchange_service_pb2_grpc as pb_grpc


class Empty(pb_grpc.TokenExchangeServiceServicer):
    """Answers with a text in the place of a token."""

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, context: Any) -> pb.ExchangeTokenResponse:  # noqa: N802
        return pb.ExchangeTokenResponse(token="none")  # noqa: S106  # no token at all


async def serve(transport: str) -> None:
    """Serve until SIGTERM."""
    if transport == "native":
        import pygrpc_native.aio

        server: grpc.aio.Server = pygrpc_native.aio.server()
    else:
        server = grpc.aio.server()
    pb_grpc.add_TokenExchangeServiceServicer_to_server(Empty(), server)
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
