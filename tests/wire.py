"""A TCP proxy between the service and its store: it records what is on the wire, resets connections, and ends TLS."""

import asyncio
import contextlib
import resource
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import redis
from tests.ports import own_port

from tokenmint.storage.embedded import find_engine

LIMIT: Final = 20.0  # seconds
RECORD: Final = 4 << 20  # bytes that are kept of each wire
HANDSHAKE: Final = 0x16
"""The type of the first TLS record of a connection (RFC 8446 section 5.1)."""


class Wire:
    """Listens on loopback and hands on what comes, in a thread of its own.

    Args:
        upstream: the store's port, or the path of its socket; may be set later.
        tls: ends TLS here; ``upstream`` gets what was in it.
        replace: what is written instead of some bytes of the answers, for addresses that they announce.
    """

    def __init__(
        self,
        upstream: int | str = 0,
        *,
        tls: ssl.SSLContext | None = None,
        replace: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self.upstream = upstream
        self.replace = dict(replace or {})
        self.first: list[int] = []
        """The first byte of each connection that a client made."""
        self.recorded = bytearray()
        """Return the bytes of clients and of their answers, as they were on the wire."""
        self._tls = tls
        self._inner = 0
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port: int = self._call(self._listen())

    def reset(self) -> int:
        """Reset every connection of clients (RST, by SO_LINGER with 0 seconds). Returns how many there were."""
        return self._call(self._reset())

    def close(self) -> None:
        """Take everything down."""
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT)
        self._loop.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, int]) -> int:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT)

    async def _listen(self) -> int:
        if self._tls is not None:
            self._end = await asyncio.start_server(self._plain, "127.0.0.1", 0, ssl=self._tls)
            self._inner = self._end.sockets[0].getsockname()[1]
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _reset(self) -> int:
        found = [writer for writer in self._clients if not writer.is_closing()]
        for writer in found:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return len(found)

    async def _stop(self) -> int:
        self._server.close()
        if self._tls is not None:
            self._end.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return 0

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            if self._tls is None:
                await self._hand_on(
                    reader, writer, self.upstream, self._record, lambda data: self._record(self._new(data))
                )
            else:
                await self._hand_on(reader, writer, self._inner, self._record, self._record)
        finally:
            self._clients.discard(writer)

    async def _plain(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._hand_on(reader, writer, self.upstream, lambda data: data, self._new)

    def _record(self, data: bytes) -> bytes:
        self.recorded += data[: max(0, RECORD - len(self.recorded))]
        return data

    def _new(self, data: bytes) -> bytes:
        for before, after in self.replace.items():
            data = data.replace(before, after)
        return data

    async def _hand_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: int | str,
        sent: Callable[[bytes], bytes],
        answered: Callable[[bytes], bytes],
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there: asyncio.StreamWriter | None = None
        pumps: list[asyncio.Future[None]] = []
        try:
            data = await reader.read(1 << 16)
            if not data:
                return
            if writer in self._clients:
                self.first.append(data[0])
            back, there = await (
                asyncio.open_unix_connection(upstream)
                if isinstance(upstream, str)
                else asyncio.open_connection("127.0.0.1", upstream)
            )
            there.write(sent(data))
            pumps = [
                asyncio.ensure_future(_pump(reader, there, sent)),
                asyncio.ensure_future(_pump(back, writer, answered)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            pass  # the store is away, or the test is over
        finally:
            for pump in pumps:
                pump.cancel()
            for one in (writer, there):
                if one is not None:
                    one.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]) -> None:
    with contextlib.suppress(OSError, RuntimeError):  # one end has gone
        while data := await reader.read(1 << 16):
            writer.write(change(data))
            await writer.drain()


class Engine:
    """A real Valkey on a port of loopback, which can be killed and started again."""

    def __init__(self, directory: Path, *arguments: str, port: int = 0, password: str | None = None) -> None:
        directory.mkdir(exist_ok=True, parents=True)
        self.port = port or own_port()
        self._command = [
            find_engine().path, *arguments, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis.Redis(port=self.port, socket_timeout=LIMIT, password=password)

    def start(self) -> "Engine":
        """Start it, and wait until it answers and has loaded its data: another program may have its port first."""
        pause, deadline = threading.Event(), time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    restore_signals=False,  # SIGXFSZ stays ignored: beyond a limit of its files a write fails
                )  # fmt: skip
            try:
                if self.client.info("server")["process_id"] == self._process.pid:
                    return self
            except (redis.RedisError, OSError):
                pass
            pause.wait(0.02)
        raise AssertionError(f"the engine did not start on port {self.port}")

    def limit_files(self, size: int) -> None:
        """Let no file grow beyond ``size`` bytes (-1: any size), as on a full disk, but with EFBIG for ENOSPC."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def kill(self) -> None:
        """End it as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT)

    def __enter__(self) -> "Engine":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.kill()
