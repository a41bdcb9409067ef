"""Write Grafana's dashboards: `python deploy/dashboards.py`. With `--check` name those that are out of date.

A dashboard is a list of rows, and a row a list of panels: title, unit, and the expressions with their legends.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

FOLDER: Final = Path(__file__).resolve().parent / "helm" / "tokenmint" / "files" / "dashboards"
WIDTH: Final = 24
HEIGHT: Final = 8
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
OF: Final = 'namespace=~"$namespace"'
OURS: Final = "and on (instance) tokenmint_build_info"
"""Leaves out other programs, which have metrics of the same name."""


class Panel(NamedTuple):
    """A panel. ``unit`` is one of Grafana's."""

    title: str
    unit: str
    queries: Mapping[str, str]
    """Expressions by their legend."""
    kind: str = "timeseries"


DASHBOARDS: Final[Mapping[str, tuple[str, Sequence[Sequence[Panel]]]]] = {
    "overview": (
        "tokenmint: overview",
        [
            [
                Panel("Ready replicas", "none", {"ready": f"sum(tokenmint_ready{{{OF}}})"}, "stat"),
                Panel("Versions", "none",
                      {"{{version}}": f"count by (version) (tokenmint_build_info{{{OF}}})"}, "stat"),
                Panel(
                    "Minted tokens, each second", "ops",
                    {"minted": f"sum(rate(tokenmint_tokens_minted_total{{{OF}}}[5m]))"}, "stat",
                ),
                Panel(
                    "Refused calls", "percentunit",
                    {"refused": f'sum(rate(tokenmint_calls_total{{{OF},reason!=""}}[5m]))'
                                f" / sum(rate(tokenmint_calls_total{{{OF}}}[5m]))"}, "stat",
                ),
            ],
            [
                Panel("Calls by method", "ops",
                      {"{{method}}": f"sum by (method) (rate(tokenmint_calls_total{{{OF}}}[5m]))"}),
                Panel("Refusals by reason", "ops",
                      {"{{reason}}": f'sum by (reason) (rate(tokenmint_calls_total{{{OF},reason!=""}}[5m]))'}),
            ],
            [
                Panel(
                    "Duration of calls", "s",
                    {
                        f"{quantile}": f"histogram_quantile({quantile}, sum by (le) "
                                       f"(rate(tokenmint_call_seconds_bucket{{{OF}}}[5m])))"
                        for quantile in ("0.5", "0.95", "0.99")
                    },
                ),
                Panel(
                    "Calls in hand, and their limit", "none",
                    {
                        "{{instance}}": f"tokenmint_calls_in_flight{{{OF}}}",
                        "limit": f"min(tokenmint_calls_in_flight_limit{{{OF}}})",
                    },
                ),
                Panel("Calls refused before they began", "ops",
                      {"{{reason}}": f"sum by (reason) (rate(tokenmint_calls_not_begun_total{{{OF}}}[5m]))"}),
            ],
            [
                Panel(
                    "Store: duration (99 %)", "s",
                    {"{{operation}}": "histogram_quantile(0.99, sum by (operation, le) "
                                      f"(rate(tokenmint_store_seconds_bucket{{{OF}}}[5m])))"},
                ),
                Panel("Store: operations", "ops",
                      {"{{operation}}": f"sum by (operation) (rate(tokenmint_store_seconds_count{{{OF}}}[5m]))"}),
                Panel("Store: errors", "ops",
                      {"{{reason}}": f"sum by (reason) (rate(tokenmint_store_errors_total{{{OF}}}[5m]))"}),
            ],
            [
                Panel("CPU", "none", {"{{instance}}": f"rate(process_cpu_seconds_total{{{OF}}}[5m]) {OURS}"}),
                Panel("Memory", "bytes", {"{{instance}}": f"process_resident_memory_bytes{{{OF}}} {OURS}"}),
                Panel(
                    "Open files", "none",
                    {
                        "{{instance}}": f"process_open_fds{{{OF}}} {OURS}",
                        "limit": f"min(process_max_fds{{{OF}}} {OURS})",
                    },
                ),
            ],
            [
                Panel("Background tasks that fail", "none",
                      {"{{task}} on {{instance}}": f"tokenmint_task_failing{{{OF}}} > 0"}),
                Panel(
                    "Lost records", "none",
                    {
                        "audit {{stream}}": f"sum by (stream) (increase(tokenmint_audit_dropped_total{{{OF}}}[5m]))",
                        "log": f"sum(increase(tokenmint_log_dropped_total{{{OF}}}[5m]))",
                    },
                ),
            ],
        ],
    ),
    "keys": (
        "tokenmint: keys",
        [
            [
                Panel("To the next planned change", "s",
                      {"{{algorithm}}": f"min by (algorithm) (tokenmint_key_next_change_seconds{{{OF}}})"}, "stat"),
                Panel("Keys by state", "none",
                      {"{{algorithm}} {{state}}": f"max by (algorithm, state) (tokenmint_keys{{{OF}}})"}, "stat"),
                Panel("Certificates end in", "s",
                      {"{{use}}": f"min by (use) (tokenmint_certificate_expiry_seconds{{{OF}}})"}, "stat"),
            ],
            [
                Panel("Age of keys", "s",
                      {"{{algorithm}} {{state}}": f"max by (algorithm, state) (tokenmint_key_age_seconds{{{OF}}})"}),
                Panel("Since the last confirmation of the key ring", "s",
                      {"{{instance}}": f"tokenmint_key_ring_confirmed_seconds{{{OF}}}"}),
                Panel("Generation of the key ring", "none",
                      {"{{instance}}": f"tokenmint_key_ring_generation{{{OF}}}"}),
            ],
            [
                Panel("Clock, ahead of the store's", "s",
                      {"{{instance}}": f"tokenmint_clock_offset_seconds{{{OF}}}"}),
                Panel(
                    "Store", "none",
                    {
                        "confirms changes": f"min(tokenmint_store_confirms_writes{{{OF}}})",
                        "went back": f"max(tokenmint_store_went_back{{{OF}}})",
                        "high-water mark kept": f"min(tokenmint_high_water_mark_kept{{{OF}}})",
                    },
                ),
            ],
        ],
    ),
    "providers": (
        "tokenmint: providers",
        [
            [
                Panel("Keys at hand", "bool",
                      {"{{provider}}": f"min by (provider) (tokenmint_provider_keys_at_hand{{{OF}}})"}, "stat"),
                Panel("Last fetch failed", "bool",
                      {"{{provider}}": f"max by (provider) (tokenmint_provider_keys_failing{{{OF}}})"}, "stat"),
            ],
            [
                Panel("Age of keys", "s",
                      {"{{provider}}": f"max by (provider) (tokenmint_provider_keys_age_seconds{{{OF}}})"}),
                Panel("Trusted for", "s",
                      {"{{provider}}": f"min by (provider) (tokenmint_provider_keys_trusted_seconds{{{OF}}})"}),
            ],
        ],
    ),
    "revocations": (
        "tokenmint: revocations and signals",
        [
            [
                Panel("Age of revocations", "s", {"oldest": f"max(tokenmint_revocations_age_seconds{{{OF}}})"}, "stat"),
                Panel("Revocations", "none", {"revocations": f"max(tokenmint_revocations{{{OF}}})"}, "stat"),
                Panel("Watchers", "none", {"streams": f"sum(tokenmint_revocation_watchers{{{OF}}})"}, "stat"),
                Panel("Age of status lists", "s",
                      {"oldest": f"max(tokenmint_status_lists_age_seconds{{{OF}}})"}, "stat"),
            ],
            [
                Panel("Age of revocations by replica", "s",
                      {"{{instance}}": f"tokenmint_revocations_age_seconds{{{OF}}}"}),
                Panel("Watchers by replica", "none", {"{{instance}}": f"tokenmint_revocation_watchers{{{OF}}}"}),
            ],
            [
                Panel("Age of status lists by replica", "s",
                      {"{{instance}}": f"tokenmint_status_lists_age_seconds{{{OF}}}"}),
                Panel(
                    "Status lists, and their names", "none",
                    {
                        "lists": f"max(tokenmint_status_lists{{{OF}}})",
                        "names": f"max(tokenmint_status_list_names{{{OF}}})",
                    },
                ),
            ],
            [
                Panel("Signals, each hour", "none",
                      {"{{provider}} {{outcome}}": "sum by (provider, outcome) "
                                                   f'(increase(tokenmint_signals_total{{{OF},event!=""}}[1h]))'}),
                Panel("Refused signals, each hour", "none",
                      {"{{provider}} {{outcome}}": "sum by (provider, outcome) "
                                                   f'(increase(tokenmint_signals_total{{{OF},event=""}}[1h]))'}),
            ],
        ],
    ),
    "clients": (
        "tokenmint: clients",
        [
            [
                Panel("Minted tokens by audience", "ops",
                      {"{{audience}}": f"sum by (audience) (rate(tokenmint_tokens_minted_total{{{OF}}}[5m]))"}),
                Panel("Refusals by client", "ops",
                      {"{{client}}": f"topk(20, sum by (client) (rate(tokenmint_client_refusals_total{{{OF}}}[5m])))"}),
            ],
            [
                Panel(
                    "Refusals by client and reason", "none",
                    {"{{client}} {{reason}}": "topk(30, sum by (client, reason) "
                                              f"(increase(tokenmint_client_refusals_total{{{OF}}}[1h])))"}, "table",
                ),
                Panel(
                    "Profiles read from memory", "percentunit",
                    {"hits": f'sum(rate(tokenmint_near_cache_total{{{OF},outcome="hit"}}[5m]))'
                             f" / sum(rate(tokenmint_near_cache_total{{{OF}}}[5m]))"},
                ),
            ],
        ],
    ),
    "regions": (
        "tokenmint: regions",
        [
            [
                Panel(
                    "Age of other regions' keys, and the longest cut", "s",
                    {
                        "keys of {{region}} on {{instance}}": f"tokenmint_region_keys_age_seconds{{{OF}}}",
                        "longest cut": f"max(tokenmint_region_longest_cut_seconds{{{OF}}} > 0)",
                    },
                ),
                Panel("Age of other regions' revocations", "s",
                      {"{{region}} on {{instance}}": f"tokenmint_region_revocations_age_seconds{{{OF}}}"}),
            ],
            [
                Panel("Age of copied profiles", "s",
                      {"{{region}} on {{instance}}": f"tokenmint_region_profiles_age_seconds{{{OF}}}"}),
                Panel("Refused records of other regions, each hour", "none",
                      {"{{region}}": "sum by (region) "
                                     f"(increase(tokenmint_region_profiles_refused_total{{{OF}}}[1h]))"}),
                Panel("Regions that were given up", "none",
                      {"given up": f"max(tokenmint_regions_given_up{{{OF}}})"}, "stat"),
            ],
        ],
    ),
    "sidecars": (
        "tokenmint: sidecars of gateways",
        [
            [
                Panel(
                    "Answers that were kept", "percentunit",
                    {"kept": f'sum(rate(tokenmint_edge_answers_total{{{OF},how="kept"}}[5m]))'
                             f" / sum(rate(tokenmint_edge_answers_total{{{OF}}}[5m]))"}, "stat",
                ),
                Panel("Answers, each second", "ops",
                      {"{{how}}": f"sum by (how) (rate(tokenmint_edge_answers_total{{{OF}}}[5m]))"}),
                Panel("Kept answers by sidecar", "none", {"{{instance}}": f"tokenmint_edge_answers_kept{{{OF}}}"}),
            ],
            [
                Panel("Age of revocations", "s",
                      {"{{audience}} on {{instance}}": f"tokenmint_edge_revocations_age_seconds{{{OF}}}"}),
                Panel("Revocations that are not followed", "none",
                      {"{{audience}} on {{instance}}": f"tokenmint_edge_revocations_followed{{{OF}}} == 0"}),
                Panel("Revocations by sidecar", "none", {"{{instance}}": f"tokenmint_edge_revocations{{{OF}}}"}),
            ],
        ],
    ),
}  # fmt: skip
"""Title and rows of each dashboard, by the name of its file."""


