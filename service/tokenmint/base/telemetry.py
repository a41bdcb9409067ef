"""Metrics, and the JSON of events. Neither ever holds a token, a secret or an exception's own text."""

import itertools
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition

MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The directory where several workers keep their numbers, so that each can report the sum."""
CLIENTS: Final = 500
"""The clients whose refusals are counted by name."""
OTHER_CLIENTS: Final = "(others)"
"""Stands for all further clients; it is no client id, because ids have no brackets."""
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics. An object instead of globals, so that each test has its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._make_call_metrics()
        self._in_flight = self._gauge("tokenmint_calls_in_flight", "Calls in hand", "livesum")
        self._ready = self._gauge("tokenmint_ready", "Whether calls are served: 1 or 0", "livemin")
        self._confirmed = self._gauge(
            "tokenmint_key_ring_confirmed_seconds", "Seconds since the store last confirmed the key ring", "livemax"
        )
        self._generation = self._gauge("tokenmint_key_ring_generation", "Generation of the key ring in use", "livemin")
        self._clock_offset = self._gauge(
            "tokenmint_clock_offset_seconds",
            "Seconds by which this process's clock is certainly ahead of the store's; negative: behind",
            "livemostrecent",
        )
        self._went_back = self._gauge(
            "tokenmint_store_went_back",
            "Whether the store lost changes that no operator has accepted: 1 or 0",
            "livemax",
        )
        self._mark_kept = self._gauge(
            "tokenmint_high_water_mark_kept", "Whether the high-water mark can be written: 1 or 0", "livemin"
        )
        self._providers = self._gauge(
            "tokenmint_provider_keys_at_hand",
            "Whether a provider's tokens can be verified now: 1 or 0",
            "livemin",
            "provider",
        )
        self._task_failures = self._counter("tokenmint_task_failures", "Failures of background tasks", "task")
        self._tasks_failing = self._gauge(
            "tokenmint_task_failing", "Whether a background task fails now: 1 or 0", "livemax", "task"
        )
        limits = "Connections closed and requests refused by limits of an HTTP listener"
        self._http_limits = self._counter("tokenmint_http_limits", limits, "listener", "outcome")
        closed = "Connections of a gRPC listener that its limits closed"
        self._grpc_closed = self._counter("tokenmint_grpc_connections_closed", closed, "listener")
        self._replaced = self._counter(
            "tokenmint_workers_replaced", "Replaced workers, by the reason: hung, ended or never_ready", "why"
        )
        self._log_dropped = self._counter(
            "tokenmint_log_dropped", "Lines of the log that were dropped, because it was slow or broken"
        )
        self._log_broken = self._gauge(
            "tokenmint_log_broken", "Whether the log is discarded, or can't be written now: 1 or 0", "livemax"
        )
        self._audit_dropped = self._counter(
            "tokenmint_audit_dropped", "Audit events that did not reach their stream", "stream"
        )
        self._counted: dict[str, int] = {}

    def _make_call_metrics(self) -> None:
        self._calls = self._counter(
            "tokenmint_calls", "Calls by method, status code and reason", "method", "code", "reason"
        )
        self._seconds = Histogram(
            "tokenmint_call_seconds", "Duration of calls", ["method"], buckets=_BUCKETS, registry=self.registry
        )
        self._of_calls: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._of_audiences: dict[str, Counter] = {}
        self._minted = self._counter("tokenmint_tokens_minted", "Minted tokens", "audience")
        self._refusals = self._counter(
            "tokenmint_client_refusals",
            "Refused calls of authenticated clients, by client and reason",
            "client",
            "reason",
        )
        self._refused: set[str] = set()
        self._signals = self._counter(
            "tokenmint_signals",
            "Events of providers about accounts, by type and outcome; refused tokens by reason",
            "provider",
            "event",
            "outcome",
        )
        self._not_begun = self._counter(
            "tokenmint_calls_not_begun", "Calls that were refused before any part of them was read", "reason"
        )
        self._not_begun_for: dict[str, Counter] = {}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, mode: Any, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=mode)

    def call(self, method: str, code: str, reason: str, seconds: float, span: tuple[str, str] | None = None) -> None:
        """Count a call that ended.

        ``span``: the ids of its trace and its span, if it became one; the exemplar of its duration.
        """
        count, duration = self._series(method, code, reason)
        count.inc()
        duration.observe(seconds, {"trace_id": span[0], "span_id": span[1]} if span is not None else None)

    def _series(self, method: str, code: str, reason: str) -> tuple[Counter, Histogram]:
        series = self._of_calls.get((method, code, reason))
        if series is None:  # looked up once; the number of methods and reasons is small
            series = self._calls.labels(method, code, reason), self._seconds.labels(method)
            self._of_calls[method, code, reason] = series
        return series

    def minted_calls(self, calls: Iterable[tuple[str, tuple[str, ...], float, str]]) -> None:
        """Count calls that minted tokens, by method, the tokens' audiences, seconds and code.

        It is less work than one by one.
        """
        groups: dict[tuple[str, tuple[str, ...], str], list[float]] = {}
        for method, audiences, seconds, code in calls:
            groups.setdefault((method, audiences, code), []).append(seconds)
        for (method, audiences, code), durations in groups.items():
            count, duration = self._series(method, code, "")
            count.inc(len(durations))
            for seconds in durations:
                duration.observe(seconds)
            for audience in audiences:
                self.minted(audience, len(durations))

    def refused(self, client: str, reason: str) -> None:
        """Count a refused call of an authenticated client. Beyond :data:`CLIENTS` clients, the others are one."""
        if client not in self._refused:
            if len(self._refused) >= CLIENTS:
                client = OTHER_CLIENTS
            self._refused.add(client)
        self._refusals.labels(client, reason).inc()

    def not_begun(self, reason: str) -> None:
        """Count a call that was refused before any part of it was read."""
        counter = self._not_begun_for.get(reason)
        if counter is None:
            counter = self._not_begun_for[reason] = self._not_begun.labels(reason)
        counter.inc()

    def minted(self, audience: str, count: int = 1) -> None:
        """Count minted tokens."""
        counter = self._of_audiences.get(audience)
        if counter is None:
            counter = self._of_audiences[audience] = self._minted.labels(audience)
        counter.inc(count)

    def signal(self, provider: str, event: str, outcome: str) -> None:
        """Count an event of a provider, or with "" as the event, a refused token with events."""
        self._signals.labels(provider, event, outcome).inc()

    def task(self, name: str, *, failed: bool) -> None:
        """Record the state of a background task; a failure is counted."""
        self._tasks_failing.labels(name).set(int(failed))
        failures = self._task_failures.labels(name)  # exists from the first call on
        if failed:
            failures.inc()

    def worker_replaced(self, why: str) -> None:
        """Count this worker as the replacement of one that `ended`, `hung` or was `never_ready`."""
        self._replaced.labels(why).inc()

    def http_limit(self, listener: str, outcome: str) -> None:
        """Count a connection or request that a limit of an HTTP listener closed or refused."""
        self._http_limits.labels(listener, outcome).inc()

    def grpc_closed(self, listener: str, connections: int) -> None:
        """Count connections that the limits of a gRPC listener closed."""
        self._grpc_closed.labels(listener).inc(connections)

    def state(
        self,
        *,
        ready: bool,
        confirmed: float,
        generation: int,
        clock_offset: float,
        store_went_back: bool,
        mark_kept: bool,
        in_flight: int,
        providers: dict[str, bool],
    ) -> None:
        """Record the current state."""
        self._clock_offset.set(clock_offset)
        self._went_back.set(int(store_went_back))
        self._mark_kept.set(int(mark_kept))
        self._ready.set(int(ready))
        self._in_flight.set(in_flight)
        self._confirmed.set(confirmed)
        self._generation.set(generation)
        for name, at_hand in providers.items():
            self._providers.labels(name).set(int(at_hand))

    def records(self, *, log_dropped: int, log_broken: bool, audit_dropped: Mapping[str, int]) -> None:
        """Record the state of the log and the audit streams; numbers count from the start of the process."""
        self._log_broken.set(int(log_broken))
        self._log_dropped.inc(self._since("log", log_dropped))
        for stream, dropped in audit_dropped.items():
            self._audit_dropped.labels(stream).inc(self._since(stream, dropped))

    def _since(self, name: str, count: int) -> int:
        before, self._counted[name] = self._counted.get(name, 0), count
        return max(0, count - before)

    def render(self, *, openmetrics: bool = False) -> bytes:
        """Return all metrics, of all workers if there are several.

        Args:
            openmetrics: in the format OpenMetrics 1.0.0, which has exemplars, instead of Prometheus' text format 0.0.4.
                The library keeps no exemplars of several workers.
        """
        registry = self.registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library is untyped
        if openmetrics:
            text: bytes = exposition.generate_latest(registry)  # type: ignore[no-untyped-call]  # the library is untyped
            return text
        return generate_latest(registry)


def places(error: BaseException) -> list[str]:
    """Return the functions and lines from which an error came, the innermost last, without the error's text."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        lines.append(
            f"{trace.tb_frame.f_globals.get('__name__', '?')}.{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
        )
        trace = trace.tb_next
    return lines


