"""An application behind a gateway, and many requests to a gateway on few connections."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager


async def _serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line]
            body = json.dumps([(name.lower(), value.strip()) for name, _, value in lines]).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


@contextmanager
def application() -> Iterator[int]:
    """Serve an application that answers with the headers that reach it, as a list of pairs; yield its port."""
    ready, ports, ends = threading.Event(), list[int](), list[Callable[[], object]]()

    async def serve() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        server = await asyncio.start_server(_serve_one, "127.0.0.1", 0, backlog=1024)
        async with server:
            ports.append(server.sockets[0].getsockname()[1])
            ends.append(lambda: loop.call_soon_threadsafe(over.set))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield ports[0]
    finally:
        ends[0]()
        thread.join(timeout=20)


async def _many(host: str, port: int, requests: Sequence[bytes]) -> list[int]:
    reader, writer = await asyncio.open_connection(host, port)
    statuses = []
    for request in requests:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        await reader.readexactly(length)
        statuses.append(int(head.split(" ")[1]))
    writer.close()
    return statuses


def statuses_of(url: str, headers: Sequence[Mapping[str, str]], connections: int = 16, path: str = "/x") -> list[int]:
    """Send a request with each of these headers, on some connections at a time; return the statuses."""
    host, _, port = url.removeprefix("http://").partition(":")
    lines = ["".join(f"{name}: {value}\r\n" for name, value in one.items()) for one in headers]
    requests = [f"GET {path} HTTP/1.1\r\nHost: orders.example\r\n{line}\r\n" for line in lines]

    async def all_of_them() -> list[list[int]]:
        shares = [[text.encode() for text in requests[at::connections]] for at in range(connections)]
        return await asyncio.gather(*(_many(host, int(port), share) for share in shares))

    return [status for share in asyncio.run(all_of_them()) for status in share]
