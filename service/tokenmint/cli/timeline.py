"""The life of the signing keys as a picture: one bar for each key with its states in colours, and a line for now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

from google.protobuf.timestamp_pb2 import Timestamp

from tokenmint.cli.output import plain
from tokenmint.v1.signing_key_pb2 import SigningKey

WIDTH: Final = 960
_LEFT, _RIGHT, _TOP, _ROW, _BAR = 250, 30, 46, 30, 16
_COLOURS: Final = {"prepared": "#9ec5fe", "active": "#2f9e44", "retiring": "#f59f00", "revoked": "#c92a2a"}
_TICKS: Final = 6

Span = tuple[str, float, float]
"""A state, its begin and its end (Unix seconds)."""


def spans(key: SigningKey, now: float, end: float) -> list[Span]:
    """Return the past and planned states of ``key``, in order, until ``end`` at the latest."""

    published = _seconds(key.publish_time) or _seconds(key.create_time) or now
    activated, retired = _seconds(key.activate_time), _seconds(key.retire_time)
    deleted, revoked = _seconds(key.delete_time), _seconds(key.revoke_time)
    if key.state == SigningKey.STATE_PREPARED:
        activated = _seconds(key.planned_time)
    over = revoked or deleted or end
    steps = [("prepared", published), ("active", activated), ("retiring", retired)]
    starts = [(state, start) for state, start in steps if start is not None and start <= over]
    ends = [start for _, start in starts[1:]] + [over]
    states = [(state, start, stop) for (state, start), stop in zip(starts, ends, strict=True) if stop > start]
    if revoked is not None:
        states.append(("revoked", revoked, max(revoked, min(now, end))))
    return states


def svg(keys: Sequence[SigningKey], now: float) -> str:
    """Return the timeline as an SVG document."""
    past = [span for key in keys for span in spans(key, now, now)]
    first = min([start for _, start, _ in past], default=now)
    last = max([stop for _, _, stop in past] + [_seconds(key.planned_time) or 0.0 for key in keys], default=now)
    room = max(last - first, 60.0) * 0.05
    begin, end = min(first, now) - room, max(last, now) + 4 * room

    def x(time: float) -> float:
        return round(_LEFT + (time - begin) / (end - begin) * (WIDTH - _LEFT - _RIGHT), 1)

    height = _TOP + _ROW * max(1, len(keys)) + 44
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        "<style>text { font: 12px sans-serif }</style>",
        "<title>Signing keys</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for place, (state, colour) in enumerate(_COLOURS.items()):
        left = _LEFT + place * 100
        lines.append(f'<rect x="{left}" y="12" width="12" height="12" fill="{colour}"/>')
        lines.append(f'<text x="{left + 18}" y="22">{state}</text>')
    for tick in range(_TICKS + 1):
        time = begin + (end - begin) * tick / _TICKS
        lines.append(f'<line x1="{x(time)}" y1="{_TOP - 6}" x2="{x(time)}" y2="{height - 34}" stroke="#e9ecef"/>')
        label = _label(time, end - begin)
        lines.append(f'<text x="{x(time)}" y="{height - 16}" text-anchor="middle" fill="#495057">{label}</text>')
    for row, key in enumerate(keys):
        top = _TOP + row * _ROW
        name = escape(plain(f"{key.key_id[:16]}  {key.algorithm}"))
        state = SigningKey.State.Name(key.state).removeprefix("STATE_").lower()
        lines.append(f'<text x="10" y="{top + 13}" font-family="ui-monospace, monospace">{name}</text>')
        lines.append(f'<text x="{_LEFT - 10}" y="{top + 13}" text-anchor="end" fill="#495057">{state}</text>')
        for name_of_state, start, stop in spans(key, now, end):
            title = escape(f"{name_of_state}: {_instant(start)} to {_instant(stop)}")
            opacity = ' opacity="0.45"' if start >= now else ""  # planned states
            lines.append(
                f'<rect x="{x(start)}" y="{top}" width="{max(1.5, round(x(stop) - x(start), 1))}" height="{_BAR}" '
                f'fill="{_COLOURS[name_of_state]}"{opacity}><title>{title}</title></rect>'
            )
    lines.append(
        f'<line x1="{x(now)}" y1="{_TOP - 10}" x2="{x(now)}" y2="{height - 34}" stroke="#212529" stroke-width="1.5"/>'
    )
    lines.append(f'<text x="{x(now)}" y="{_TOP - 13}" text-anchor="middle">now</text>')
    if not keys:
        lines.append(f'<text x="{_LEFT}" y="{_TOP + 13}" fill="#495057">no keys</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _seconds(stamp: Timestamp) -> float | None:
    """Return a time field as Unix seconds; None if it is not set, because no key is from 1970."""
    return stamp.seconds + stamp.nanos / 1e9 if stamp.seconds else None


def _instant(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}Z"


def _label(time: float, length: float) -> str:
    shape = "%Y-%m-%d" if length > 3 * 86400 else "%m-%d %H:%M" if length > 3600 else "%H:%M:%S"
    return datetime.fromtimestamp(time, UTC).strftime(shape)
