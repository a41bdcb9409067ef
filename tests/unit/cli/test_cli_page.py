"""docs/cli.md: its generated parts, its exit codes, and the documents of `--output json`."""

import re
from pathlib import Path
from typing import Any

from docs import cli_page, generate

from tokenmint.cli import EPILOG
from tokenmint.config.entries import catalogue

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "cli.md"


def test_the_page_is_as_the_help_says() -> None:
    text = PAGE.read_text()
    assert generate.generated("docs/cli.md", text, catalogue()) == text


def test_every_command_and_option_is_on_the_page() -> None:
    text = PAGE.read_text()
    for words, command in cli_page.every_command():
        section = text.partition(f"### tokenmint {words}\n")[2].partition("\n### ")[0]
        assert section, words
        has_target = any(one.name == "target" for one in command.params)
        assert ("options-of-a-connection" in section) is has_target, words
        for parameter in command.params:
            for name in parameter.opts:
                if name.startswith("--"):
                    assert f"`{name}`" in text, (words, name)


def test_the_document_of_every_command_that_prints_json_is_described() -> None:
    table = PAGE.read_text().partition("| Command | Document |")[2].partition("\n\n")[0]
    described = set(re.findall(r"`([a-z -]+)`", "\n".join(line.split("|")[1] for line in table.splitlines()[2:])))
    assert described == {words for words, command in cli_page.every_command() if prints_json(command)}


def test_only_commands_without_data_lack_json() -> None:
    lacking = {words for words, command in cli_page.every_command() if not prints_json(command)}
    assert lacking == {"demo", "completion", "edge", "keys timeline"}


def prints_json(command: Any) -> bool:
    return any("--output" in one.opts for one in command.params)


def test_the_exit_codes_are_those_of_the_help() -> None:
    table = PAGE.read_text().partition("| Code | Meaning |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == re.findall(r"(\d+) [a-z]", EPILOG)


def test_the_index_names_the_page() -> None:
    assert "(docs/cli.md)" in (ROOT / "README.md").read_text()
