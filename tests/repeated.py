"""Requests that repeat the heads which the fast way of an HTTP listener knows."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.listeners import Served
from tests.sockets import PATIENCE, Streams, hang_up

QUICK = b"GET /quick HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\n\r\n"
FORM = b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nContent-Type: text/plain\r\n\r\n%b"
OTHER = b"GET /quick HTTP/1.1\r\nHost: x\r\nX-Other: y\r\n\r\n"
REFUSAL = re.compile(rb"HTTP/1.1 400 .*", re.DOTALL)
DATE = re.compile(rb"date: [^\r]+")


def form(body: bytes) -> bytes:
    return FORM % (len(body), body)


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(*served.at)
    try:
        yield reader, writer
    finally:
        await hang_up(writer)


async def response(reader: asyncio.StreamReader) -> bytes:
    """Read one response with a length; return it without its date."""
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        return DATE.sub(b"date", head) + await reader.readexactly(int(length[1]) if length else 0)


async def asked(streams: Streams, request: bytes) -> bytes:
    streams[1].write(request)
    return await response(streams[0])


async def learn(served: Served) -> None:
    """Let the full way see both heads."""
    served.application.gate.set()
    async with connected(served) as streams:
        await asked(streams, QUICK)
        await asked(streams, form(b"a=b"))
    assert served.fast.answered == 0
    served.application.bodies.clear()
