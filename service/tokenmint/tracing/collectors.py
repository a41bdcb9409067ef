"""Connections to a collector: OTLP over gRPC, and over HTTP.

The collector may be away, slow or hostile: a response is bounded in bytes, an export in time, and no text of it is
shown. https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-response, #otlphttp-response
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import httpcore2

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import without_mark
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.base.threads import Busy, Threads
from tokenmint.base.tls_files import CA_FILE, client_tls, plain_pem, verifying
from tokenmint.model.secret import Secret
from tokenmint.tracing.export import Collector, ExportFailed
from tokenmint.tracing.options import TracingOptions, is_own

METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PATH: Final = "/v1/traces"
MAX_RESPONSE: Final = 64 * 1024  # bytes
MAX_HEADERS: Final = 32
MAX_VALUE: Final = 8 * 1024  # bytes of one header
ADDRESSES: Final = 4  # of the collector's name that are tried
LOOK_UPS: Final = 4  # look-ups of the collector's name that have not returned
_HEADER: Final = re.compile(
    rb"([A-Za-z0-9][A-Za-z0-9_.-]{0,127})[ \t]*:[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)"
)
_AGAIN: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
    }
)  # fmt: skip
"""The codes after which a retry may help. RESOURCE_EXHAUSTED is none: gRPC itself says it of a response that is too
large."""
_HTTP_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
Headers = tuple[tuple[str, Secret], ...]


def collector_of(options: TracingOptions) -> Collector:
    """Return the connection that the settings ask for. Raises ``ConfigurationError`` if a file can't be used."""
    return GrpcCollector(options) if options.protocol == "grpc" else HttpCollector(options)


def headers_in(setting: str, path: Path) -> RenewedFiles[Headers]:
    """Return the headers in a file, `name: value` in each line, which follow it. Raises ``ConfigurationError``."""

    def made(contents: Sequence[bytes]) -> Headers:
        lines = [line.strip() for line in without_mark(contents[0]).splitlines() if line.strip()]
        found = [_HEADER.fullmatch(line) if len(line) <= MAX_VALUE else None for line in lines]
        pairs = [(match[1].decode().lower(), Secret(match[2])) for match in found if match is not None]
        names = {name for name, _ in pairs}
        if len(names) != len(lines) or len(names) > MAX_HEADERS or any(map(is_own, names)):
            raise ConfigurationError(
                f"{setting}: {path} holds no headers: expected `name: value` in each line, {MAX_HEADERS} lines and "
                f"{MAX_VALUE} bytes in each at most, each name once, and none that the transport sets"
            )
        return tuple(pairs)

    return RenewedFiles([(setting, path)], made)


class _WithHeaders:
    """The headers of requests: those of the file, then those of the environment."""

    def __init__(self, options: TracingOptions) -> None:
        path = options.headers_file
        self.file = headers_in("tracing.headers_file", path) if path is not None else None
        self._others = options.headers

    def now(self) -> list[tuple[str, Secret]]:
        """Return the headers of a request that is made now."""
        own = self.file.value if self.file is not None else ()
        names = {name for name, _ in own}
        return [*own, *((name, value) for name, value in self._others if name not in names)]


