"""Rooms, layers and the page that describes them agree."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "service" / "tokenmint"
GENERATED = {"v1", "envoy"}
MOST_AT_THE_TOP = 6
ROW = re.compile(r"^\| (\d+) \| `(\w+)/` \| (.+) \|$", re.MULTILINE)
MODULES = re.compile(r"^- `(\w+)/`: (.+(?:\n  .+)*)", re.MULTILINE)
LONGEST_CELL = 110


def rooms() -> set[str]:
    return {folder.name for folder in SERVICE.iterdir() if (folder / "__init__.py").exists()} - GENERATED


def rule() -> dict[str, Any]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract for contract in contracts if contract["type"] == "layers"]
    return dict(layers)


def page() -> str:
    return (ROOT / "docs" / "architecture.md").read_text().partition("## The rooms")[2].partition("\n## ")[0]


def test_the_page_has_every_room_in_the_layer_of_the_import_rule() -> None:
    by_page: dict[str, int] = {room: int(layer) for layer, room, _ in ROW.findall(page())}
    by_rule = {
        room.strip(): number for number, layer in enumerate(rule()["layers"], start=1) for room in layer.split("|")
    }
    assert by_page == by_rule
    assert by_page.keys() == rooms()


def test_the_page_names_every_module_of_the_rooms_that_it_lists_by_module() -> None:
    listed = 0
    for room, text in MODULES.findall(page()):
        named = set(re.findall(r"`(\w+)`", text))
        modules = {file.stem for file in (SERVICE / room).glob("*.py")} - {"__init__"}
        if named & modules:
            listed += 1
            assert {name for name in named - modules if not (SERVICE / room / name).is_dir()} == set(), room
    assert listed > 10


def test_the_table_has_a_short_subject_for_each_room() -> None:
    assert [subject for *_, subject in ROW.findall(page()) if len(subject) > LONGEST_CELL] == []


def test_the_import_rule_has_no_exceptions() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert [contract["name"] for contract in contracts if contract.get("ignore_imports")] == []
    assert rule()["exhaustive"]


def test_few_modules_are_outside_of_a_room() -> None:
    assert len(list(SERVICE.glob("*.py"))) <= MOST_AT_THE_TOP


def test_every_package_says_in_a_sentence_what_it_owns() -> None:
    for package in SERVICE.rglob("__init__.py"):
        if package.relative_to(SERVICE).parts[0] in GENERATED:
            continue
        said = ast.get_docstring(ast.parse(package.read_text())) or ""
        assert said.partition("\n")[0].rstrip().endswith("."), package
        assert not re.match(r"(What|Who|Where)\b", said), package
