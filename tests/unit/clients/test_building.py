"""When the packages and drivers of the clients are built anew."""

import os
from pathlib import Path

import pytest
from tests.clients import building


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a client and a driver, whose script notes each build."""
    monkeypatch.setattr(building, "ROOT", tmp_path)
    monkeypatch.setattr(building, "DRIVERS", tmp_path / "drivers")
    for folder in ("drivers/go", "clients/go/node_modules", "protos", "requirements"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "clients/go/client.go").write_text("one")
    _script(tmp_path, f"echo built >> {tmp_path}/builds")
    return tmp_path


def _script(root: Path, text: str) -> None:
    script = root / "drivers/go/build"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


def _newer(file: Path, marker: Path) -> None:
    file.write_text("two")
    later = marker.stat().st_mtime + 10
    os.utime(file, (later, later))


def test_only_where_a_source_is_newer_than_the_last_build(made: Path) -> None:
    failures: list[str] = []
    marker, builds = made / "build/clients/go/built", made / "builds"
    assert building.build_if_older("go", failures)
    assert building.build_if_older("go", failures)
    assert builds.read_text().count("built") == 1
    _newer(made / "clients/go/node_modules/other.js", marker)
    assert building.build_if_older("go", failures)
    assert builds.read_text().count("built") == 1, "what a build writes is no source"
    _newer(made / "clients/go/client.go", marker)
    assert building.build_if_older("go", failures)
    assert builds.read_text().count("built") == 2
    assert failures == []


@pytest.mark.parametrize(
    ("status", "required", "told"),
    [(1, "", "go: build: "), (77, "", ""), (77, "1", "go: skipped: no go")],
)
def test_what_can_not_be_built(
    made: Path, monkeypatch: pytest.MonkeyPatch, status: int, required: str, told: str
) -> None:
    monkeypatch.setenv(building.REQUIRE_LANES, required)
    failures: list[str] = []
    assert building.build("go", failures)
    _script(made, f"echo no go >&2; exit {status}")
    assert not building.build_if_older("go", failures)
    assert [failure.startswith(told) for failure in failures] == ([True] if told else [])
    assert not building.build("go", [])
    assert not (made / "build/clients/go/built").exists(), "what was built before may be gone"
