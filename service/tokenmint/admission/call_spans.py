"""The spans of one call: the call itself, each step that its trace names, and the requests that it made.

The steps are those of the trace that explain, audit and metrics read, with their times. Attributes hold names of the
code and of the configuration, codes and reasons; no text of a caller.

https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ and /http/http-spans/
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from tokenmint.admission.access import Row
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.trace_context import CallTrace, OutgoingRequest
from tokenmint.exchange.attempt import Trace
from tokenmint.tracing.spans import Kind, Span

MAX_STEPS: Final = 256
"""Steps of one call that become spans: a batch has some six for each of its targets."""
_FAULTS: Final = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""The codes that are errors of a server."""
Moment = Callable[[float], int]
"""Turns a time of ``perf_counter`` into Unix nanoseconds."""


def spans_of(
    trace: CallTrace, method: str, steps: Trace | None, facts: dict[str, str], started: float, code: str, moment: Moment
) -> Sequence[Span]:
    """Return the spans of a call that ends now.

    Args:
        trace: its ids, and its requests.
        method: `/package.Service/Method`, or `POST /path`.
        steps: the trace of its exchange, if there is one.
        facts: client, provider, reason and so on, as attributes.
        started: when it began.
        code: a status code of gRPC or HTTP.
        moment: turns times into Unix nanoseconds.
    """
    ended = perf_counter()
    over_http = not method.startswith("/")
    failed = int(code) >= 500 if over_http and code.isdecimal() else code in _FAULTS
    attributes = {**(_http(method, code) if over_http else _grpc(method, code)), **facts}
    if failed:
        attributes["error.type"] = code
    name = method if over_http else method[1:]
    of_call = Span(
        trace.trace_id, trace.span_id, trace.parent_id, name, Kind.SERVER, moment(started), moment(ended), attributes,
        trace.state, remote_parent=bool(trace.parent_id), failed=failed,
    )  # fmt: skip
    of_steps = _steps(trace, steps, ended, facts.get("tokenmint.reason", ""), moment) if steps is not None else []
    times = steps.times[: len(of_steps)] if steps is not None else []
    of_requests = [_request(trace, one, of_steps, times, moment) for one in trace.requests]
    return [of_call, *of_steps, *of_requests]


def attributes_of(client: str, operator: str, steps: Trace | None, reason: str, scheme: str) -> dict[str, str]:
    """Return the attributes of a call's span: names of the configuration, and the reason of a refusal."""
    minted = list(dict.fromkeys(audience for audience, _ in steps.minted)) if steps is not None else []
    found = {
        "tokenmint.client.id": client,
        "tokenmint.operator.id": operator,
        "tokenmint.provider": steps.provider if steps is not None else "",
        "tokenmint.audience": clipped(" ".join(minted), LONG),
        "tokenmint.reason": reason,
        "url.scheme": scheme,
    }
    return {name: value for name, value in found.items() if value}


def _grpc(method: str, code: str) -> dict[str, str | int]:
    return {"rpc.system.name": "grpc", "rpc.method": method[1:], "rpc.response.status_code": code}


def _http(method: str, code: str) -> dict[str, str | int]:
    verb, _, path = method.partition(" ")
    return {
        "http.request.method": verb,
        "http.route": path,
        "url.path": path,
        "http.response.status_code": int(code) if code.isdecimal() else 0,
    }


def _steps(trace: CallTrace, steps: Trace, ended: float, reason: str, moment: Moment) -> list[Span]:
    names, times = steps.steps[:MAX_STEPS], [*steps.times[:MAX_STEPS], ended]
    made = []
    for place, name in enumerate(names):
        refused = bool(reason) and place == len(steps.steps) - 1  # the last step is the one that refused
        attributes: dict[str, str | int] = {"error.type": reason} if refused else {}
        start, end = moment(times[place]), moment(times[place + 1])
        span_id = trace.new_id()
        made.append(
            Span(trace.trace_id, span_id, trace.span_id, name, Kind.INTERNAL, start, end, attributes, failed=refused)
        )
    return made


def _request(
    trace: CallTrace, request: OutgoingRequest, steps: Sequence[Span], times: Sequence[float], moment: Moment
) -> Span:
    place = bisect_right(times, request.started) - 1
    parent = steps[place].span_id if place >= 0 else trace.span_id
    attributes = {**request.attributes, **({"error.type": request.error} if request.error else {})}
    return Span(
        trace.trace_id, request.span_id, parent, request.name, Kind.CLIENT, moment(request.started),
        moment(request.ended), attributes, trace.state, failed=bool(request.error),
    )  # fmt: skip


def is_recordable(row: Row | None) -> bool:
    """Return whether calls of a method become spans: those of authenticated callers, who answer for their number."""
    return row is not None and bool(row.audit.kind)
