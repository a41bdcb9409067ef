"""The page about sizing follows from the page of measured figures."""

import re
from typing import Any

import pytest
from tests.pages import ROOT, texts

PAGE = ROOT / "docs" / "sizing.md"
FIGURES = (ROOT / "docs" / "performance.md").read_text()


@pytest.fixture
def formulas() -> dict[str, Any]:
    (script,) = texts(PAGE, "python")
    names: dict[str, Any] = {}
    exec(script, names)  # noqa: S102  # the page's own formulas
    return names


def measured(row: str, table: str) -> list[float]:
    """Return the figures of a row of a table of performance.md."""
    found = re.search(rf"^\| {re.escape(row)} \| (.+) \|$", FIGURES.partition(table)[2], re.MULTILINE)
    assert found is not None, row
    return [float(cell.replace(",", "")) for cell in found[1].split(" | ") if re.fullmatch(r"[\d,.]+", cell)]


def cells(heading: str) -> list[list[float]]:
    """Return the numbers of the rows of a table of the page, below its heading."""
    rows = PAGE.read_text().partition(heading)[2].partition("\n\n")[0].splitlines()[2:]
    return [[float(cell.replace(",", "")) for cell in re.findall(r"[\d,]+(?= \||\s\(| MB)", row)] for row in rows]


def test_the_formulas_begin_with_measured_figures(formulas: dict[str, Any]) -> None:
    assert formulas["SECONDS"] == {name: measured(name, "**exchange**")[0] / 1e6 for name in ("native", "grpcio")}
    empty, full = (
        measured(f"RSS of {what}, MB", "| bar |")[0] for what in ("an idle worker", "a worker with 100,000 profiles")
    )
    assert formulas["EMPTY"] == pytest.approx(empty * 1e6)
    assert formulas["EACH_PROFILE"] == pytest.approx((full - empty) * 1e6 / 100_000)


def test_the_tables_follow_from_the_formulas(formulas: dict[str, Any]) -> None:
    rows = cells("| exchanges a second, at the peak")
    assert len(rows) == 4
    for rate, native, grpcio in rows:
        assert (native, grpcio) == (formulas["workers"](rate, "native"), formulas["workers"](rate, "grpcio"))
    rows = cells("| `caches.profiles` | a worker takes")
    assert len(rows) == 4
    for profiles, size in rows:
        assert size == formulas["memory_in_mb"](profiles)


def test_every_other_figure_of_the_page_is_measured() -> None:
    text = " ".join(PAGE.read_text().partition("## Workers")[2].split())
    exchange = {name: measured(name, "**exchange**") for name in ("native", "grpcio", "native, no near cache")}
    half, rsa = measured("native", "**half load**"), measured("native", "**RS256**")
    for figure in (
        f"RS256 costs {rsa[0]:.0f} µs on native",
        f"for {exchange['native, no near cache'][0]:.0f} µs in place of {exchange['native'][0]:.0f}",
        f"takes {exchange['native'][5]:.0f} µs of the store's CPU time with native, and {exchange['grpcio'][5]:.0f} µs",
        f"{half[1]:,.0f} calls a second with a 99th percentile of {half[4]} ms: {half[1] * half[4] / 1e3:.0f} calls",
        f"({exchange['native'][1]:,.0f} calls \N{MULTIPLICATION SIGN} {exchange['native'][3]} ms = ",
    ):
        assert figure in text, figure
