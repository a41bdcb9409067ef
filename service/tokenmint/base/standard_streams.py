"""The standard streams of this process, one object each. No reader can block or end the process."""

import os
import sys
from typing import Final, TextIO

from tokenmint.base.log_writer import CLOSED, LineWriter

FAREWELL: Final = 1.0  # seconds that the process waits for a reader of its last words


class StandardStream:
    """Standard output or standard error. Its writer, with its thread, is made on first use."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._writer: LineWriter | None = None
        self.closed = False

    @property
    def _object(self) -> TextIO | None:
        return sys.stderr if self._number == 2 else sys.stdout

    @property
    def writer(self) -> LineWriter:
        """The writer of lines. It has a descriptor of its own, because the number may be reused for another file."""
        if self._writer is None:
            try:
                self._writer = LineWriter(CLOSED if self.closed else os.dup(self._number))
            except OSError:
                self._writer = LineWriter(CLOSED)
        return self._writer

    def say(self, text: str) -> None:
        """Write lines, and wait up to a second until they are written. Never raises."""
        stream = self._object
        if self._is_the_processes_own(stream):
            self.writer.put(text.encode(errors="backslashreplace"))
            self.writer.flush(FAREWELL)
        elif stream is not None:
            stream.write(text)
            stream.flush()

    def _is_the_processes_own(self, stream: TextIO | None) -> bool:
        """Return whether ``stream`` is the process's own, not a replacement by a test or by an embedding program."""
        try:
            return stream is None or stream.fileno() == self._number
        except (OSError, ValueError, AttributeError):
            return False


OUTPUT: Final = StandardStream(1)
ERROR: Final = StandardStream(2)


def say(text: str) -> None:
    """Print a message for people on standard error."""
    ERROR.say(text)


def show(text: str) -> None:
    """Print a result for people or scripts on standard output."""
    OUTPUT.say(text)


def hold() -> None:
    """Open /dev/null in place of each closed standard stream. Otherwise a socket would get the number and receive the
    log.

    Must be called before anything else.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(number, True)  # positional by its signature
            if number:
                (OUTPUT if number == 1 else ERROR).closed = True
