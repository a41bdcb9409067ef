"""Tables for people, JSON for scripts."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

Output = Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="text for people, json for scripts.")]


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as JSON with the field names of the proto."""
    return MessageToDict(message, preserving_proto_field_name=True)


def print_json(value: object) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Print a table, or ``empty`` where it has no rows."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as text: a value may look like markup
    if table.row_count:
        Console(soft_wrap=True).print(table)
    else:
        print(empty)


def when(message: Message, field: str) -> str:
    """Return a time field in UTC with how far it is from now; "-" where it is not set."""
    if not message.HasField(field):
        return "-"
    stamp: Timestamp = getattr(message, field)
    instant = datetime.fromtimestamp(stamp.seconds, UTC)
    seconds = (instant - datetime.now(UTC)).total_seconds()
    return f"{instant:%Y-%m-%d %H:%M:%S}Z ({_relative(seconds)})"


def _relative(seconds: float) -> str:
    size = abs(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if size >= length:
            text = f"{size / length:.0f} {unit}"
            break
    else:
        text = f"{size:.0f} s"
    return f"in {text}" if seconds > 0 else f"{text} ago"
