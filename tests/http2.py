"""An HTTP/2 client that does as the test says, for calls that no gRPC library makes."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from tests.sockets import PATIENCE, hang_up

METHOD: Final = "/tokenmint.v1.KeySetService/GetKeySet"
CALL: Final = {
    ":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": "x", "te": "trailers",
    "content-type": "application/grpc",
}  # fmt: skip
"""The headers that a call has at least."""


def framed(message: bytes, flag: int = 0) -> bytes:
    """Return a message as gRPC sends it: a flag (1: compressed), its length, itself."""
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


@dataclass
class Answer:
    """How a stream ended."""

    headers: dict[str, str] = field(default_factory=dict)
    """Of headers and trailers together."""
    data: bytes = b""
    reset: int | None = None
    """The error code of RST_STREAM, before the answer was complete."""

    @property
    def status(self) -> int | None:
        """gRPC's status code; None where there is none."""
        return int(self.headers["grpc-status"]) if "grpc-status" in self.headers else None

    @property
    def message(self) -> str:
        return unquote(self.headers.get("grpc-message", ""))


class Peer:
    """One connection. It acknowledges nothing by itself, except the data of an answer that the test has waited for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
            )
        )
        self.h2.initiate_connection()
        self.seen: list[h2.events.Event] = []
        self.closed = False
        self.send()

    def send(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def open_stream(self, extra: Iterable[tuple[str, str]] = (), end: bool = False, **changes: str | None) -> int:
        """Send the headers of a call, whose message is to follow. ``changes`` has `content_type` and the like."""
        stream: int = self.h2.get_next_available_stream_id()
        given = {name if name in ("te", "path") else name.replace("_", "-"): value for name, value in changes.items()}
        headers = {name: given.pop(name.lstrip(":"), value) for name, value in CALL.items()}
        assert not given, given
        sent = [(name, value) for name, value in headers.items() if value is not None]
        self.h2.send_headers(stream, [*sent, *extra], end_stream=end)
        self.send()
        return stream

    def call(
        self, extra: Iterable[tuple[str, str]] = (), body: bytes | None = framed(b""), end: bool = True,
        **changes: str | None,
    ) -> int:  # fmt: skip
        """Send a call; without a body it ends with its headers."""
        stream = self.open_stream(extra, end and body is None, **changes)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=end)
            self.send()
        return stream

    async def answer(self, stream: int) -> Answer:
        """Wait for the end of a stream."""
        ended = (h2.events.StreamEnded, h2.events.StreamReset)
        await self.wait(lambda: any(isinstance(e, ended) and e.stream_id == stream for e in self.seen))
        told = Answer()
        for event in self.seen:
            if getattr(event, "stream_id", None) != stream:
                continue
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                told.headers.update((str(name), str(value)) for name, value in event.headers or ())
            elif isinstance(event, h2.events.DataReceived):
                told.data += event.data or b""
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            elif isinstance(event, h2.events.StreamReset) and "grpc-status" not in told.headers:
                told.reset = int(event.error_code or 0)
        self.send()
        return told

    def data(self, stream: int) -> bytes:
        """Return the bytes of a stream's answer that have come so far."""
        events = (event for event in self.seen if isinstance(event, h2.events.DataReceived))
        return b"".join(event.data or b"" for event in events if event.stream_id == stream)

    async def wait(self, done: Callable[[], bool]) -> None:
        """Read until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not done():
                assert await self._read(), f"closed, after {self.seen}"

    async def until(self, kind: type[h2.events.Event] | None) -> Any:
        """Read until there is an event of ``kind``, or, for None, until the service closes the connection."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [event for event in self.seen if kind is not None and isinstance(event, kind)]
                if found:
                    return found[0]
                if not await self._read():
                    assert kind is None, f"closed before there was {kind}, after {self.seen}"
                    return None

    async def _read(self) -> bool:
        try:
            data = await self.reader.read(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return False
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:  # h2 expects nothing after GOAWAY; gRPC pings once more
            events = [h2.events.ConnectionTerminated()]
        self.seen += events
        return True

    async def settle(self) -> None:
        """Wait for the server's settings, and acknowledge them: from then on they hold for what is sent."""
        await self.until(h2.events.RemoteSettingsChanged)
        self.send()


@asynccontextmanager
async def connected(address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Connect to `host:port`."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        yield Peer(reader, writer)
    finally:
        await hang_up(writer)
