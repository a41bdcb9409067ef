"""An installation from a list of pinned requirements is that list, even after later versions were published."""

import re
import tomllib
from pathlib import Path

import pytest
from tests.deploy import locks

ROOT = Path(__file__).resolve().parents[2]
INSTALLERS = ("Makefile", "Dockerfile", "tests/clients/drivers/python/build")
COMMAND = re.compile(r"pip\S* install .*?-r (requirements/[\w.-]+)")


@pytest.mark.parametrize("file", INSTALLERS)
def test_pinned_lists_are_installed_by_hash_and_nothing_is_resolved_anew(file: str) -> None:
    """pip takes an extra of a pinned package (`coverage[toml]`) for a package of its own and looks for the newest."""
    commands = list(COMMAND.finditer((ROOT / file).read_text()))
    assert commands, f"{file} installs no list: take it out of INSTALLERS"
    for command in commands:
        assert command[1].endswith(".txt"), f"{command[0]} is not pinned"
        assert "--require-hashes --no-deps " in command[0], command[0]


def test_every_list_of_bounds_is_pinned_by_make_lock() -> None:
    sets = {path.stem for path in (ROOT / "requirements").glob("*.in")}
    assert sets == {path.stem for path in (ROOT / "requirements").glob("*.txt")}
    locked = re.search(r"for set in ([a-z -]+);", (ROOT / "Makefile").read_text())
    assert locked is not None
    assert set(locked[1].split()) == sets


def test_the_image_has_every_extra() -> None:
    """Without one, `listen.transport = "auto"` would be the dearer transport there, or a signer would be missing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {requirement for listed in project["optional-dependencies"].values() for requirement in listed}
    bounds = (ROOT / "requirements" / "image.in").read_text().splitlines()
    assert {bound for bound in bounds if not bound.startswith(("#", "-"))} == extras
    assert [command[1] for command in COMMAND.finditer((ROOT / "Dockerfile").read_text())] == [
        "requirements/image.txt",
        "requirements/build.txt",
    ]


def test_the_image_is_on_the_newest_python_that_the_lists_are_resolved_for() -> None:
    bases = set(re.findall(r"^FROM python:(\S+)-slim", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert bases == {locks.versions()[-1]}
    page = (ROOT / "docs" / "releasing.md").read_text()
    assert f"Python {locks.versions()[0]} to {locks.versions()[-1]}" in page
    assert f"is on {locks.versions()[-1]}" in page
