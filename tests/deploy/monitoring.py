"""The expressions of alerts and dashboards, and the metrics that they read."""

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final

import yaml
from tests.deploy.chart import CHART
from tests.pages import ROOT

ALERTS: Final = CHART / "files" / "alerts.yaml"
DASHBOARDS: Final = CHART / "files" / "dashboards"
SIDECAR: Final = "tokenmint_edge_"
_METRIC: Final = re.compile(r"\b(?:tokenmint|process)_[a-z_]+\b")


def alerts() -> list[Mapping[str, Any]]:
    """Return the alert rules."""
    document = yaml.safe_load(ALERTS.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the panels of all dashboards, by dashboard and title."""
    for file in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            yield f"{file.stem}: {panel['title']}", panel


def expressions() -> dict[str, str]:
    """Return every expression, as Prometheus gets it, by its place."""
    found = {rule["alert"]: str(rule["expr"]) for rule in alerts()}
    for name, panel in panels():
        for target in panel["targets"]:
            found[f"{name} ({target['refId']})"] = target["expr"].replace("$namespace", ".*")
    return found


def metrics_of(expression: str) -> set[str]:
    """Return the metrics that an expression reads. `make check-deploy` compares them with Prometheus' parser."""
    return set(_METRIC.findall(re.sub(r'"[^"]*"', '""', expression)))


def read_metrics(*, sidecar: bool = False) -> set[str]:
    """Return the metrics that alerts and dashboards read, of the service or of its sidecar (`tokenmint edge`)."""
    every = {metric for expression in expressions().values() for metric in metrics_of(expression)}
    return {metric for metric in every if metric.startswith(SIDECAR) is sidecar}


def generator() -> ModuleType:
    """Return the program that writes the dashboards."""
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / "deploy" / "dashboards.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("deploy/dashboards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
