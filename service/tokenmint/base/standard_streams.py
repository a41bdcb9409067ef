"""The standard streams of this process, of which there is one each: nobody who reads them can stop or end it."""

import os
import sys
from typing import Final, TextIO

from tokenmint.base.log_writer import CLOSED, LineWriter

FAREWELL: Final = 1.0  # seconds that the process waits for a reader, where it says something last


class StandardStream:
    """Standard output or standard error. Its writer, and the thread in it, are made once there is something to say."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._writer: LineWriter | None = None
        self.closed = False

    @property
    def _object(self) -> TextIO | None:
        return sys.stderr if self._number == 2 else sys.stdout

    @property
    def writer(self) -> LineWriter:
        """What lines are handed to. It has a descriptor of its own: the number may come to be another file's."""
        if self._writer is None:
            try:
                self._writer = LineWriter(CLOSED if self.closed else os.dup(self._number))
            except OSError:
                self._writer = LineWriter(CLOSED)
        return self._writer

    def say(self, text: str) -> None:
        """Write lines, and wait for a second at most until they are there. Never raises."""
        stream = self._object
        if self._is_the_processes_own(stream):
            self.writer.put(text.encode(errors="backslashreplace"))
            self.writer.flush(FAREWELL)
        elif stream is not None:
            stream.write(text)
            stream.flush()

    def _is_the_processes_own(self, stream: TextIO | None) -> bool:
        """Tell whether ``stream`` is not what a test, or a program around this one, has put in its place."""
        try:
            return stream is None or stream.fileno() == self._number
        except (OSError, ValueError, AttributeError):
            return False


OUTPUT: Final = StandardStream(1)
ERROR: Final = StandardStream(2)


def say(text: str) -> None:
    """Tell people something on standard error."""
    ERROR.say(text)


def show(text: str) -> None:
    """Print what people or scripts wait for on standard output."""
    OUTPUT.say(text)


def hold() -> None:
    """Put /dev/null where a standard stream was closed: a socket would get the number else, and be sent the log.

    To be called first of all.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)  # its signature
            if number:
                (OUTPUT if number == 1 else ERROR).closed = True
