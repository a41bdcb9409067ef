"""Times and durations for people: each time with its distance from now, each duration as it may be typed."""

import os
from datetime import UTC, datetime
from typing import Final

import typer
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tokenmint.base import durations
from tokenmint.base.durations import parse_duration
from tokenmint.cli.tables import Cell

TIMES: Final = "TOKENMINT_TIMES"
"""If it is `local`, times for people are in this machine's time zone, and otherwise in UTC. JSON always has UTC."""


def when(message: Message, field: str) -> Cell:
    """Return a time field with its distance from now; "-" if it is not set."""
    if not message.HasField(field):
        return Cell("-")
    stamp: Timestamp = getattr(message, field)
    return at(stamp.seconds)


def at(seconds: float) -> Cell:
    """Return a time, in seconds since 1970, with its distance from now; a narrow table shows the distance alone."""
    try:
        instant = datetime.fromtimestamp(seconds, UTC)
        distance = relative((instant - datetime.now(UTC)).total_seconds())
        text = f"{instant:%Y-%m-%d %H:%M:%S}Z"
        if os.environ.get(TIMES) == "local":
            text = f"{instant.astimezone():%Y-%m-%d %H:%M:%S%z}"
    except (OverflowError, ValueError, OSError):
        return Cell(f"{seconds} (outside the calendar)")
    return Cell(f"{text} ({distance})", short=distance)


def relative(seconds: float) -> str:
    """Return a distance from now, e.g. "in 3 h" or "90 s ago"."""
    size = abs(seconds)
    if size < 120:
        text = f"{size:.0f} s"
    elif size < 7200:
        text = f"{size / 60:.0f} min"
    elif size < 2 * 86400:
        text = f"{size / 3600:.0f} h"
    else:
        text = f"{size / 86400:.0f} d"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def spoken(seconds: float) -> str:
    """Return a duration in whole seconds, in the form in which options and the configuration take it, e.g. "1h30m"."""
    return durations.spoken(round(seconds))


def duration(value: object) -> float:
    """Read the duration of an option: "90s", "1h30m", or a number of seconds. Raises ``typer.BadParameter``."""
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    try:
        return parse_duration(number if number >= 0 else str(value))
    except ValueError:
        raise typer.BadParameter("expected a duration, for example 90s, 1h30m or 2d, or a number of seconds") from None


def whole_seconds(value: object) -> int:
    """Read such a duration as whole seconds, at least 1. Raises ``typer.BadParameter``."""
    seconds = duration(value)
    if seconds < 1 or seconds != int(seconds):
        raise typer.BadParameter("expected whole seconds, at least 1s")
    return int(seconds)