class GrpcCollector:
    """OTLP over gRPC. The connection is kept."""

    def __init__(self, options: TracingOptions) -> None:
        self._options = options
        self._headers = _WithHeaders(options)
        self._authorities = _authorities(options.ca_file) if options.ca_file is not None else None
        self._files: list[RenewedFiles[Any]] = [
            one for one in (self._headers.file, self._authorities) if one is not None
        ]
        self._channel: grpc.aio.Channel | None = None
        self._generation = -1

    @property
    def files(self) -> Sequence[RenewedFiles[Any]]:
        """The files that it is made with."""
        return self._files

    async def send(self, body: bytes) -> bytes:
        """Send a request (``Collector.send``)."""
        await self._renew()
        if self._channel is None:
            self._channel = self._connected()
        metadata = tuple((name, value.reveal()) for name, value in self._headers.now())
        export: Any = self._channel.unary_unary(METHOD)
        try:
            async with asyncio.timeout(self._options.timeout):
                response: bytes = await export(body, metadata=metadata, timeout=self._options.timeout)
        except grpc.aio.AioRpcError as error:
            again = error.code() in _AGAIN
            raise ExportFailed(f"the collector answered {error.code().name}", again=again) from None
        except TimeoutError:
            raise ExportFailed(f"the collector did not answer within {self._options.timeout:g} s", again=True) from None
        return response

    def _connected(self) -> grpc.aio.Channel:
        url = self._options.endpoint
        host = f"[{url.host}]" if ":" in url.host else url.host
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", MAX_RESPONSE),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.primary_user_agent", "tokenmint"),
        ]
        if url.scheme == "http":
            return grpc.aio.insecure_channel(f"{host}:{url.port}", options)
        trusted = self._authorities.value if self._authorities is not None else None
        return grpc.aio.secure_channel(f"{host}:{url.port}", grpc.ssl_channel_credentials(trusted), options)

    async def _renew(self) -> None:
        """End a connection that was made with other authorities."""
        generation = self._authorities.generation if self._authorities is not None else 0
        if generation != self._generation:
            self._generation = generation
            await self.close()

    async def close(self) -> None:
        """Close the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(grace=None)


def _authorities(path: Path) -> RenewedFiles[bytes]:
    def made(contents: Sequence[bytes]) -> bytes:
        try:
            verifying(contents[0])
        except ValueError:
            raise ConfigurationError(f"tracing.{CA_FILE}: {path} holds no CA certificates in PEM") from None
        return plain_pem(contents[0])

    return RenewedFiles([(f"tracing.{CA_FILE}", path)], made)


class HttpCollector:
    """OTLP over HTTP, with a new connection for each export: there is one in a second at most."""

    def __init__(self, options: TracingOptions) -> None:
        self._options = options
        self._headers = _WithHeaders(options)
        files = {CA_FILE: options.ca_file} if options.ca_file is not None else {}
        self._tls: RenewedFiles[ssl.SSLContext] | None = None
        if options.endpoint.scheme == "https":
            self._tls = client_tls("tracing", files)
        self._files: list[RenewedFiles[Any]] = [one for one in (self._headers.file, self._tls) if one is not None]
        self._look_ups = Threads("collector", LOOK_UPS)

    @property
    def files(self) -> Sequence[RenewedFiles[Any]]:
        """The files that it is made with."""
        return self._files

    async def send(self, body: bytes) -> bytes:
        """Send a request (``Collector.send``)."""
        try:
            async with asyncio.timeout(self._options.timeout):
                status, response = await self._post(body)
        except TimeoutError:
            raise ExportFailed(f"the collector did not answer within {self._options.timeout:g} s", again=True) from None
        except (httpcore2.NetworkError, httpcore2.TimeoutException, ssl.SSLError, OSError, Busy) as error:
            raise ExportFailed(f"the collector can't be reached ({type(error).__name__})", again=True) from None
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
            raise ExportFailed(f"the collector does not speak HTTP ({type(error).__name__})", again=True) from None
        if status != 200:
            raise ExportFailed(f"the collector answered {status}", again=status in _HTTP_AGAIN)
        return response

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        url = self._options.endpoint
        # In a thread of its own: the loop's threads are for other work, and a name server may hang.
        found = await self._look_ups.run(socket.getaddrinfo, url.host, url.port, 0, socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))[:ADDRESSES]
        share = self._options.timeout / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._post_to(address, body, share)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._post_to(addresses[-1], body, share)

    async def _post_to(self, address: str, body: bytes, share: float) -> tuple[int, bytes]:
        """Send to one address of the collector, with ``share`` seconds for the connection."""
        url = self._options.endpoint
        dialled = httpcore2.URL(scheme=url.scheme, host=address, port=url.port, target=url.target)
        headers = [
            (b"Host", url.authority.encode("ascii")),
            (b"Content-Type", b"application/x-protobuf"),
            (b"Content-Length", str(len(body)).encode()),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"tokenmint"),
            (b"Connection", b"close"),
            *((name.encode(), value.reveal_bytes()) for name, value in self._headers.now()),
        ]
        context = self._tls.value if self._tls is not None else None
        async with (
            httpcore2.AsyncConnectionPool(context) as connections,
            connections.stream(
                "POST",
                dialled,
                headers=headers,
                content=body,
                extensions={"sni_hostname": url.host, "timeout": {"connect": share}},
            ) as response,
        ):
            received = bytearray()
            async for chunk in response.aiter_stream():
                received += chunk
                if len(received) > MAX_RESPONSE:
                    raise ExportFailed(f"the collector answered with more than {MAX_RESPONSE} bytes", again=False)
            return response.status, bytes(received)

    async def close(self) -> None:
        """Do nothing: no connection outlives its request."""
