"""The glossary and the table of RFCs in docs/architecture.md agree with the code."""

import re

from tests.pages import ROOT

SERVICE = ROOT / "service" / "tokenmint"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
DETAILS = frozenset(
    {
        *("1035", "1123", "1952", "3986", "4501", "4514", "4648", "5280", "6454", "6761", "6890"),
        *("7493", "7521", "7526", "7541", "8259", "8417", "8707", "9396", "9637"),
    }
)
"""RFCs that are cited for the spelling of a name, an address or an encoding, or beside the one that is meant."""


def table(heading: str) -> list[list[str]]:
    """Return the rows, without the first two, of the table under a heading of architecture.md."""
    text = ARCHITECTURE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_every_file_of_the_rfc_table_exists_and_is_about_an_rfc_of_its_row() -> None:
    rows = table("Which RFC is where")
    assert len(rows) > 10
    for numbers, _, files in rows:
        for name in re.findall(r"`([\w/.]+)`", files):
            text = (SERVICE / name).read_text()
            cited = [number for number in numbers.split(", ") if f"RFC {number}" in text]
            assert cited or name == "exchange/exchange.py", f"{name} cites none of RFC {numbers}"


def test_every_rfc_that_the_code_cites_is_in_the_table() -> None:
    listed = {number for numbers, *_ in table("Which RFC is where") for number in numbers.split(", ")}
    hand_written = [path for path in SERVICE.rglob("*.py") if path.relative_to(SERVICE).parts[0] not in ("v1", "envoy")]
    cited = {number for path in hand_written for number in re.findall(r"RFC (\d{4})", path.read_text())}
    assert cited - DETAILS <= listed


def test_every_word_is_explained_once_and_in_order() -> None:
    words = [row[0] for row in table("Words")]
    assert len(words) > 15
    assert words == sorted(set(words), key=str.lower)
