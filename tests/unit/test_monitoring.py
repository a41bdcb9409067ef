"""Alerts and dashboards: runbooks and metrics exist, and the dashboards are as their program writes them.

`make check-deploy` parses the expressions by Prometheus' own parser, and tests/e2e/test_chart.py compares the metrics
with those of a service that runs.
"""

import re

import pytest
from prometheus_client import CollectorRegistry
from tests.deploy.chart import of_kind
from tests.deploy.monitoring import alerts, expressions, generator, metrics_of, panels
from tests.fakes import FakeClock
from tests.pages import ROOT

from tokenmint.base.state_metrics import StateMetrics
from tokenmint.base.telemetry import Metrics
from tokenmint.edge.answers import Answer, Answers, Limits
from tokenmint.edge.application import Edge
from tokenmint.edge.following import Following
from tokenmint.edge.question import Question

RUNBOOKS = ROOT / "docs" / "runbooks"
WANTED = {
    "TokenmintKeysNotConfirmed", "TokenmintProviderStale", "TokenmintRefusalsJump", "TokenmintRotationBlocked",
    "TokenmintCertificateNearEnd", "TokenmintClockDiffers", "TokenmintAuditDropped", "TokenmintStoreNotDurable",
    "TokenmintRevocationsStale", "TokenmintStatusListsStale", "TokenmintSignalsSilent", "TokenmintSignalsRefused",
    "TokenmintEdgeRevocationsLate", "TokenmintRegionProfilesLate", "TokenmintEdgeUpstreamAway",
}  # fmt: skip
BOARDS = {"overview", "keys", "providers", "clients", "regions", "revocations", "sidecars"}
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def known() -> set[str]:
    """Return the names of all samples that the service and its sidecar can show."""
    metrics = Metrics()
    StateMetrics(metrics.registry, "1")
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
    families = [*metrics.registry.collect(), *sidecar().collect()]
    return {family.name + suffix for family in families for suffix in suffixes[family.type]}


def sidecar() -> CollectorRegistry:
    """Return the metrics of a sidecar that follows revocations."""

    async def ask(_: Question) -> Answer:
        raise NotImplementedError

    clock = FakeClock()
    following = Following(["https://orders.example"], clock)
    answers = Answers(ask, clock, Limits(alone=1, followed=300, lag=5), following=following)
    return Edge(answers, (), "x-forwarded-host", following, 5.0).registry


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_a_summary_and_a_runbook_that_exists(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook_url"].removeprefix("RUNBOOKS/").partition("#")
    headings = [heading.lower() for heading in HEADING.findall((RUNBOOKS / page).read_text())]
    assert not anchor or anchor in headings


def test_the_page_of_alerts_has_no_section_of_an_alert_that_is_gone() -> None:
    headings = set(HEADING.findall((RUNBOOKS / "alerts.md").read_text())[1:])
    named = {rule["alert"] for rule in alerts()}
    assert headings <= named
    assert named >= WANTED


@pytest.mark.parametrize(("place", "expression"), expressions().items(), ids=expressions())
def test_every_metric_of_an_expression_exists(place: str, expression: str) -> None:
    assert metrics_of(expression)
    assert metrics_of(expression) <= known()


def test_a_metric_is_found_wherever_it_stands() -> None:
    text = 'sum(rate(tokenmint_a_total{x="tokenmint_b"}[5m])) / on (instance) process_c and tokenmint_d > 1'
    assert metrics_of(text) == {"tokenmint_a_total", "process_c", "tokenmint_d"}


def test_the_dashboards_are_as_their_program_writes_them() -> None:
    assert generator().main(check=True) == 0
    assert {name.partition(":")[0] for name, _ in panels()} == BOARDS


def test_panels_fill_their_rows_and_lie_side_by_side() -> None:
    for name in BOARDS:
        places = [panel["gridPos"] for place, panel in panels() if place.startswith(f"{name}:")]
        taken = {(place["x"] + x, place["y"]) for place in places for x in range(place["w"])}
        assert len(taken) == sum(place["w"] for place in places) == 24 * len({place["y"] for place in places})


def test_the_chart_installs_the_alerts_with_links_to_the_runbooks() -> None:
    (rule,) = of_kind("sentinel", "PrometheusRule")
    installed = rule["spec"]["groups"][0]["rules"]
    assert [one["alert"] for one in installed] == [one["alert"] for one in alerts()]
    for one in installed:
        assert one["annotations"]["runbook_url"].startswith("https://tokenmint.dev/docs/runbooks/")
    boards = [item for item in of_kind("sentinel", "ConfigMap") if "dashboard" in item["metadata"]["name"]]
    assert len(boards) == len(BOARDS)
    (monitor,) = of_kind("sentinel", "ServiceMonitor")
    services = [item["metadata"]["labels"] for item in of_kind("sentinel", "Service")]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert [labels["app.kubernetes.io/component"] for labels in services if wanted <= labels.items()] == ["ops"]
