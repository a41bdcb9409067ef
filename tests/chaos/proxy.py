"""TCP proxies between replicas and their store, in a process of their own: they reset connections when told to.

A reset is a real RST: SO_LINGER of zero (socket(7)), then close(2). It reads commands from standard input, one JSON
object a line, and answers each with one: ``{"port": 4711, "which": "idle"}`` → ``{"reset": 3}``.
"""

import asyncio
import contextlib
import json
import socket
import struct
import sys
from typing import Any, Final

BUSY_LIMIT: Final = 3.0  # seconds to wait for a connection that waits for an answer
LINGER: Final = struct.pack("ii", 1, 0)
CHUNK: Final = 65536


class Pair:
    """One connection of a replica, and the one to the store that it is forwarded to."""

    def __init__(self, ours: asyncio.StreamWriter, theirs: asyncio.StreamWriter) -> None:
        self._ours = ours
        self._theirs = theirs
        self.waiting = False
        """Whether the replica has sent something that the store has not answered yet."""

    def reset(self) -> None:
        """Send RST to the replica, and leave the store."""
        reset(self._ours)
        self._theirs.transport.abort()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool) -> None:
        """Forward one direction until it ends."""
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                self.waiting = asks
                writer.write(data)
                await writer.drain()


class Proxy:
    """Forwards what connects to :attr:`port` to a server on loopback."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._pairs: set[Pair] = set()
        self._listener: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more, and wait for every connection to end."""
        if self._listener is not None:
            self._listener.close()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self._server)
        except OSError:
            reset(writer)  # what a client of a server that is gone would see later or sooner
            return
        pair = Pair(writer, requests)
        self._pairs.add(pair)
        directions = [
            asyncio.create_task(pair.forward(reader, requests, asks=True)),
            asyncio.create_task(pair.forward(answers, writer, asks=False)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pairs.discard(pair)
            for direction in directions:
                direction.cancel()
            for end in (writer, requests):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def reset(self, *, busy: bool) -> int:
        """Reset every connection that is idle, or one that waits for an answer. Returns how many were."""
        deadline = asyncio.get_running_loop().time() + BUSY_LIMIT
        while True:
            chosen = [pair for pair in self._pairs if pair.waiting is busy]
            if chosen or not busy or asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0)
        chosen = chosen[:1] if busy else chosen
        for pair in chosen:
            self._pairs.discard(pair)
            pair.reset()
        return len(chosen)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    writer.transport.abort()


async def serve(server: int, count: int) -> None:
    """Run ``count`` proxies to a port until standard input ends."""
    proxies = [Proxy(server) for _ in range(count)]
    for proxy in proxies:
        await proxy.start()
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    _answer({"ports": [proxy.port for proxy in proxies]})
    while line := await commands.readline():
        command = json.loads(line)
        proxy = next(proxy for proxy in proxies if proxy.port == command["port"])
        _answer({"reset": await proxy.reset(busy=command["which"] == "busy")})


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


class Proxies:
    """The proxies' process, as the lane sees it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self.ports: list[int] = []

    async def start(self, server: int, count: int) -> None:
        """Start it."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.proxy", str(server), str(count),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.ports = (await self._read())["ports"]

    async def reset(self, port: int, which: str) -> int:
        """Reset connections of one proxy, "idle" or "busy" ones. Returns how many."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"port": port, "which": which}).encode() + b"\n")
        return int((await self._read())["reset"])

    async def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the proxies between replicas and store have ended")
        value: dict[str, Any] = json.loads(line)
        return value

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
