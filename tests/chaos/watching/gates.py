"""A verifier's way to the replicas: forwards each of its connections to one that is there, until it is cut."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from tests.chaos.proxy import CHUNK, reset
from tests.chaos.watching.seen import Connection


class Gate:
    """Listens on a port of loopback.

    Args:
        choose: returns the number and the address of a replica; None: none is there.
        opened: is given each connection, whose end is written down in it.
    """

    def __init__(self, language: str, choose: Callable[[], tuple[int, str] | None], opened: list[Connection]) -> None:
        self._language = language
        self._choose = choose
        self._opened = opened
        self._listener: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._cut = False
        self.place = ""

    async def start(self) -> None:
        """Listen on a free port."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.place = f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection, and each new one, until :meth:`mend`."""
        self._cut = True
        for end in list(self._ends):
            reset(end)

    def mend(self) -> None:
        """Forward connections again."""
        self._cut = False

    async def stop(self) -> None:
        """Listen no more, and end every connection."""
        if self._listener is not None:
            self._listener.close()
        self.cut()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        chosen = None if self._cut else self._choose()
        if chosen is None:
            reset(writer)
            return
        number, place = chosen
        host, _, port = place.rpartition(":")
        try:
            answers, requests = await asyncio.open_connection(host, int(port))
        except OSError:
            reset(writer)
            return
        connection = Connection(self._language, number, time.time())
        self._opened.append(connection)
        self._ends |= {writer, requests}
        directions = [asyncio.create_task(_forward(reader, requests)), asyncio.create_task(_forward(answers, writer))]
        try:
            if not self._cut:  # meanwhile
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connection.closed = time.time()
            self._ends -= {writer, requests}
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            for end in (writer, requests):
                end.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
