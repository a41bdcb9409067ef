"""The version is in one place, and the files that follow it name the same."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from release import versions
from tests.pages import ROOT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that name the version."""
    for name in {place.file for place in versions.PLACES}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_clients_and_the_chart_have_the_version_of_the_service() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert versions.current(ROOT) == version
    assert {one for one, _ in versions.found(ROOT).values()} == {version}
    assert {place.file for place, (_, suffix) in versions.found(ROOT).items() if suffix} == {"clients/java/pom.xml"}


@pytest.mark.parametrize("version", ["0.2.0", "1.10.3", "0.2.0-rc.1"])
def test_a_version_is_written_into_every_manifest(version: str, tree: Path) -> None:
    versions.write(tree, version, released=True)
    python = tomllib.loads((tree / "clients/python/pyproject.toml").read_text())["project"]["version"]
    node = json.loads((tree / "clients/node/package.json").read_text())
    locked = json.loads((tree / "clients/node/package-lock.json").read_text())
    chart = yaml.safe_load((tree / "deploy/helm/tokenmint/Chart.yaml").read_text())
    assert versions.current(tree) == python == node["version"] == locked["version"] == version
    assert locked["packages"][""]["version"] == chart["version"] == chart["appVersion"] == version
    assert (
        f"<artifactId>tokenmint-client</artifactId>\n  <version>{version}</version>"
        in (tree / "clients/java/pom.xml").read_text()
    )


def test_between_releases_the_java_client_is_a_snapshot(tree: Path) -> None:
    before = (tree / "clients/java/pom.xml").read_text()
    versions.write(tree, "9.9.9", released=False)
    assert "<version>9.9.9-SNAPSHOT</version>" in (tree / "clients/java/pom.xml").read_text()
    versions.write(tree, versions.current(ROOT), released=False)
    assert (tree / "clients/java/pom.xml").read_text() == before


def test_nothing_but_the_version_changes(tree: Path) -> None:
    before = {name: (tree / name).read_text() for name in {place.file for place in versions.PLACES}}
    versions.write(tree, "9.9.9", released=False)
    after = {name: (tree / name).read_text() for name in before}
    assert {name: text.replace("9.9.9", versions.current(ROOT)) for name, text in after.items()} == before


@pytest.mark.parametrize(
    "version", ["", "0.2", "v0.2.0", "0.2.0.1", "00.2.0", "0.2.0-beta", "0.2.0-rc.0", "0.2.0\n", "$(x)"]
)
def test_other_texts_are_no_version(version: str) -> None:
    with pytest.raises(versions.BadVersion, match="expected three numbers"):
        versions.checked(version)


def test_a_file_that_names_the_version_in_another_way_is_an_error(tree: Path) -> None:
    chart = tree / "deploy/helm/tokenmint/Chart.yaml"
    chart.write_text(chart.read_text().replace("appVersion:", "applicationVersion:"))
    with pytest.raises(versions.BadVersion, match=r"Chart\.yaml: has 0 versions"):
        versions.write(tree, "9.9.9", released=True)
    assert versions.current(tree) == versions.current(ROOT)
