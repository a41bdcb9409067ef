"""Files that the configuration names: regular ones, whole, up to a bound."""

import os
from pathlib import Path

import pytest

from tokenmint.base import files


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 2048)
    assert files.read_text(file, most=2048) == "x" * 2048
    with pytest.raises(OSError, match=r"it is larger than 1 KiB"):
        files.read_bytes(file, most=1024)


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name, reason in (
        (tmp_path, "it is a directory"),
        (Path("/dev/zero"), "it is not a regular file"),
        (tmp_path / "pipe", "it is not a regular file"),
        (tmp_path / "link", "it is not a regular file"),
        (tmp_path / "a\0b", "its name has the character U\\+0000"),
        (tmp_path / "none", "No such file or directory"),
    ):
        with pytest.raises(OSError, match=reason) as error:
            files.read_bytes(name)
        assert error.value.strerror


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert files.read_text(tmp_path / "link") == "text"


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbftext\xef\xbb\xbf")
    assert files.read_text(tmp_path / "file") == "text\ufeff"
