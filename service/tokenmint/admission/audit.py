"""The audit trail: one structured event for each exchange, refusal and admin action.

Each event is at once a line of the log. It also goes to a capped stream in the store. For an admin action this happens
before the action and is confirmed, so that an action that can't be recorded is not done; a key's revocation waits for
the record but not for its confirmation. Events of exchanges follow in batches a moment later, so that exchanges do not
wait. No event holds a token, a secret or a key; a token is identified by its SHA-256.

Operators' actions have their own stream, which clients' calls can't fill. In the other stream, the number of refusals
of one client is limited; the rest are counted there (:mod:`tokenmint.admission.refusal_budget`) and are in the log one
by one.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
import structlog

from tokenmint.admission.audit_stream import LAST_ATTEMPT, AuditStream, Size
from tokenmint.admission.refusal_budget import RefusalBudget
from tokenmint.base.background import Background
from tokenmint.base.clock import Clock
from tokenmint.base.errors import AuditUnavailable
from tokenmint.base.logs import MAX_LINE, json_lines, stamp
from tokenmint.base.telemetry import bounded_json
from tokenmint.storage import shards
from tokenmint.storage.redis import Store

log = structlog.get_logger("tokenmint.admission.audit")

EXCHANGES: Final = "audit"
"""The stream of exchanges, unless it is spread over shards. Earlier versions wrote operators' actions here too."""
EXCHANGE_SHARDS: Final = shards.names(EXCHANGES)
"""Every key that may have events of exchanges, for any number of shards in use."""
ADMIN: Final = "audit:admin"
"""The stream of operators' actions."""
PAUSE: Final = 0.2  # seconds between batches
RETRY: Final = 1.0  # seconds at most between attempts to reach the stream again
SUMMARY: Final = 10.0  # seconds between summaries of the refusals beyond the budget
CLOSING: Final = 1.0  # seconds for the last batches while the process stops
TIDYING: Final = 60.0  # seconds between looks for outdated events in shards that are not in use

Event = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """The size of the trail, and whether exchanges require it."""

    required: bool = False
    """Whether an exchange is refused if neither the log nor the stream accepts its event."""
    exchange_events: int = 100_000
    exchange_bytes: int = 64 * 1024 * 1024
    shards: int = 1
    """The number of keys that the stream of exchanges is spread over."""
    admin_events: int = 100_000
    admin_bytes: int = 32 * 1024 * 1024
    event_bytes: int = 8 * 1024
    waiting_events: int = 10_000
    """The limits of events that are not in the stream yet, for each stream."""
    waiting_bytes: int = 8 * 1024 * 1024
    refusals_per_second: float = 10.0
    """Refusals of one client that are recorded one by one in the stream."""
    refusals_at_once: int = 500


