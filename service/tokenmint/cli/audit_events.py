"""The audit trail of a service, as `tokenmint audit` and `tokenmint top` read it."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from tokenmint.cli.options import Group
from tokenmint.cli.output import plain
from tokenmint.cli.tables import STYLES
from tokenmint.v1 import audit_admin_service_pb2 as pb
from tokenmint.v1.audit_admin_service_pb2_grpc import AuditAdminServiceStub

STREAMS: Final = {"exchange": pb.AUDIT_STREAM_EXCHANGES, "admin": pb.AUDIT_STREAM_ADMIN}
"""The stream of each kind of events. The first may still hold operators' actions of older versions."""
PAGE: Final = 1000  # events
PAGE_BYTES: Final = 1 << 20
NAMED: Final = ("principal", "actor", "provider", "client_id", "key_id")
"""The fields that a line for people names."""
Event = Mapping[str, Any]


Values: TypeAlias = list[str] | None


def _values(name: str, text: str) -> Any:
    return typer.Option(name, help=f"{text} May be repeated.")


@dataclass(frozen=True, slots=True)
class Filter(Group):
    """The events that are wanted: for each field some values, of which an event has one. No values: any event."""

    client: Annotated[Values, _values("--client", "Only calls of this client or operator.")] = None
    principal: Annotated[Values, _values("--principal", "Only events about this principal.")] = None
    provider: Annotated[Values, _values("--provider", "Only tokens of this provider.")] = None
    outcome: Annotated[Values, _values("--outcome", "Only done, refused or begun.")] = None
    reason: Annotated[Values, _values("--reason", "Only refusals with this reason, e.g. EXPIRED.")] = None
    kind: Annotated[
        Literal["exchange", "admin"] | None, typer.Option(help="Only calls of clients (exchange), or of operators.")
    ] = None

    def takes(self, event: Event) -> bool:
        """Return whether ``event`` is wanted."""
        wanted = (
            (self.client, (event.get("caller"), event.get("client_id"))),
            (self.principal, (event.get("principal"), event.get("actor"))),
            (self.provider, (event.get("provider"),)),
            (self.outcome, (event.get("outcome"),)),
            (self.reason, (event.get("reason"), *_texts(event.get("refused")))),
            ([self.kind] if self.kind else None, (event.get("kind"),)),
        )
        return all(not values or set(values) & {str(one) for one in present if one} for values, present in wanted)


@dataclass(slots=True)
class Trail:
    """Reads the streams of some kinds, each event once.

    ``since``: where it begins, in Unix seconds; None: with the newest events.
    """

    stub: AuditAdminServiceStub
    call: Mapping[str, Any]
    kinds: Iterable[str]
    since: float | None = None
    gaps: int = 0
    """How often the service told that events are missing, because a stream was full."""
    _positions: dict[str, str] = field(default_factory=dict)

    def read(self) -> Iterator[Event]:
        """Yield the events that were not read yet, those of each call of the service in the order of their times."""
        waiting = set(self.kinds)
        while waiting:
            events: list[Event] = []
            for kind in sorted(waiting):
                answer = self.stub.ListAuditEvents(self._request(kind), **self.call)
                self._positions[kind] = answer.next_position
                self.gaps += answer.has_gap
                events += parsed(answer.events)
                if not answer.has_more:
                    waiting.discard(kind)
            yield from sorted(events, key=_time)

    def _request(self, kind: str) -> pb.ListAuditEventsRequest:
        request = pb.ListAuditEventsRequest(stream=STREAMS[kind], page_size=PAGE, page_bytes=PAGE_BYTES)
        if kind in self._positions:
            request.position = self._positions[kind]
        elif self.since is not None:
            request.start_time.CopyFrom(Timestamp(seconds=max(0, int(self.since))))
        return request


def parsed(events: Iterable[pb.AuditEvent]) -> Iterator[Event]:
    """Yield the events as JSON objects, without entries of the stream that are none."""
    for event in events:
        try:
            value = json.loads(event.event_json)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def as_line(event: Event) -> str:
    """Return an event as one line of JSON, which can't control a terminal."""
    return plain(json.dumps(event, ensure_ascii=False, separators=(",", ":")))


def described(event: Event) -> list[tuple[str, str]]:
    """Return the parts of an event's line for people, each with its style."""
    method = str(event.get("method", "")).rpartition("/")[2]
    outcome = str(event.get("outcome", ""))
    reasons = " ".join([str(event.get("reason") or ""), *_texts(event.get("refused"))]).strip()
    if event.get("count"):
        reasons = f"{reasons} x {event['count']}"
    parts = [
        (_clock(_time(event)), "dim"),
        (f"{outcome:<7}", STYLES.get(outcome, "")),
        (str(event.get("caller") or "-"), "bold"),
        (method or str(event.get("kind", "")), ""),
        (reasons, "yellow"),
    ]
    parts += [(f"{name}={event[name]}", "") for name in NAMED if event.get(name)]
    parts += [(" ".join(_texts(event.get("audience"))), ""), (str(event.get("detail") or ""), "dim")]
    return [(plain(text), style) for text, style in parts if text]


def _texts(value: object) -> list[str]:
    """Return a field that holds a text or several."""
    if isinstance(value, list):
        return [str(one) for one in value]
    return [] if value in (None, "") else [str(value)]


def _time(event: Event) -> float:
    value = event.get("time")
    return float(value) if isinstance(value, int | float) else 0.0


def _clock(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):
        return "-"


def rate(events: Iterable[Event], window: float, now: float | None = None) -> tuple[list[Event], float]:
    """Return the events of the last ``window`` seconds, and the seconds that they cover.

    If the oldest event is younger than the window, there may have been more before it: the time since it is returned.
    """
    every = list(events)
    moment = max([time.time() if now is None else now, *map(_time, every)])
    recent = [event for event in every if _time(event) > moment - window]
    if len(recent) == len(every) >= PAGE:
        window = max(0.001, moment - min(map(_time, recent)))
    return recent, window
