"""The export of spans: a bounded queue, and a background task that sends batches to a collector.

Calls never wait for it. Spans beyond the queue are dropped and counted. Spans that were not sent stay in the queue if a
retry can help.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol

import structlog

from tokenmint.base.background import Background
from tokenmint.base.errors import TokenmintError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.tracing.spans import Span

log = structlog.get_logger(__name__)

LAST_WORDS: Final = 1.0  # seconds for the last spans at a stop
TASK: Final = "export of spans"


class ExportFailed(TokenmintError):
    """A collector did not take a batch."""

    reason = "EXPORT_FAILED"
    summary = "the collector did not take spans"

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again
        """Whether a retry may help."""


class Collector(Protocol):
    """A connection to a collector."""

    @property
    def files(self) -> Sequence[RenewedFiles[Any]]:
        """The files that it is made with."""
        ...

    async def send(self, body: bytes) -> bytes:
        """Send an ExportTraceServiceRequest; return the response. It ends in time. Raises ``ExportFailed``."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class Encoding(Protocol):
    """Turns spans into bytes."""

    def encode(self, spans: Sequence[Span]) -> bytes:
        """Return an ExportTraceServiceRequest."""
        ...

    def rejected(self, response: bytes) -> int:
        """Return the number of spans that a collector did not take."""
        ...


class Export:
    """Takes spans, and sends them in the background.

    Args:
        collector: where they go.
        encoding: how they are written.
        most: spans that wait at most.
        batch: spans that are sent together at most.
    """

    def __init__(self, collector: Collector, encoding: Encoding, *, most: int, batch: int) -> None:
        self.collector = collector
        self._encoding = encoding
        self._most = most
        self._batch = batch
        self._waiting: deque[Span] = deque()
        self.sent = 0
        """Spans that the collector took, since the start."""
        self.dropped = 0
        """Spans for which the queue had no room, or which were left at the end."""
        self.refused = 0
        """Spans that the collector did not take, and never will."""
        self._failure = ""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, spans: Sequence[Span]) -> None:
        """Take the spans of one call. Without room for all of them they are dropped and counted."""
        if len(self._waiting) + len(spans) > self._most:
            self.dropped += len(spans)
        else:
            self._waiting.extend(spans)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """The number of spans since the start, by outcome."""
        return {"sent": self.sent, "dropped": self.dropped, "refused": self.refused}

    @property
    def problem(self) -> str:
        """The fault of the export, for operators; "" while every span reached the collector."""
        parts = []
        if self._failure:
            parts.append(f"{len(self._waiting)} spans wait ({self._failure})")
        if lost := self.dropped + self.refused:
            parts.append(f"{lost} spans since the start did not reach the collector")
        return "; ".join(parts)

    async def flush(self) -> None:
        """Send what waits. Raises ``ExportFailed``; spans for which a retry may help stay in the queue."""
        while self._waiting:
            batch = list(islice(self._waiting, self._batch))
            try:
                response = await self.collector.send(self._encoding.encode(batch))
            except ExportFailed as error:
                self._failure = error.message
                if not error.again:
                    self.refused += self._gone(batch)
                raise
            except Exception as error:
                self._failure = type(error).__name__
                self.refused += self._gone(batch)  # else the same batch would fail for ever
                raise
            rejected = min(self._encoding.rejected(response), len(batch))
            self._gone(batch)
            self.refused += rejected
            self.sent += len(batch) - rejected
            self._failure = ""

    def _gone(self, batch: Sequence[Span]) -> int:
        for _ in batch:
            self._waiting.popleft()
        return len(batch)

    def follow(self, background: Background, interval: float) -> None:
        """Send spans every ``interval`` seconds, without end."""
        background.every(TASK, interval, self.flush)

    async def close(self) -> None:
        """Send what waits, within a second, and close the connection."""
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self.flush()
        except Exception:  # noqa: BLE001  # no failure may keep the service from ending
            self.dropped += len(self._waiting)
            log.warning("spans were not sent", count=len(self._waiting))
        self._waiting.clear()
        await self.collector.close()