ELSEWHERE: Final = {"sidecars": "tokenmint_edge_answers_kept"}
"""The metric whose namespaces a dashboard offers, of programs that run in others than tokenmint."""


def expressions() -> Iterator[str]:
    """Yield the expressions of all panels, as Grafana sends them."""
    for _, rows in DASHBOARDS.values():
        for row in rows:
            for panel in row:
                for expression in panel.queries.values():
                    yield expression.replace("$namespace", ".*")


def panels(rows: Sequence[Sequence[Panel]]) -> Iterator[dict[str, Any]]:
    """Yield Grafana's panels."""
    number = 0
    for line, row in enumerate(rows):
        width = WIDTH // len(row)
        for place, panel in enumerate(row):
            number += 1
            yield {
                "id": number,
                "title": panel.title,
                "type": panel.kind,
                "datasource": SOURCE,
                "gridPos": {"h": HEIGHT, "w": width, "x": place * width, "y": line * HEIGHT},
                "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
                "targets": [
                    {
                        "refId": chr(ord("A") + index),
                        "datasource": SOURCE,
                        "expr": expression,
                        "legendFormat": legend,
                        "instant": panel.kind != "timeseries",
                        "exemplar": "tokenmint_call_seconds_bucket" in expression,
                    }
                    for index, (legend, expression) in enumerate(panel.queries.items())
                ],
            }


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it."""
    title, rows = DASHBOARDS[name]
    return {
        "uid": f"tokenmint-{name}",
        "title": title,
        "tags": ["tokenmint"],
        "schemaVersion": 39,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "namespace",
                    "label": "Namespace",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": f"label_values({ELSEWHERE.get(name, 'tokenmint_build_info')}, namespace)",
                    "includeAll": True,
                    "allValue": ".*",
                    "multi": True,
                    "refresh": 2,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "links": [{"type": "dashboards", "tags": ["tokenmint"], "title": "tokenmint", "asDropdown": True}],
        "panels": list(panels(rows)),
    }


def main(check: bool) -> int:
    """Write the dashboards, or tell which are not up to date; return the exit status."""
    status = 0
    for name in DASHBOARDS:
        file, text = FOLDER / f"{name}.json", json.dumps(dashboard(name), indent=1) + "\n"
        if file.exists() and file.read_text() == text:
            continue
        if check:
            sys.stderr.write(f"{file.name}: is not up to date: run `python deploy/dashboards.py`\n")
            status = 1
        else:
            file.write_text(text)
    return status


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
