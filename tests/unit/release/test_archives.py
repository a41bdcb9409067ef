"""Archives depend on the content of their files alone."""

import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from release import archives

EPOCH = 1_796_030_670


def folder(place: Path, *, reverse: bool, time: float, mode: int) -> dict[str, Path]:
    """Write the same two files in an order, at a time, with a mode of the group's and others' bits."""
    place.mkdir()
    files = {"b/tool": b"#!/bin/sh\n", "a.txt": b"text\n"}
    made = {}
    for name, content in sorted(files.items(), reverse=reverse):
        path = place / name.replace("/", "-")
        path.write_bytes(content)
        path.chmod(mode | (0o100 if name == "b/tool" else 0))
        os.utime(path, (time, time))
        made[name] = path
    return made


@pytest.mark.parametrize(("write", "ending"), [(archives.tar_gz, ".tar.gz"), (archives.zipped, ".zip")])
def test_order_time_and_umask_do_not_show(
    write: Callable[[Path, dict[str, Path], int], None], ending: str, tmp_path: Path
) -> None:
    first, second = tmp_path / f"first{ending}", tmp_path / f"second{ending}"
    write(first, folder(tmp_path / "one", reverse=False, time=1e9, mode=0o644), EPOCH)
    write(second, folder(tmp_path / "two", reverse=True, time=2e9, mode=0o600), EPOCH)
    assert first.read_bytes() == second.read_bytes()
    assert dict(archives.contents(first)) == {"a.txt": b"text\n", "b/tool": b"#!/bin/sh\n"}


def test_entries_have_one_time_one_owner_and_two_modes(tmp_path: Path) -> None:
    files = folder(tmp_path / "one", reverse=True, time=1e9, mode=0o666)
    archives.tar_gz(tmp_path / "a.tgz", files, EPOCH)
    with tarfile.open(tmp_path / "a.tgz") as archive:
        entries = [(item.name, item.mode, item.mtime, item.uid, item.uname) for item in archive.getmembers()]
    assert entries == [("a.txt", 0o644, EPOCH, 0, ""), ("b/tool", 0o755, EPOCH, 0, "")]
    archives.zipped(tmp_path / "a.zip", files, EPOCH)
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        assert [(item.filename, item.external_attr >> 16) for item in packed.infolist()] == [
            ("a.txt", 0o100644),
            ("b/tool", 0o100755),
        ]


def test_an_archive_of_another_program_is_written_anew(tmp_path: Path) -> None:
    """setuptools' sdist has the times of the build, owners of the machine, and entries for folders."""
    made = []
    for name, reverse in (("one", False), ("two", True)):
        files = folder(tmp_path / name, reverse=reverse, time=1e9 if reverse else 2e9, mode=0o664)
        path = tmp_path / f"{name}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for inner, file in files.items():
                archive.add(file, inner)
        archives.repacked(path, EPOCH)
        made.append(path.read_bytes())
    assert made[0] == made[1]
