"""The listener on its own: a connection that makes room before any part of its handling has run."""

import asyncio
import socket

from tests.sockets import PATIENCE, until_closed

from tokenmint.web.connections import Connections
from tokenmint.web.listener import Listener


async def test_a_connection_that_makes_room_in_the_turn_in_which_it_came_is_closed_at_once() -> None:
    """Its task is cancelled before its first step, which runs no part of it."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        connections = Connections(10, 10)
        listener = Listener(listening, connections, lambda _: asyncio.Protocol(), lambda: None, patience=PATIENCE)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        listener._accept(loop)
        assert len(connections) == 1
        assert connections.make_room()
        assert await until_closed(reader) == b""
        writer.close()
        async with asyncio.timeout(PATIENCE):
            await connections.emptied()
        listener.close()


async def test_without_a_connection_that_waits_there_is_no_shortage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listener = Listener(listening, Connections(1, 1), lambda _: asyncio.Protocol(), lambda: None, patience=PATIENCE)
        assert not listener._awaited()
        with socket.create_connection(listening.getsockname()):
            assert listener._awaited()
