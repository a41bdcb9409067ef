"""JSON for scripts, and text that can't control the terminal, whether it is the service's or a token's."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

Output = Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="text for people, json for scripts.")]

_STEERING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, ends of lines, all that has the property Bidi_Control (UAX 9), and halves of surrogate pairs."""


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
