"""The audit trail: one structured event for each exchange, refusal and admin action.

Each event is a line of the log at once. It also goes to a capped stream in the store: for an admin action before the
action, confirmed, so that what can't be recorded is not done (a key's revocation waits for the record and not for its
confirmation); for exchanges a moment later and in batches, so that they do not wait for it. No event holds a token, a
secret or a key; a token is named by its SHA-256.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

import structlog

from tokenmint.background import Background
from tokenmint.clock import Clock
from tokenmint.errors import StoreUnavailable
from tokenmint.storage.redis import Store
from tokenmint.telemetry import json_text

log = structlog.get_logger("tokenmint.audit")

STREAM: Final = "audit"
MAX_EVENTS: Final = 100_000  # kept in the stream, the oldest go first
MAX_WAITING: Final = 10_000  # not yet in the stream
BATCH: Final = 200
PAUSE: Final = 0.2  # seconds between batches
RETRY: Final = 1.0  # seconds at most between attempts to reach the stream again

Event = Mapping[str, object]


class AuditTrail:
    """Records events.

    Args:
        store: where the stream is.
        clock: what events are stamped with.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._log = log.bind()  # once, and not for each event
        self._waiting: deque[bytes] = deque()
        self.dropped = 0
        """How many events are in the log alone, because the stream could not keep up."""

    async def record(self, event: Event, *, confirm: bool = True) -> None:
        """Record an event, durably to ``confirm`` it, before what it tells of is done. Raises as ``Store.append``."""
        await self._store.append(STREAM, [self._line(event)], limit=MAX_EVENTS, confirm=confirm)

    def note(self, event: Event, *, keep: bool = True) -> None:
        """Record an event of what was done: in the log now, and, to ``keep`` it, in the stream soon."""
        line = self._line(event)
        if not keep:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(line)

    def _line(self, event: Event) -> bytes:
        known = {name: value for name, value in event.items() if value not in ("", None)}
        self._log.info("audit", **known)
        known["time"] = round(self._clock.now(), 3)
        return json_text(known).encode()

    async def flush(self) -> None:
        """Bring what waits into the stream. Raises ``StoreUnavailable``; what was not brought goes on waiting."""
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
            await self._store.append(STREAM, batch, limit=MAX_EVENTS, confirm=False)
            for line in batch:
                if self._waiting and self._waiting[0] is line:
                    self._waiting.popleft()

    def follow(self, background: Background) -> None:
        """Keep the stream up to date, for ever."""
        background.every("audit stream", PAUSE, self.flush, longest=RETRY)

    async def close(self) -> None:
        """Bring the rest into the stream, where that works within a second."""
        try:
            async with asyncio.timeout(1.0):
                await self.flush()
        except (StoreUnavailable, TimeoutError):
            log.warning("audit events are in the log alone", count=len(self._waiting))
