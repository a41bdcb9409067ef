"""Write the generated parts of the documentation: `make generate`. With `--check` name the pages that are out of date.

Generated parts stand between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from docs import cli_page, providers_page, refusals_page, relying_parties_page

from tokenmint.base.state_metrics import StateMetrics
from tokenmint.base.telemetry import Metrics
from tokenmint.config.entries import Entry, catalogue

ROOT: Final = Path(__file__).resolve().parents[1]
RUN: Final = "two-shared-cores"
"""The run of the benchmarks whose figures are shown: `benchmarks/runs/RUN.json`, its steps in `RUN-steps.json`, and
those of the fast way in `RUN-fast-steps.json`."""
PART: Final = re.compile(r"(<!-- generated: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def providers_table(entries: Mapping[str, Entry]) -> str:
    """Return the table of the shipped providers: a row for each, with its keys."""
    lines = ["| Entry | Provider | Keys of its own |", "|---|---|---|"]
    for name, entry in entries.items():
        lines.append(f"| `{name}` | {_cell(entry.title)} | {'<br>'.join(_keys(entry)) or '—'} |")
    return "\n".join(lines) + "\n"


def providers_list(entries: Mapping[str, Entry]) -> str:
    """Return the names of the shipped providers."""
    return ", ".join(f"`{name}`" for name in entries) + ".\n"


def _keys(entry: Entry) -> list[str]:
    keys = []
    for name, parameter in entry.parameters.items():
        kinds = ["a list"] if parameter.list else []
        if parameter.required:
            kinds.append("required")
        elif name in entry.require_one_of:
            others = [f"`{other}`" for other in entry.require_one_of if other != name]
            kinds.append(f"required, or {' or '.join(others)}" if others else "required")
        elif parameter.default is not None:
            kinds.append(f'default `"{parameter.default}"`')
        kind = f" ({', '.join(kinds)})" if kinds else ""
        keys.append(f"`{name}`{kind}: {_cell(parameter.help)}")
    if entry.trust_domain_from is not None:
        keys.append("one of `jwks_url`, `jwks` and `jwks_file` is required: the keys of the trust bundle")
    elif entry.in_cluster is not None:
        keys.append(
            "`issuer` is required, except within the cluster: there it and the keys are found by the token of the pod"
        )
    elif not entry.issuers:
        keys.append("`issuer` is required")
    if entry.audiences_from is not None:
        keys.append(f"`audiences` is not set: it is the `{entry.audiences_from}`")
    return keys


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def metrics_table(_: Mapping[str, Entry]) -> str:
    """Return the table of the metrics: name, kind, labels, and meaning."""
    metrics = Metrics()
    StateMetrics(metrics.registry, "")
    lines = ["| Metric | Kind | Labels | Meaning |", "|---|---|---|---|"]
    rows = []
    for made in metrics.registry._collector_to_names:  # noqa: SLF001  # nothing public has the labels
        of: Any = made
        name, labels = of._name, ", ".join(f"`{label}`" for label in of._labelnames)  # noqa: SLF001
        name += "_total" if of._type == "counter" else ""  # noqa: SLF001
        rows.append(f"| `{name}` | {of._type} | {labels} | {_cell(of._documentation)} |")  # noqa: SLF001
    return "\n".join(lines + sorted(rows)) + "\n"


def of_run(table: Callable[[Mapping[str, Any]], str], file: str = RUN) -> Callable[[Mapping[str, Entry]], str]:
    """Return the part of a page that is a table of a run's figures."""

    def part(_: Mapping[str, Entry]) -> str:
        return table(json.loads((ROOT / "benchmarks" / "runs" / f"{file}.json").read_text()))

    return part


PAGES: Final[Mapping[str, Mapping[str, Callable[[Mapping[str, Entry]], str]]]] = {
    "docs/configuration.md": {"shipped-providers": providers_table},
    "docs/providers.md": {"table": providers_page.table, "providers": providers_page.paragraphs},
    "docs/refusals.md": {f"refusals-{name}": refusals_page.table(name) for name in refusals_page.sections()},
    "README.md": {"shipped-providers": providers_list},
    "docs/cli.md": {"connection": cli_page.connection, "commands": cli_page.commands},
    "docs/metrics.md": {"metrics": metrics_table},
    **{
        f"docs/guides/{page}.md": {"limits": relying_parties_page.limits(party)}
        for page, party in relying_parties_page.GUIDES.items()
    },
    "docs/guides/kubernetes.md": {"sizing": of_run(report.sizing_table)},
    "docs/sizing.md": {"sizing": of_run(report.sizing_table)},
    "docs/performance.md": {
        "measured": of_run(report.about),
        "bars": of_run(report.bar_table),
        "rows": of_run(report.row_tables),
        "steps": of_run(report.step_table, f"{RUN}-steps"),
        "steps-of-the-fast-way": of_run(report.step_table, f"{RUN}-fast-steps"),
    },
}
"""The generated parts of each page, by name."""


def generated(page: str, text: str, entries: Mapping[str, Entry]) -> str:
    """Return the text of a page with its generated parts anew. Raises ``KeyError`` for an unknown part."""
    return PART.sub(lambda part: part[1] + PAGES[page][part[2]](entries) + part[4], text)


def main(check: bool) -> int:
    """Write the pages, or tell which are not up to date; return the exit status."""
    status = 0
    for page in PAGES:
        file = ROOT / page
        before = file.read_text()
        after = generated(page, before, catalogue())
        if before == after:
            continue
        if check:
            sys.stderr.write(f"{page}: is not up to date: run `make generate`\n")
            status = 1
        else:
            file.write_text(after)
    return status


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