class AuditTrail:
    """Records events.

    Args:
        store: holds the streams.
        clock: the time of events.
        limits: the size of the trail.
        log_works: returns whether the log will probably accept an audit event, at its level.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: AuditLimits | None = None,
        *,
        log_works: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits = limits or AuditLimits()
        self._log_works = log_works
        self._log = log.bind()  # once, and not for each event
        self._json_writer = json_lines()
        waiting = (limits.waiting_events, limits.waiting_bytes)
        exchanges = Size(limits.exchange_events, limits.exchange_bytes, *waiting)
        self._exchanges = AuditStream(shards.in_use(EXCHANGES, limits.shards), exchanges, clock.monotonic)
        self._admin = AuditStream((ADMIN,), Size(limits.admin_events, limits.admin_bytes, *waiting), clock.monotonic)
        self._refusals = RefusalBudget(limits.refusals_per_second, limits.refusals_at_once, clock.monotonic)
        self._summary_due = clock.monotonic() + SUMMARY
        self._not_logged = 0
        self._log_error = ""

    # --- recording -----------------------------------------------------------------------------------------------

    async def record(self, event: Event, *, durable: bool = True) -> None:
        """Record an event before its action; ``durable``: the store confirms it first. Raises as ``Store.append``."""
        await self._stream_of(event).write(self._store, [self._line(event)], durable=durable)

    def note(self, event: Event, *, keep: bool = True) -> None:
        """Record an event after its action: in the log now and, if ``keep``, in the stream soon."""
        line = self._line(event)
        if not keep:
            return
        stream, caller, reason = self._stream_of(event), str(event.get("caller", "")), event.get("reason")
        if stream is self._exchanges and reason and not self._refusals.take(caller, str(reason)):
            return
        stream.add(line)

    def note_minted(self, events: Sequence[bytes]) -> None:
        """Record events of exchanges that minted, each as :meth:`note` does, in their order.

        Each is a JSON object in the form of ``json_text``, without empty fields and without its end: `{"kind":…,…`.
        """
        writer = self._json_writer
        if writer is None:
            for event in events:
                self.note(orjson.loads(event + b"}"))
            return
        logged = b',"event":"audit","level":"info","timestamp":"%b"}\n' % stamp().encode()
        time = b',"time":%b}' % orjson.dumps(round(self._clock.now(), 3))
        lines = [event + logged for event in events]
        if max(map(len, lines)) > min(MAX_LINE, self._limits.event_bytes):  # at least one has to be cut
            for event in events:
                self.note(orjson.loads(event + b"}"))
            return
        writer.put_all(lines)
        for event in events:
            self._exchanges.add(event + time)

    @property
    def takes_exchanges(self) -> bool:
        """Whether an exchange that starts now can be recorded, if that is required.

        It can if the log will probably accept a line (the last write succeeded, there is room, and the level includes
        audit events), or if the stream accepted the last batch and has room for more.
        """
        if not self._limits.required or self._log_works():
            return True
        return not self._exchanges.failure and self._exchanges.has_room

    def check(self) -> None:
        """Raise ``AuditUnavailable`` unless an exchange that begins now can be recorded, or need not be."""
        if not self.takes_exchanges:
            raise AuditUnavailable(detail=self._exchanges.failure or "too many audit events wait for the store")

    def _stream_of(self, event: Event) -> AuditStream:
        return self._admin if event.get("kind") == "admin" else self._exchanges

    def _line(self, event: Event) -> bytes:
        fields = {name: value for name, value in event.items() if value not in ("", None)}
        try:
            self._log.info("audit", **fields)
        except Exception as error:  # noqa: BLE001  # the event still goes to the stream
            self._not_logged += 1
            self._log_error = type(error).__name__
        fields["time"] = round(self._clock.now(), 3)
        return bounded_json(fields, self._limits.event_bytes).encode()

    # --- the streams ---------------------------------------------------------------------------------------------

    @property
    def dropped(self) -> Mapping[str, int]:
        """The number of events that are only in the log, by stream, because the store was too slow."""
        return {"exchanges": self._exchanges.dropped, "admin": self._admin.dropped}

    @property
    def problem(self) -> str:
        """The fault of the trail, for operators; "" while every event reached its stream."""
        parts = []
        if failure := self._exchanges.failure or self._admin.failure:
            parts.append(f"{len(self._exchanges) + len(self._admin)} events wait for the store ({failure})")
        if failing := self._exchanges.failing_shards:
            parts.append(f"audit.shards: {failing}")
        if lost := sum(self.dropped.values()):
            parts.append(f"{lost} events since the start are not in their stream: see the log")
        if self._not_logged:
            parts.append(f"{self._not_logged} events since the start could not be logged ({self._log_error})")
        return "; ".join(parts)

    async def flush(self, *, longest: float | None = None) -> None:
        """Write the queued events to the streams; unwritten events stay queued. One of several shards has ``longest``
        seconds for a batch.

        Raises ``StoreUnavailable``, ``CorruptRecord``.
        """
        if self._clock.monotonic() >= self._summary_due:
            self._summarise()
        waiting = [stream for stream in (self._admin, self._exchanges) if len(stream)]
        if len(waiting) < 2:  # almost always; a task for each would cost more
            for stream in waiting:
                await stream.flush(self._store, longest=longest)
            return
        # Both at once: in a Cluster they may be on different nodes, of which one is away.
        flushes = (stream.flush(self._store, longest=longest) for stream in waiting)
        for error in await asyncio.gather(*flushes, return_exceptions=True):
            if error is not None:
                raise error

    async def _tidy(self) -> None:
        await self._exchanges.drop_outdated(self._store, EXCHANGE_SHARDS)

    def _summarise(self) -> None:
        self._summary_due = self._clock.monotonic() + SUMMARY
        now = round(self._clock.now(), 3)
        for (caller, reason), count in self._refusals.counted().items():
            event = {"kind": "exchange", "outcome": "refused", "caller": caller, "reason": reason, "count": count}
            self._exchanges.add(bounded_json(event | {"time": now}, self._limits.event_bytes).encode())

    def follow(self, background: Background) -> None:
        """Write events to the streams, and drop outdated ones, without end."""
        background.every("audit stream", PAUSE, self.flush, longest=RETRY)
        background.every("audit shards", TIDYING, self._tidy)

    async def close(self) -> None:
        """Write the remaining events to the streams, within a second. A shard that hangs leaves time for others."""
        self._summarise()
        try:
            async with asyncio.timeout(CLOSING):
                await self.flush(longest=LAST_ATTEMPT)
        except Exception:  # noqa: BLE001  # no failure may keep the service from ending
            log.warning("audit events are in the log alone", count=len(self._exchanges) + len(self._admin))
