"""What the documents say is there is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFINED = re.compile(r"^\s*(?:async )?(?:def|class) (\w+)", re.MULTILINE)


def test_every_attack_names_a_test_and_every_test_that_is_named_exists() -> None:
    defined = {name for file in (ROOT / "tests").rglob("*.py") for name in DEFINED.findall(file.read_text())}
    lines = [line for line in (ROOT / "docs" / "security.md").read_text().splitlines() if line.startswith("- ")]
    assert len(lines) > 60
    for line in lines:
        named = [name for name in re.findall(r"`(\w+)`", line) if name.startswith("test_") or name == "Histories"]
        assert named, f"no test is named: {line}"
        assert set(named) <= defined, set(named) - defined


def test_every_decision_record_is_numbered_and_says_what_it_costs() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text()
        assert all(part in text for part in ("**Decided.**", "**Why.**", "**Costs.**")), record.name
