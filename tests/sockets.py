"""Raw TCP clients of an HTTP listener: what they send is what the test says, byte by byte."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PATIENCE = 20.0  # seconds that a test waits for what has to come
UNFINISHED = {
    "nothing": b"",
    "half a request line": b"GET /.well-known/jw",
    "half a header": b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "half a body": b"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na=",
    "Expect: 100-continue, and nothing": (
        b"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    ),
    "a chunk extension without an end": (
        b"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=" + b"b" * 1000
    ),
    "trailers without an end": (
        b"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: 1\r\n"
    ),
    "half a second request": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea",
}
"""Beginnings of requests, after which a client may send no more."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Place = tuple[str, int]


def place(address: str) -> Place:
    """Read `host:port`."""
    host, _, port = address.rpartition(":")
    return host, int(port)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and have it closed before the test ends.

    Closing alone leaves it open where TLS waits for the other side's close_notify, or where nobody reads the rest. The
    transport is then found unclosed in the middle of a later test.
    """
    writer.close()
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def held(at: Place, count: int, sent: bytes, local: str = "127.0.0.1") -> AsyncIterator[list[Streams]]:
    """Hold ``count`` connections on which ``sent`` was sent."""
    opened: list[Streams] = []
    try:
        for _ in range(count):
            streams = await asyncio.open_connection(*at, local_addr=(local, 0))
            opened.append(streams)
            with contextlib.suppress(ConnectionError):
                streams[1].write(sent)
                await streams[1].drain()
        yield opened
    finally:
        for _, writer in opened:
            await hang_up(writer)


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """Wait until the service closes the connection; return what it said before."""
    said = b""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                said += part
    return said


async def answer(at: Place, request: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Send a request; return everything that is answered until the service closes the connection."""
    name = "localhost" if context is not None else None
    reader, writer = await asyncio.open_connection(*at, ssl=context, server_hostname=name)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(request)
        return await until_closed(reader)
    finally:
        await hang_up(writer)


def get(path: str, *lines: str) -> bytes:
    """Return a request after which the connection ends."""
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *lines, "", "")).encode()


async def status(at: Place, path: str, context: ssl.SSLContext | None = None) -> int:
    """Ask for a path on a connection of its own; return the status, 0 for none."""
    said = await answer(at, get(path), context)
    return int(said.split(b" ", 2)[1]) if said else 0
