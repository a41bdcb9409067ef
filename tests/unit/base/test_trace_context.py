"""W3C Trace Context: exactly what the specification accepts, and nothing of a caller's beyond it."""

import json
import logging
import string

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.base import logs
from tokenmint.base.log_writer import CLOSED, LineWriter
from tokenmint.base.trace_context import (
    MAX_REQUESTS,
    CallTrace,
    TraceContext,
    context_in,
    context_of,
    current_trace,
    enter_trace,
    outgoing,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_a_well_formed_traceparent_is_read_with_its_flag(flags: str, sampled: bool) -> None:
    assert context_of([f"00-{TRACE}-{SPAN}-{flags}"]) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize("value", [f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-later"])
def test_a_later_version_is_read_as_far_as_it_is_known(value: str) -> None:
    assert context_of([value]) == TraceContext(TRACE, SPAN, sampled=True)


@pytest.mark.parametrize(
    "value",
    [
        "",
        GOOD + "-more",
        GOOD + " ",
        " " + GOOD,
        GOOD + "\n",
        GOOD.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"0-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.",
        f"cc-{TRACE}-{SPAN}-01-" + "x" * 200,
        f"00-{'٣' * 32}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_any_other_traceparent_is_ignored(value: str) -> None:
    assert context_of([value]) is None


def test_two_traceparents_and_bytes_are_none() -> None:
    assert context_of([GOOD, GOOD]) is None
    assert context_of([GOOD.encode()]) is None
    assert context_of([]) is None


@given(st.text(alphabet=string.hexdigits + "-\x00\n é", max_size=80))
def test_no_text_that_is_accepted_holds_anything_but_ids(text: str) -> None:
    found = context_of([text])
    assert found is None or set(found.trace_id + found.span_id) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("values", "state"),
    [
        (["a=1"], "a=1"),
        (["a=1,b=2"], "a=1,b=2"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["a=1 , ,\tb=2,"], "a=1,b=2"),
        (["tenant@vendor=x y"], "tenant@vendor=x y"),
        (["0tenant@v=x"], "0tenant@v=x"),
        (["a=1,a=2"], ""),
        (["A=1"], ""),
        (["a=1=2"], ""),
        (["a="], ""),
        (["a=\n"], ""),
        (["a=é"], ""),
        (["a@@b=1"], ""),
        ([f"{'k' * 257}=1"], ""),
        (["a=" + "v" * 257], ""),
        (["a=" + "v" * 200 + ",b=" + "v" * 200 + ",c=" + "v" * 200], ""),
        ([",".join(f"k{number}=1" for number in range(33))], ""),
        ([",".join(f"k{number}=1" for number in range(32))], ",".join(f"k{number}=1" for number in range(32))),
    ],
)
def test_a_tracestate_is_passed_on_where_it_is_well_formed(values: list[str], state: str) -> None:
    assert context_of([GOOD], values) == TraceContext(TRACE, SPAN, sampled=True, state=state)


def test_metadata_are_read_by_their_names() -> None:
    pairs: list[tuple[str, str | bytes]] = [("user-agent", "x"), ("traceparent", GOOD), ("tracestate", "a=1")]
    assert context_in(pairs) == TraceContext(TRACE, SPAN, sampled=True, state="a=1")
    assert context_in([("tracestate", "a=1")]) is None
    assert context_in([("traceparent-bin", GOOD.encode())]) is None


def recorded() -> CallTrace:
    return CallTrace(TRACE, SPAN, new_ids=(f"{number:016x}" for number in range(1, 1000)))


def test_requests_are_noted_while_a_call_that_becomes_a_span_runs() -> None:
    trace = recorded()
    enter_trace(trace)
    with outgoing("GET", {"a": 1}) as request:
        assert request is not None
        assert request.traceparent == f"00-{TRACE}-{'0' * 15}1-01"
    with pytest.raises(KeyError), outgoing("GET", {}):
        raise KeyError("not to be shown")
    assert [(one.name, one.span_id, one.error) for one in trace.requests] == [
        ("GET", "0" * 15 + "1", ""),
        ("GET", "0" * 15 + "2", "KeyError"),
    ]
    for _ in range(2 * MAX_REQUESTS):
        with outgoing("GET", {}):
            pass
    assert len(trace.requests) == MAX_REQUESTS
    enter_trace(None)


def test_a_call_that_has_ended_or_becomes_no_span_notes_nothing() -> None:
    ended = recorded()
    ended.over = True
    for trace in (ended, CallTrace(TRACE, SPAN)):
        enter_trace(trace)
        with outgoing("GET", {}) as request:
            assert request is None
        assert trace.requests == []
    enter_trace(ended)
    assert current_trace() is None, "a task that a call left behind logs without its trace"
    enter_trace(None)


class Written(LineWriter):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        super().__init__(CLOSED)
        self.lines: list[dict[str, object]] = []

    def put(self, line: bytes) -> bool:
        self.lines.append(json.loads(line))
        return True


def test_lines_that_are_logged_within_a_call_name_its_trace() -> None:
    before, written = structlog.get_config(), Written()
    try:
        logs.configure("info", "json", written)
        log = structlog.get_logger("test")
        log.info("outside")
        enter_trace(CallTrace(TRACE, SPAN))
        log.info("within")
        log.info("an audit event", trace_id="its own", span_id="its own")
        enter_trace(None)
    finally:
        structlog.configure(**before)
        logging.basicConfig(force=True)
    outside, within, own = written.lines
    assert "trace_id" not in outside
    assert (within["trace_id"], within["span_id"]) == (TRACE, SPAN)
    assert own["trace_id"] == "its own"
