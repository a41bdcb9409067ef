"""Metrics of a service's state. They are read from its parts once a second, so that no call pays for them.

The parts count with plain numbers from their start. :class:`Series` adds the differences to the metrics.
"""

import platform
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The upper bounds of durations, beyond which there is one more class."""
_PROCESS: Final = (
    ("process_cpu_seconds_total", "CPU time, user and system", ""),
    ("process_resident_memory_bytes", "Resident memory", "livesum"),
    ("process_open_fds", "Open files", "livesum"),
    ("process_max_fds", "Limit of open files of each process", "livemin"),
    ("process_start_time_seconds", "Start, Unix seconds", "livemin"),
)
"""The process metrics: name, description, and how several workers' values become one; "" for a counter."""

_OF_PROVIDER: Final = ("provider",)
_OF_KEY: Final = ("algorithm", "state")
_GAUGES: Final = (
    ("tokenmint_calls_in_flight_limit", "Calls that may be in hand at a time", "livesum", ()),
    ("tokenmint_store_confirms_writes", "Whether the store confirms changes on disk: 1 or 0", "livemin", ()),
    ("tokenmint_keys", "Signing keys by state", "livemax", _OF_KEY),
    ("tokenmint_key_age_seconds", "Age of the oldest key in its state", "livemax", _OF_KEY),
    ("tokenmint_key_next_change_seconds", "Seconds to the next planned change; negative: overdue", "livemin",
     ("algorithm",)),
    ("tokenmint_provider_keys_age_seconds", "Seconds since a provider's keys were fetched", "livemax",
     _OF_PROVIDER),
    ("tokenmint_provider_keys_trusted_seconds", "Seconds for which a provider's keys are still trusted",
     "livemin", _OF_PROVIDER),
    ("tokenmint_provider_keys_failing", "Whether the last fetch of a provider's keys failed: 1 or 0",
     "livemax", _OF_PROVIDER),
    ("tokenmint_revocations", "Revocations that count now", "livemax", ()),
    ("tokenmint_revocation_watchers", "Streams of revocations", "livesum", ()),
    ("tokenmint_revocations_age_seconds", "Seconds since the log of revocations was read", "livemax", ()),
    ("tokenmint_status_lists", "Status lists whose tokens may be valid", "livemax", ()),
    ("tokenmint_status_list_names", "Names of the tokens in status lists", "livemax", ()),
    ("tokenmint_status_lists_age_seconds", "Seconds since status lists were published", "livemax", ()),
    ("tokenmint_region_keys_age_seconds", "Seconds since another region's keys were known to be complete",
     "livemax", ("region",)),
    ("tokenmint_region_revocations_age_seconds",
     "Seconds since another region's revocations were known to be complete", "livemax", ("region",)),
    ("tokenmint_region_profiles_age_seconds",
     "Seconds since the copies of another region's profiles were known to be complete", "livemax", ("region",)),
    ("tokenmint_region_longest_cut_seconds",
     "Seconds for which a region may be cut off from new keys of another one", "livemax", ()),
    ("tokenmint_regions_given_up", "Regions that were given up", "livemax", ()),
    ("tokenmint_certificate_expiry_seconds", "Seconds to the end of a certificate", "livemin", ("use",)),
)  # fmt: skip
"""The gauges: name, description, how several workers' values become one, and labels."""


class Durations:
    """Counts durations by class, as plain numbers."""

    __slots__ = ("classes", "total")

    def __init__(self) -> None:
        self.classes = [0] * (len(SECONDS) + 1)
        """The number of durations in each class of :data:`SECONDS`, and beyond the last one."""
        self.total = 0.0
        """The sum of all durations, in seconds."""


class _Summed(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, classes: Sequence[int], total: float) -> None:
        """Add the numbers of observations in each class, and the sum of their values."""
        for bucket, number in zip(self._buckets, classes, strict=True):
            bucket.inc(number)
        self._sum.inc(total)


class StateMetrics:
    """The metrics of the state, in a registry.

    Args:
        registry: the registry that `/metrics` shows.
        version: the version of the service.
        process: returns the process metrics by name, as Prometheus' clients call them.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        version: str,
        process: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        self._registry = registry
        self._read_process = process or _process
        self._before: dict[tuple[str, ...], float] = {}
        self._shown: dict[str, set[tuple[str, ...]]] = {}
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        build = self._gauge(
            "tokenmint_build_info", "The running version, as labels; the value is 1", "livemax", "version", "python"
        )
        build.labels(version, platform.python_version()).set(1)
        self._store_seconds = _Summed(
            "tokenmint_store_seconds",
            "Duration of operations of the store: confirmed changes (write), and all others (read)",
            ["operation"],
            buckets=SECONDS,
            registry=registry,
        )
        for name, text, mode in _PROCESS:
            if mode:
                self._gauge(name, text, mode)
            else:
                self._counter(name, text)
        for name, text, mode, labels in _GAUGES:
            self._gauge(name, text, mode, *labels)
        self._counter("tokenmint_store_errors", "Operations of the store that failed, by reason", "reason")
        self._counter(
            "tokenmint_spans", "Spans, by outcome: sent, dropped (no room), refused by the collector", "outcome"
        )
        self._counter(
            "tokenmint_region_profiles_refused", "Records of another region that were not taken over", "region"
        )
        self._counter("tokenmint_near_cache", "Reads of profiles and identities, by outcome", "outcome")

    def _gauge(self, name: str, text: str, mode: Any, *labels: str) -> Gauge:
        made = Gauge(name, text, labels, registry=self._registry, multiprocess_mode=mode)
        self._gauges[name] = made
        return made

    def _counter(self, name: str, text: str, *labels: str) -> None:
        self._counters[name] = Counter(name, text, labels, registry=self._registry)

    def show(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """Set a gauge by its labels. Labels that are gone leave `/metrics`, except those of several workers."""
        gauge = self._gauges[name]
        for labels, value in values.items():
            (gauge.labels(*labels) if labels else gauge).set(value)
        gone = self._shown.get(name, set()) - values.keys()
        if gone:  # rarely: this changes how the whole process warns
            with warnings.catch_warnings(action="ignore"):  # the library warns where it can't remove
                for labels in gone:
                    gauge.remove(*labels)
        self._shown[name] = set(values)

    def reach(self, name: str, totals: Mapping[tuple[str, ...], float]) -> None:
        """Raise a counter, by its labels, to totals that count from the start of the process."""
        counter = self._counters[name]
        for labels, total in totals.items():
            series = counter.labels(*labels) if labels else counter
            series.inc(self._since((name, *labels), total))

    def store(self, durations: Mapping[str, Durations]) -> None:
        """Record the durations of the store's operations, by kind."""
        for operation, all_of_it in durations.items():
            classes = [
                int(self._since(("store", operation, str(place)), number))
                for place, number in enumerate(all_of_it.classes)
            ]
            total = self._since(("store", operation), all_of_it.total)
            self._store_seconds.labels(operation).add(classes, total)

    def process(self) -> None:
        """Record CPU, memory and files of this process."""
        values = self._read_process()
        for name, _, mode in _PROCESS:
            if name not in values:
                continue
            if mode:
                self.show(name, {(): values[name]})
            else:
                self.reach(name, {(): values[name]})

    def _since(self, name: tuple[str, ...], total: float) -> float:
        before, self._before[name] = self._before.get(name, 0.0), total
        return max(0.0, total - before)


def _process() -> dict[str, float]:
    families: Iterable[Any] = ProcessCollector(registry=None).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}
