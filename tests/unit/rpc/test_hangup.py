"""Hanging up before a stop: what is connected hears it, and nobody comes after that."""

import asyncio
import socket

import grpc.aio
import pytest
from tests.sockets import PATIENCE

from tokenmint.base.addresses import Address
from tokenmint.rpc.hangup import hang_up


async def test_after_it_nobody_connects_and_who_had_connected_reads_the_end() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(PATIENCE):
            await reader.readexactly(9)  # the server's SETTINGS: it has accepted
            assert hang_up(Address("127.0.0.1", port)) == 1
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            await reader.read()
        writer.transport.abort()
        socket.create_connection(other.getsockname(), timeout=PATIENCE).close()
    async with asyncio.timeout(PATIENCE):
        await server.stop(None)
    assert hang_up(Address("127.0.0.1", port)) == 0
