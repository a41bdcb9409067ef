"""Spans, as they are exported. None holds a token, a secret, or text that a caller chose."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple


class Kind(Enum):
    """The kind of a span."""

    INTERNAL = auto()
    SERVER = auto()
    CLIENT = auto()


class Span(NamedTuple):
    """A span that has ended."""

    trace_id: str
    span_id: str
    parent_id: str
    """"" for a root."""
    name: str
    kind: Kind
    start: int
    """Unix nanoseconds."""
    end: int
    attributes: Mapping[str, str | int]
    state: str = ""
    """`tracestate`."""
    remote_parent: bool = False
    """Whether the parent is in another process."""
    failed: bool = False
    """Whether its status is an error."""
