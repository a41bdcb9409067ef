"""The audit trail of a service, as `tokenmint audit` and `tokenmint top` read it."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from tokenmint.cli.configured import names_of
from tokenmint.cli.options import Group
from tokenmint.cli.output import plain
from tokenmint.cli.tables import STYLES
from tokenmint.v1 import audit_admin_service_pb2 as pb
from tokenmint.v1.audit_admin_service_pb2_grpc import AuditAdminServiceStub

STREAMS: Final = {"exchange": pb.AUDIT_STREAM_EXCHANGES, "admin": pb.AUDIT_STREAM_ADMIN}
"""The stream of each kind of events. The first may still hold operators' actions of older versions."""
STREAM_OF: Final = {"signal": "exchange"}
"""The stream of kinds without one of their own."""
PAGE: Final = 1000  # events
PAGE_BYTES: Final = 1 << 20
MOST_SHOWN: Final = 2048
"""Characters of a part of a line for people: any program that writes into the store may have chosen it."""
MOST_COUNT: Final = 10**12
LATEST: Final = 253_402_300_800
"""The year 10000 in Unix seconds."""
NAMED: Final = ("principal", "actor", "provider", "client_id", "key_id", "state", "stream_status")
"""The fields that a line for people names."""
Event = Mapping[str, Any]


Values: TypeAlias = list[str] | None


def _values(name: str, text: str, complete: Any = None) -> Any:
    return typer.Option(name, help=f"{text} May be repeated.", autocompletion=complete)


@dataclass(frozen=True, slots=True)
class Filter(Group):
    """The events that are wanted: for each field some values, of which an event has one. No values: any event."""

    client: Annotated[
        Values, _values("--client", "Only calls of this client or operator.", names_of("clients", "operators"))
    ] = None
    principal: Annotated[Values, _values("--principal", "Only events about this principal.")] = None
    provider: Annotated[Values, _values("--provider", "Only tokens of this provider.", names_of("providers"))] = None
    outcome: Annotated[Values, _values("--outcome", "Only done, refused or begun.")] = None
    reason: Annotated[Values, _values("--reason", "Only refusals with this reason, e.g. EXPIRED.")] = None
    kind: Annotated[
        Literal["exchange", "admin", "signal"] | None,
        typer.Option(help="Only calls of clients (exchange), of operators (admin), or providers' signals."),
    ] = None

    def takes(self, event: Event) -> bool:
        """Return whether ``event`` is wanted."""
        wanted = (
            (self.client, (text_of(event, "caller"), text_of(event, "client_id"))),
            (self.principal, (text_of(event, "principal"), text_of(event, "actor"), *_texts(event.get("principals")))),
            (self.provider, (text_of(event, "provider"),)),
            (self.outcome, (text_of(event, "outcome"),)),
            (self.reason, (*_texts(event.get("reason")), *_texts(event.get("refused")))),
            ([self.kind] if self.kind else None, (text_of(event, "kind"),)),
        )
        return all(not values or set(values) & {one for one in present if one} for values, present in wanted)


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
        """Yield the events that were not read yet, those of each call of the service in the order of their times.

        It may be called again after a failure: an event is behind it only once it was yielded.
        """
        waiting = set(self.kinds)
        while waiting:
            answers = {kind: self.stub.ListAuditEvents(self._request(kind), **self.call) for kind in sorted(waiting)}
            for kind, answer in answers.items():
                self._positions[kind] = answer.next_position
                self.gaps += answer.has_gap
                if not answer.has_more:
                    waiting.discard(kind)
            yield from sorted((event for answer in answers.values() for event in parsed(answer.events)), key=time_of)

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
        value = _parsed(event.event_json)
        if value is not None:
            yield value


def dated(events: Iterable[pb.AuditEvent]) -> Iterator[Event]:
    """Yield the events as :func:`parsed`, none with a time after that of the store, which its position has."""
    for event in events:
        value = _parsed(event.event_json)
        if value is not None:
            milliseconds = event.position.partition("-")[0]
            stored = int(milliseconds) / 1000 if milliseconds.isdecimal() else 0.0
            yield {**value, "time": min(time_of(value), stored)}


def _parsed(text: str) -> Event | None:
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value)  # what is nested too deep is read at one depth of calls, and not written at another
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def as_line(event: Event) -> str:
    """Return an event as one line of JSON, which can't control a terminal."""
    return plain(json.dumps(event, ensure_ascii=False, separators=(",", ":")))


def described(event: Event) -> list[tuple[str, str]]:
    """Return the parts of an event's line for people, each with its style and in at most ``MOST_SHOWN`` characters."""
    method = text_of(event, "method").rpartition("/")[2]
    outcome = text_of(event, "outcome")
    reasons = " ".join(reasons_of(event))
    if (count := count_of(event)) > 1:
        reasons = f"{reasons} x {count}"
    parts = [
        (_clock(time_of(event)), "dim"),
        (f"{outcome:<7}", STYLES.get(outcome, "")),
        (text_of(event, "caller") or "-", "bold"),
        (method or text_of(event, "kind"), ""),
        (reasons, "yellow"),
    ]
    parts += [(f"{name}={text_of(event, name)}", "") for name in NAMED if text_of(event, name)]
    parts += [(", ".join(_texts(event.get("events"))), "")]
    parts += [(" ".join(_texts(event.get("audience"))), ""), (text_of(event, "detail"), "dim")]
    return [(_cut(plain(text[:MOST_SHOWN])), style) for text, style in parts if text]


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


def text_of(event: Event, name: str) -> str:
    """Return a field that is a text, or ""."""
    value = event.get(name)
    return value if isinstance(value, str) else ""


def reasons_of(event: Event) -> list[str]:
    """Return the reason of a refusal, or those of a batch's targets."""
    return _texts(event.get("reason")) or _texts(event.get("refused"))


def count_of(event: Event) -> int:
    """Return how many calls an event stands for: refusals may be counted, and not kept one by one."""
    count = event.get("count")
    return count if isinstance(count, int) and 0 < count <= MOST_COUNT else 1


def _texts(value: object) -> list[str]:
    """Return a field that holds a text or several."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str) and item]


def time_of(event: Event) -> float:
    """Return the time of an event in Unix seconds; 0 if it has none."""
    value = event.get("time")
    return float(value) if isinstance(value, int | float) and 0 <= value < LATEST else 0.0


def _clock(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):  # the platform may know fewer years
        return "-"


def rate(events: Iterable[Event], window: float, now: float | None = None) -> tuple[list[Event], float]:
    """Return the events of the last ``window`` seconds, and the seconds that they cover.

    If the oldest event is younger than the window, there may have been more before it: the time since it is returned.
    """
    every = list(events)
    moment = max([time.time() if now is None else now, *map(time_of, every)])
    recent = [event for event in every if time_of(event) > moment - window]
    if len(recent) == len(every) >= PAGE:
        window = max(0.001, moment - min(map(time_of, recent)))
    return recent, window
