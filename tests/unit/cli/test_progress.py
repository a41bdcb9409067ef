"""The progress of a long command, on a terminal and elsewhere."""

import contextlib
import os
import pty

import pytest

from tokenmint.cli.progress import shown_progress


def drawn(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a terminal shows."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with shown_progress(1000, "profiles") as shown:
            shown.begin(200)
            shown.update(600)
    told = b""
    with contextlib.suppress(OSError):  # the end, since nobody has the other side any more
        while part := os.read(ours, 65536):
            told += part
    os.close(ours)
    return told.decode()


def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    told = drawn(monkeypatch)
    assert "600/1000" in told
    assert "/s" in told
    assert "\x1b[3" in told or "\x1b[9" in told  # colours


def test_a_terminal_without_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    told = drawn(monkeypatch)
    assert "600/1000" in told
    assert not any(f"\x1b[{code}m" in told for code in (*range(30, 38), *range(90, 98)))


def test_elsewhere_no_progress_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with shown_progress(1000, "profiles") as shown:
        for done in (0, 10, 500, 1000):
            shown.update(done)
        assert (shown.done, shown.rate > 0) == (1000, True)
    assert capsys.readouterr() == ("", "")
