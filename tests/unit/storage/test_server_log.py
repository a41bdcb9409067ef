"""The bounded log of the private server, without a server."""

from pathlib import Path

import pytest

from tokenmint.storage.server_log import LOG_LIMIT, LOG_TAIL, ServerLog

END = b"\nthe end\n"


@pytest.mark.parametrize("size", [len(END), LOG_LIMIT])
def test_a_log_within_the_limit_stays(tmp_path: Path, size: int) -> None:
    log = ServerLog(tmp_path / "server.log")
    log.path.write_bytes(b"x" * (size - len(END)) + END)
    log.before.write_bytes(b"before")
    log.bound()
    assert log.path.stat().st_size == size
    assert log.before.read_bytes() == b"before"


@pytest.mark.parametrize("size", [LOG_LIMIT + 1, 5 * LOG_LIMIT])
def test_of_a_longer_log_the_end_becomes_the_part_before(tmp_path: Path, size: int) -> None:
    log = ServerLog(tmp_path / "server.log")
    log.path.write_bytes(b"x" * (size - len(END)) + END)
    log.before.write_bytes(b"older" * LOG_LIMIT)
    log.bound()
    assert not log.path.exists()
    assert log.before.read_bytes() == b"x" * (LOG_LIMIT - len(END)) + END


def test_of_a_long_log_only_the_end_is_shown(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "server.log")
    log.path.write_bytes(b"\xff" * 100_000 + b"\n" + b"y" * 100_000 + END)
    assert len(log.tail()) <= LOG_TAIL + len(" | ")
    assert log.tail().endswith("the end")


def test_a_folder_that_cannot_be_changed_stays_as_it_is(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "server.log")
    log.path.write_bytes(b"x" * (LOG_LIMIT + 1))
    (log.before / "full").mkdir(parents=True)  # a folder with content can't be replaced by a file
    log.bound()
    assert log.path.stat().st_size == LOG_LIMIT + 1


def test_without_a_log_nothing_is_done(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "server.log")
    log.bound()
    assert log.tail() == "nothing"
    assert list(tmp_path.iterdir()) == []
