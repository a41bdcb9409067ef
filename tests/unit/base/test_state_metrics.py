"""Metrics of the state: totals that parts count become counters, labels that are gone leave, clients are bounded."""

import subprocess
import sys
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tokenmint.base.state_metrics import SECONDS, Durations, StateMetrics
from tokenmint.base.telemetry import CLIENTS, OTHER_CLIENTS, Metrics


def values(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a metric, by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> StateMetrics:
    return StateMetrics(registry, "1.2.3")


def test_the_version_is_shown(registry: CollectorRegistry, metrics: StateMetrics) -> None:
    ((version, python),) = values(registry, "tokenmint_build_info")
    assert version == "1.2.3"
    assert python == ".".join(map(str, sys.version_info[:3]))


def test_a_counter_follows_a_total_and_ignores_a_smaller_one(
    registry: CollectorRegistry, metrics: StateMetrics
) -> None:
    for total, shown in ((3, 3), (3, 3), (10, 10), (2, 10), (4, 12)):
        metrics.reach("tokenmint_near_cache", {("hit",): total})
        assert values(registry, "tokenmint_near_cache_total") == {("hit",): shown}


def test_labels_that_are_gone_leave(registry: CollectorRegistry, metrics: StateMetrics) -> None:
    metrics.show("tokenmint_provider_keys_failing", {("a",): 1, ("b",): 0})
    metrics.show("tokenmint_provider_keys_failing", {("b",): 1})
    assert values(registry, "tokenmint_provider_keys_failing") == {("b",): 1}


def measured(*seconds: float) -> Durations:
    durations = Durations()
    for one in seconds:
        durations.classes[bisect_left(SECONDS, one)] += 1
        durations.total += one
    return durations


def test_durations_become_a_histogram(registry: CollectorRegistry, metrics: StateMetrics) -> None:
    metrics.store({"read": measured(0.0005, 0.002)})
    metrics.store({"read": measured(0.0005, 0.002, 0.002, 9.0)})
    buckets = values(registry, "tokenmint_store_seconds_bucket")
    assert [buckets[("read", bound)] for bound in ("0.0005", "0.001", "0.0025", "5.0", "+Inf")] == [1, 1, 3, 3, 4]
    assert values(registry, "tokenmint_store_seconds_count") == {("read",): 4}
    assert values(registry, "tokenmint_store_seconds_sum")[("read",)] == pytest.approx(9.0045)


def test_the_process_is_measured(registry: CollectorRegistry, metrics: StateMetrics) -> None:
    metrics.process()
    assert values(registry, "process_resident_memory_bytes")[()] > 1_000_000
    assert values(registry, "process_open_fds")[()] > 2
    assert values(registry, "process_max_fds")[()] >= values(registry, "process_open_fds")[()]
    assert values(registry, "process_start_time_seconds")[()] > 1.7e9
    assert values(registry, "process_cpu_seconds_total")[()] > 0


def test_a_system_without_such_figures_shows_none(registry: CollectorRegistry) -> None:
    nothing: Mapping[str, float] = {}
    StateMetrics(registry, "1", lambda: nothing).process()
    assert values(registry, "process_open_fds") == {(): 0}


def test_refusals_are_counted_by_client_and_further_clients_are_one() -> None:
    metrics = Metrics()
    for number in range(CLIENTS + 3):
        metrics.refused(f"client-{number}", "AUDIENCE_DENIED")
    metrics.refused("client-0", "EXPIRED")
    refusals = values(metrics.registry, "tokenmint_client_refusals_total")
    assert len(refusals) == CLIENTS + 2
    assert refusals[(OTHER_CLIENTS, "AUDIENCE_DENIED")] == 3
    assert refusals[("client-0", "EXPIRED")] == 1


SEVERAL = """
import sys
from tokenmint.base.state_metrics import StateMetrics, Durations
from tokenmint.base.telemetry import Metrics
metrics = Metrics()
state = StateMetrics(metrics.registry, "1")
durations = Durations()
durations.classes[0], durations.total = 2, 0.5
state.store({"write": durations})
state.show("tokenmint_provider_keys_failing", {("a",): 1})
state.show("tokenmint_provider_keys_failing", {("b",): 1})
state.show("tokenmint_calls_in_flight_limit", {(): 64})
state.process()
print("written", flush=True)
if sys.argv[1] == "show":
    sys.stdout.buffer.write(metrics.render())
else:
    sys.stdin.read()
"""


def test_several_workers_are_summed(tmp_path: Path) -> None:
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", SEVERAL]
    with subprocess.Popen(
        [*command, "wait"], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "written\n"
        shown = subprocess.run([*command, "show"], env=environ, capture_output=True, text=True, check=True).stdout
    lines = dict(line.rsplit(" ", 1) for line in shown.splitlines() if not line.startswith(("#", "written")))
    assert lines['tokenmint_store_seconds_bucket{le="0.0005",operation="write"}'] == "4.0"
    assert lines['tokenmint_store_seconds_sum{operation="write"}'] == "1.0"
    assert lines["tokenmint_calls_in_flight_limit"] == "128.0"
    assert float(lines["process_open_fds"]) > 4
