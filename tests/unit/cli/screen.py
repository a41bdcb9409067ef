"""A terminal of a given width: the text that a program writes to it, as a person sees it."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.forked import Fork
from tests.process import START_LIMIT, environment

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """The command line as a process whose standard output and standard error are a terminal."""

    def __init__(self, *arguments: str, directory: Path, environ: Mapping[str, str], columns: int = 80) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        given = {"TERM": "xterm-256color"} | _without_marks(environment()) | dict(environ)
        nothing = os.open(os.devnull, os.O_RDONLY)
        self.process = Fork(arguments, directory, given, (nothing, theirs, theirs))
        for descriptor in (nothing, theirs):
            os.close(descriptor)
        self._told = b""
        self._seen = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the end: the other side is closed
            while part := os.read(self._ours, 65536):
                with self._seen:
                    self._told += part
                    self._seen.notify_all()

    @property
    def raw(self) -> str:
        """Everything so far, with the escapes."""
        return self._told.decode(errors="replace").replace("\r\n", "\n")

    @property
    def text(self) -> str:
        """Everything so far, without them."""
        return ESCAPE.sub("", self.raw)

    def sees(self, text: str, seconds: float) -> bool:
        """Wait until the program has written ``text``. Returns whether it has."""
        with self._seen:
            return self._seen.wait_for(lambda: text in self.text, seconds)

    def wait_for(self, text: str) -> None:
        """Wait until the program has written ``text``."""
        assert self.sees(text, START_LIMIT), self.text

    def end(self) -> int:
        """Wait for the end of the program; return its status."""
        status = self.process.wait(START_LIMIT)
        self._reader.join(START_LIMIT)
        os.close(self._ours)
        return status


def _without_marks(environ: dict[str, str]) -> dict[str, str]:
    """Take away the variables that would make a terminal seem another one."""
    marks = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERMINAL_WIDTH", "GITHUB_ACTIONS", "PY_COLORS")
    return {name: value for name, value in environ.items() if name not in marks}
