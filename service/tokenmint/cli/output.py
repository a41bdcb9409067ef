"""Tables for people, JSON for scripts. Text of the service or of a token can't control the terminal."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Output = Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="text for people, json for scripts.")]

GAP: Final = 2  # columns between two cells
_STEERING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, marks that turn the direction of text, and halves of surrogate pairs."""


def plain(text: str) -> str:
    """Return ``text`` with escapes in place of characters that control a terminal."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as JSON with the field names of the proto, including fields with default values."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def as_json(value: object) -> str:
    """Return one JSON document, indented."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "\n".join(plain(line) for line in text.split("\n"))  # only strings can hold them


def print_json(value: object) -> None:
    """Print one JSON document."""
    print(as_json(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Print a table, or ``empty`` if it has no rows. Long cells are folded, never cut."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        print(empty)
        return
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))  # as text, because a value may look like markup
    console = Console()
    if not console.is_terminal:  # a pipe has no width, and scripts can't search for a folded key id
        widths = (max(cell_len(cell) for cell in column) for column in zip(columns, *cells, strict=True))
        console.width = sum(width + GAP for width in widths)
    console.print(table)


def print_message(message: Message, output: str) -> None:
    """Print one message: as JSON, or field by field."""
    document = as_dict(message)
    if output == "json":
        print_json(document)
        return
    rows = []
    for name, value in document.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
            text = when(message, name)
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            text = ", ".join(value) or "-"
        else:
            text = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) or "-"
        rows.append((name.replace("_", " "), text))
    print_table(("field", "value"), rows, "nothing")


@contextmanager
def without_log() -> Iterator[None]:
    """Drop the log lines of the service's code, for commands that print the same facts: standard output is theirs."""
    import structlog

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(**{**before, "processors": [drop]})
    try:
        yield
    finally:
        structlog.configure(**before)


def when(message: Message, field: str) -> str:
    """Return a time field in UTC with its distance from now; "-" if it is not set."""
    if not message.HasField(field):
        return "-"
    stamp: Timestamp = getattr(message, field)
    return at(stamp.seconds)


def at(seconds: float) -> str:
    """Return a time, in seconds since 1970, in UTC with its distance from now."""
    try:
        instant = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds} (outside the calendar)"
    return f"{instant:%Y-%m-%d %H:%M:%S}Z ({_relative((instant - datetime.now(UTC)).total_seconds())})"


def _relative(seconds: float) -> str:
    size = abs(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if size >= length:
            text = f"{size / length:.0f} {unit}"
            break
    else:
        text = f"{size:.0f} s"
    return f"in {text}" if seconds > 0 else f"{text} ago"
