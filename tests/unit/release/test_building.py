"""A release's own checks: differences of two builds, and traces of the machine."""

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from release import bills, building, packages
from release.__main__ import main
from tests.pages import ROOT


def wheel(folder: Path, name: str, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        for inner, text in files.items():
            archive.writestr(zipfile.ZipInfo(inner), text)


def test_differences_name_the_files_within_archives(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, time in ((one, "1"), (other, "2")):
        wheel(folder, "same.whl", a="a")
        wheel(folder, "time.whl", a="a", b=time)
    wheel(one, "order.whl", a="a", b="b")
    wheel(other, "order.whl", b="b", a="a")
    wheel(other, "more.whl", a="a")
    assert building.differences(one, other) == [
        "more.whl: only in one",
        "order.whl: order, times or modes",
        "time.whl: b",
    ]
    assert building.differences(one, one) == []


def test_a_path_of_the_machine_is_found_within_an_archive(tmp_path: Path) -> None:
    wheel(tmp_path, "a.jar", fine="x", told="made in /home/builder/src")
    assert building.machine_names(tmp_path, ["/home/builder", "", "x"]) == ["a.jar: told: /home/builder"]
    assert building.machine_names(tmp_path, ["/elsewhere"]) == []


def test_every_package_has_a_bill() -> None:
    assert bills.subjects("0.2.0").keys() == {**packages.OTHERS, **packages.CLIENTS}.keys()
    names = [subject.name for subject in bills.subjects("0.2.0").values()]
    assert len(set(names)) == len(names)


def test_the_images_context_is_what_its_recipe_copies_and_dockerignore_lets_pass() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    packed = {pattern.partition("/")[0] for pattern in packages.IMAGE} - {".dockerignore", "Dockerfile"}
    assert packed == set(allowed)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {word.partition("/")[0] for line in copied for word in line.split()} == packed


def test_the_list_of_the_python_client_has_the_requirements_of_its_package() -> None:
    """Its bill of materials is made from that list."""
    project = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text())["project"]
    listed = (ROOT / "requirements" / "client.in").read_text().splitlines()
    assert [line for line in listed if not line.startswith(("#", "-"))] == project["dependencies"]


def test_every_package_has_the_licence() -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    for name in packages.CLIENTS:
        assert (ROOT / "clients" / name / "LICENSE").read_bytes() == licence


def test_a_client_that_does_not_exist_is_named_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["clients", "--out", str(tmp_path / "out"), "cobol"]) == 1
    assert "there is no client for cobol: the clients are python, node, go, java" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_version_that_is_none_is_refused_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "--version", "v1", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]) == 1
    assert "expected three numbers" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_commit_that_does_not_exist_is_an_error_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "build",
        "--quiet",
        "--commit",
        "no-such-commit",
        "--out",
        str(tmp_path / "out"),
        "--work",
        str(tmp_path / "w"),
    ]
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("release: git ")
    assert not (tmp_path / "out").exists()


def test_a_second_build_in_the_same_folder_is_refused_and_harms_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "part").write_text("of the first")
    words = ["build", "--quiet", "--out", str(tmp_path / "out"), "--work", str(work)]
    with building.alone(work):
        assert main(words) == 1
    assert "another build is in" in capsys.readouterr().err
    assert (work / "part").read_text() == "of the first"
    with building.alone(work):
        pass