def json_text(event: Mapping[str, Any]) -> str:
    """Render an event as JSON in printable ASCII: no value can break a line, control a terminal, or fail to render."""
    try:
        text = orjson.dumps(event, default=repr, option=orjson.OPT_PASSTHROUGH_DATACLASS).decode()
    except TypeError:  # the codec refuses lone surrogates and integers beyond 64 bits
        text = ""
    if text and text.isascii() and "\x7f" not in text:
        return text
    return json.dumps(event, default=repr, separators=(",", ":")).replace("\x7f", "\\u007f")


def bounded_json(event: Mapping[str, Any], limit: int) -> str:
    """Render an event as :func:`json_text` does, in at most ``limit`` bytes: long texts are cut with a mark, then
    lists.

    Texts are cut first, because lists hold the facts, for example each token that a batch minted.
    """
    text = json_text(event)
    if len(text) <= limit:
        return text
    for characters, items in _CUTS:
        text = json_text({_cut_text(name, 64): _cut(value, characters, items) for name, value in event.items()})
        if len(text) <= limit:
            return text
    return json_text({"event": _cut_text(str(event.get("event", "audit")), 16), "cut": f"{len(event)} fields"})


_CUTS: Final = ((2048, 1000), (512, 1000), (128, 1000), (128, 32), (32, 8), (16, 2))
"""Characters kept of a text and items kept of a list; the first pair with which an event fits is used."""


def _cut(value: object, characters: int, items: int, depth: int = 4) -> object:
    if isinstance(value, int) and value.bit_length() > 128:
        return f"({value.bit_length()} bits)"
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, Mapping):
        kept: dict[str, object] = {
            _cut_text(str(name), 64): _cut(item, characters, items, depth - 1)
            for name, item in itertools.islice(value.items(), items)
        }
        return kept | ({"cut": f"{len(value) - items} more"} if len(value) > items else {})
    if depth and isinstance(value, list | tuple | set | frozenset):
        some = [_cut(item, characters, items, depth - 1) for item in itertools.islice(value, items)]
        return some + ([f"...({len(value) - items} more)"] if len(value) > items else [])
    return _cut_text(value if isinstance(value, str) else repr(value), characters)


def _cut_text(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}...({len(text)} characters)"
