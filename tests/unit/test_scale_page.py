"""The page about scale follows from the kept run of `make bench-scale`, and from measured figures."""

import json
import re
from typing import Any, Final

import pytest
from tests.pages import ROOT, texts

PAGE: Final = ROOT / "docs" / "scale.md"
RUN: Final[dict[str, Any]] = json.loads((ROOT / "benchmarks" / "runs" / "scale.json").read_text())
KINDS: Final = {"server": "one server", "cluster": "Cluster of three"}


@pytest.fixture
def formulas() -> dict[str, Any]:
    (script,) = texts(PAGE, "python")
    names: dict[str, Any] = {}
    exec(script, names)  # noqa: S102  # the page's own formulas
    return names


def rows(beginning: str) -> list[list[str]]:
    """Return the cells of the table that begins so."""
    table = PAGE.read_text().partition(beginning)[2].partition("\n\n")[0].splitlines()[2:]
    return [row.strip("| ").split(" | ") for row in table]


def test_the_commands_are_those_of_the_run() -> None:
    expected = []
    for row in RUN["measured"]:
        nodes = row["commands_an_exchange_by_node"]
        writes = [node.get("xadd", 0.0) for node in nodes]
        reads = [node.get("mget", 0.0) + node.get("get", 0.0) for node in nodes]
        near = "on" if row["caches.profiles"] else "off"
        serving = [
            "XADD: " + " + ".join(f"{one:.2f}" for one in writes),
            "reads: " + " + ".join(f"{one:.2f}" for one in reads),
        ]
        shards = str(row["audit.shards"])
        sums = [f"{sum(writes):.2f}", f"{sum(reads):.2f}"]
        expected.append([KINDS[row["store"]], near, shards, *sums, "; ".join(serving)])
    assert rows("| store | near cache |") == expected


def test_shards_of_the_audit_stream_are_on_all_primaries_and_cost_no_more_commands() -> None:
    """The run shows it, as the page says."""
    sharded = [row for row in RUN["measured"] if row["audit.shards"] > 1]
    assert len(sharded) == 2
    for row in sharded:
        writes = [node.get("xadd", 0.0) for node in row["commands_an_exchange_by_node"]]
        assert sum(writes) == pytest.approx(1.0, abs=0.005)
        assert all(0.3 < one < 0.36 for one in writes)


def test_the_hit_rates_are_those_of_the_run() -> None:
    formula = "hit_rate_without_a_bound_by_formula"
    edge = [
        [f"{row['calls_a_second']:,}", str(row["kept_seconds"]), f"{row['entries']:,}"]
        + [f"{100 * row[name]:.1f} %" for name in ("hit_rate", formula)]
        for row in RUN["modelled"]["edge"]
    ]
    assert rows("| sidecar: calls a second |") == edge
    source = [
        [f"{row['calls_a_second']:,}", f"{row['entries']:,}"]
        + [f"{100 * row[name]:.1f} %" for name in ("hit_rate", formula)]
        for row in RUN["modelled"]["token_source"]
    ]
    assert rows("| token source: calls a second") == source


def test_the_sums_follow_from_the_formulas_and_these_from_measured_figures(formulas: dict[str, Any]) -> None:
    performance = (ROOT / "docs" / "performance.md").read_text()
    found = re.search(r"\*\*exchange\*\*.*?^\| native \| (.+?) \|$", performance, re.MULTILINE | re.DOTALL)
    assert found is not None
    cells = found[1].split(" | ")
    assert formulas["CPU"] == pytest.approx(float(cells[0]) / 1e6)
    assert formulas["STORE"] == pytest.approx(float(cells[5]) / 1e6)
    audit = RUN["measured"][0]["audit"]
    assert (formulas["EVENT"], formulas["EVENT_IN_STORE"]) == (audit["bytes_an_event"], audit["memory_an_event"])
    calls = (formulas["CALLS"], formulas["CALLS"] / 2, formulas["CALLS"] / 20)
    assert [row[2:] for row in rows("| line | arithmetic |")] == [
        [str(formulas["workers"](one)) for one in calls],
        [f"{formulas['store_cores'](one):.2f}" for one in calls],
        [f"{formulas['store_cores'](one, primaries=3):.2f}" for one in calls],
        [f"{formulas['audit_megabytes_a_second'](one):.1f}" for one in calls],
        [f"{formulas['audit_gigabytes'](one, 1):.1f}" for one in calls],
    ]
