"""Connections that limit the head of an answer.

Any number of interim answers may come before the answer itself (RFC 9110 section 15.2), and the HTTP client reads on
past all of them. Each has to be parsed, so a provider that sends nothing else would take most of a core.
"""

import ssl
from collections.abc import Iterable
from typing import Any, Final

from tokenmint.verification.http_client import httpcore2
from tokenmint.verification.key_source import AnswerUnusable

MAX_HEADS: Final = 16 * 1024  # bytes of an answer's head, and of all interim answers before it
_PART: Final = 2048  # bytes that are read at a time until then: the client parses what it gets in one go


class BoundedHeads(httpcore2.AsyncNetworkBackend):
    """Dials for one request.

    Args:
        url: what is asked, for messages.
    """

    def __init__(self, url: str) -> None:
        self.complete = False
        """Whether the head is complete; all further bytes are the body."""
        self._url = url
        self._read = 0
        self._dialler = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,  # noqa: ASYNC109  # as its base class
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:  # fmt: skip
        """Connect as the HTTP client requests."""
        stream = await self._dialler.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self)

    def most(self, wanted: int) -> int:
        """Return how many bytes may be read at a time."""
        return wanted if self.complete else min(wanted, _PART)

    def count(self, length: int) -> None:
        """Count bytes that were read. Raises ``AnswerUnusable``."""
        self._read += length
        if self._read > MAX_HEADS and not self.complete:
            raise AnswerUnusable(f"{self._url} sends more than {MAX_HEADS} bytes before its answer begins")


class _Stream(httpcore2.AsyncNetworkStream):
    """A stream that counts the bytes that are read. It is above TLS, so the handshake does not count."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, heads: BoundedHeads) -> None:
        self._stream = stream
        self._heads = heads

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # as its base class
        data = await self._stream.read(self._heads.most(max_bytes), timeout)
        self._heads.count(len(data))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as its base class
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None,  # noqa: ASYNC109  # as its base class
    ) -> httpcore2.AsyncNetworkStream:  # fmt: skip
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._heads)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
