"""The life of the signing keys as a picture: one bar for each key with its states in colours, and a line for now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

from google.protobuf.timestamp_pb2 import Timestamp

from tokenmint.cli.output import plain
from tokenmint.keys.timeline import Life, Row, Span, Timeline, timeline
from tokenmint.keys.types import KeyState
from tokenmint.v1.signing_key_pb2 import SigningKey

WIDTH: Final = 960
_LEFT, _RIGHT, _TOP, _ROW, _BAR, _FOOT = 250, 30, 64, 30, 16, 44
_COLOURS: Final = {
    KeyState.PREPARED: "#9ec5fe",
    KeyState.ACTIVE: "#2f9e44",
    KeyState.RETIRING: "#f59f00",
    KeyState.REVOKED: "#c92a2a",
}
_STATES: Final = {
    number: KeyState(name.removeprefix("STATE_").lower())
    for name, number in SigningKey.State.items()
    if number != SigningKey.STATE_UNSPECIFIED
}
_LEGEND: Final = 22
"""The base line of the legend; *now* has a line of its own below it."""


def life(key: SigningKey, now: float) -> Life:
    """Return the life of a key that the service listed, in a state that this version knows."""
    prepared = key.state == SigningKey.STATE_PREPARED
    return Life(
        key_id=key.key_id,
        algorithm=key.algorithm,
        state=_STATES[key.state],
        published=_seconds(key.publish_time) or _seconds(key.create_time) or now,
        activated=_seconds(key.planned_time if prepared else key.activate_time),
        retired=_seconds(key.retire_time) or _seconds(key.planned_retire_time),
        deleted=_seconds(key.delete_time) or _seconds(key.planned_delete_time),
        revoked=_seconds(key.revoke_time),
    )


def svg(keys: Sequence[SigningKey], now: float) -> str:
    """Return the timeline as an SVG document."""
    strange = [key for key in keys if key.state not in _STATES]  # of a later version
    picture = timeline([life(key, now) for key in keys if key.state in _STATES], now)
    height = _TOP + _ROW * max(1, len(keys)) + _FOOT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        "<style>text { font: 12px sans-serif }</style>",
        "<title>Signing keys</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_legend(),
        *_axis(picture, height),
    ]
    for number, row in enumerate(picture.rows):
        lines += _bars(picture, row, _TOP + number * _ROW)
    for number, key in enumerate(strange, start=len(picture.rows)):
        lines += _name(key.key_id, key.algorithm, "unknown", _TOP + number * _ROW)
    now_at = _x(picture, now)
    lines.append(f'<line x1="{now_at}" y1="{_TOP - 10}" x2="{now_at}" y2="{height - 34}" stroke="#212529"/>')
    lines.append(f'<text x="{now_at}" y="{_TOP - 14}" text-anchor="middle">now</text>')
    if not keys:
        lines.append(f'<text x="{_LEFT}" y="{_TOP + 13}" fill="#495057">no keys</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend() -> list[str]:
    lines = []
    for place, (state, colour) in enumerate(_COLOURS.items()):
        left = _LEFT + place * 100
        lines.append(f'<rect x="{left}" y="{_LEGEND - 10}" width="12" height="12" fill="{colour}"/>')
        lines.append(f'<text x="{left + 18}" y="{_LEGEND}">{state}</text>')
    planned = _LEFT + len(_COLOURS) * 100
    lines.append(f'<text x="{planned}" y="{_LEGEND}" fill="#495057">pale: planned</text>')
    return lines


def _axis(picture: Timeline, height: int) -> list[str]:
    lines = []
    for tick in picture.ticks:
        at = _x(picture, tick)
        lines.append(f'<line x1="{at}" y1="{_TOP - 6}" x2="{at}" y2="{height - 34}" stroke="#e9ecef"/>')
        label = _label(tick, picture.end - picture.begin)
        lines.append(f'<text x="{at}" y="{height - 16}" text-anchor="middle" fill="#495057">{label}</text>')
    return lines


def _bars(picture: Timeline, row: Row, top: int) -> list[str]:
    life = row.life
    return [
        *_name(life.key_id, life.algorithm, life.state, top),
        *(_bar(picture, span, top) for span in row.spans),
    ]


def _name(key_id: str, algorithm: str, state: str, top: int) -> list[str]:
    name = escape(plain(f"{key_id[:16]}  {algorithm}"))
    return [
        f'<text x="10" y="{top + 13}" font-family="ui-monospace, monospace">{name}</text>',
        f'<text x="{_LEFT - 10}" y="{top + 13}" text-anchor="end" fill="#495057">{state}</text>',
    ]


def _bar(picture: Timeline, span: Span, top: int) -> str:
    left, right = _x(picture, span.begin), _x(picture, span.end)
    title = f"{span.state}: {_instant(span.begin)} to {_instant(span.end)}{', planned' if span.planned else ''}"
    opacity = ' opacity="0.45"' if span.planned else ""
    return (
        f'<rect x="{left}" y="{top}" width="{max(1.5, round(right - left, 1))}" height="{_BAR}" '
        f'fill="{_COLOURS[span.state]}"{opacity}><title>{title}</title></rect>'
    )


def _x(picture: Timeline, time: float) -> float:
    return round(_LEFT + (time - picture.begin) / (picture.end - picture.begin) * (WIDTH - _LEFT - _RIGHT), 1)


def _seconds(stamp: Timestamp) -> float | None:
    """Return a time field as Unix seconds; None if it is not set, because no key is from 1970."""
    return stamp.seconds + stamp.nanos / 1e9 if stamp.seconds else None


def _instant(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}Z"


def _label(time: float, length: float) -> str:
    shape = "%Y-%m-%d" if length > 3 * 86400 else "%m-%d %H:%M" if length > 3600 else "%H:%M:%S"
    return datetime.fromtimestamp(time, UTC).strftime(shape)
