"""The trace of a call: W3C Trace Context, and what is gathered of the call while it goes on.

https://www.w3.org/TR/trace-context/ A header that is not exactly as the specification demands is ignored: it comes from
any caller, and its ids go into the log and the audit trail.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Final, NamedTuple

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
MAX_STATE: Final = 512  # characters of tracestate; a longer one is left out as a whole
MAX_PARENT: Final = 128  # characters of traceparent, of which later versions may have more than the 55 of version 00
MAX_REQUESTS: Final = 64
"""Requests of one call that are kept: to the store, and to providers."""
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_KEY: Final = r"(?:[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
_MEMBER: Final = re.compile(
    rf"({_KEY})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e])", re.ASCII
)
MAX_MEMBERS: Final = 32
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_SAMPLED: Final = 1


class TraceContext(NamedTuple):
    """The caller's place in a trace, as its call says it."""

    trace_id: str
    """32 digits of lower-case hex."""
    span_id: str
    """The caller's span: 16 digits of lower-case hex."""
    sampled: bool
    """Whether the caller records its span."""
    state: str = ""
    """`tracestate`, which is passed on and not read."""


def context_of(parents: Sequence[str | bytes], states: Iterable[str | bytes] = ()) -> TraceContext | None:
    """Return the context that a call's headers name; None without one that is well-formed.

    Args:
        parents: the values of `traceparent`. Two of them are none.
        states: the values of `tracestate`, which are one list (section 3.3.1.1).
    """
    if len(parents) != 1:
        return None
    value = parents[0]
    if not isinstance(value, str) or len(value) > MAX_PARENT:
        return None
    match = _PARENT.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED), _state_of(states))


def _state_of(values: Iterable[str | bytes]) -> str:
    """Return a `tracestate` without empty members (section 3.3.1); "" if it is not well-formed."""
    texts = [value for value in values if isinstance(value, str)]
    if not texts or sum(map(len, texts)) + len(texts) - 1 > MAX_STATE:
        return ""
    members = [member for text in texts for part in text.split(",") if (member := part.strip(" \t"))]
    keys = set()
    for member in members:
        match = _MEMBER.fullmatch(member)
        if match is None:
            return ""
        keys.add(match[1])
    return ",".join(members) if len(keys) == len(members) <= MAX_MEMBERS else ""


def context_in(metadata: Iterable[tuple[str, str | bytes]]) -> TraceContext | None:
    """Return the context that the metadata of a call name, as :func:`context_of`. Names are in lower case."""
    parents: list[str | bytes] = []
    states: list[str | bytes] = []
    for name, value in metadata:
        if name == TRACEPARENT:
            parents.append(value)
        elif name == TRACESTATE:
            states.append(value)
    return context_of(parents, states) if parents else None


# --- one call --------------------------------------------------------------------------------------------------------


class OutgoingRequest(NamedTuple):
    """A request that a call made: to the store, or to a provider."""

    name: str
    attributes: dict[str, str | int]
    span_id: str
    started: float
    """By the clock of ``time.perf_counter``, as all times here."""
    ended: float
    error: str
    """The reason or the kind of its failure; "" if it did not fail."""


class CallTrace:
    """The trace that one call belongs to, and, if the call becomes a span, the requests that it made.

    Args:
        trace_id: the trace.
        span_id: the call's span, or the caller's if the call becomes none. Log lines and audit events name it.
        parent_id: the caller's span; "" if there is none.
        state: `tracestate`.
        new_ids: makes ids of further spans; None: the call becomes no span.
    """

    __slots__ = ("new_ids", "over", "parent_id", "requests", "span_id", "state", "trace_id")

    def __init__(
        self, trace_id: str, span_id: str, parent_id: str = "", state: str = "", new_ids: Iterator[str] | None = None
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.state = state
        self.new_ids = new_ids
        self.requests: list[OutgoingRequest] = []
        self.over = False
        """Whether the call has ended. A task that it started may go on."""

    @property
    def recorded(self) -> bool:
        """Whether the call becomes a span."""
        return self.new_ids is not None

    def new_id(self) -> str:
        """Return the id of a further span; "" if the call becomes none."""
        return next(self.new_ids) if self.new_ids is not None else ""

    def note(self, request: OutgoingRequest) -> None:
        """Keep a request that has ended, if the call becomes a span, goes on, and has made few of them."""
        if self.recorded and not self.over and len(self.requests) < MAX_REQUESTS:
            self.requests.append(request)

    def ids(self) -> dict[str, str]:
        """Return the fields of log lines and audit events."""
        return {"trace_id": self.trace_id, "span_id": self.span_id}


_current: ContextVar[CallTrace | None] = ContextVar("trace", default=None)


def enter_trace(trace: CallTrace | None) -> None:
    """Make a trace the one of the running task."""
    _current.set(trace)


def current_trace() -> CallTrace | None:
    """Return the trace of the call that runs now; None outside of calls, and in calls without one."""
    trace = _current.get()
    return trace if trace is not None and not trace.over else None


class Outgoing:
    """A request while it runs."""

    __slots__ = ("attributes", "span_id", "trace")

    def __init__(self, trace: CallTrace, attributes: dict[str, str | int]) -> None:
        self.trace = trace
        self.attributes = attributes
        self.span_id = trace.new_id()

    @property
    def traceparent(self) -> str:
        """The header by which the other side continues the trace."""
        return f"00-{self.trace.trace_id}-{self.span_id}-01"


@contextmanager
def outgoing(name: str, attributes: dict[str, str | int]) -> Iterator[Outgoing | None]:
    """Note a request of the running call, if that becomes a span. Attributes may be added until it ends."""
    trace = current_trace()
    if trace is None or not trace.recorded:
        yield None
        return
    request, started, error = Outgoing(trace, attributes), perf_counter(), ""
    try:
        yield request
    except BaseException as failure:
        error = type(failure).__name__
        raise
    finally:
        trace.note(OutgoingRequest(name, request.attributes, request.span_id, started, perf_counter(), error))
