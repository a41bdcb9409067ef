"""The TCP sockets among this process's open files: neither gRPC transport tells Python of its connections.

All of this works without a free file descriptor, because the limits matter most when none is left.
"""

import contextlib
import errno
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

OPEN_FILES: Final = Path("/proc/self/fd")
"""Linux alone has it."""


def open_files() -> list[int]:
    """Return the numbers of this process's open files, and maybe of some that are not open.

    Raises:
        OSError: they can't be listed.
    """
    try:
        return [int(name) for name in os.listdir(OPEN_FILES)]  # noqa: PTH208  # a third of the cost, of maybe 10,000
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        return list(range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))  # no other number is left


class Slot:
    """One file descriptor, which becomes a duplicate of one socket after another.

    A duplicate stays the same socket if the transport closes its own and another file gets that number.
    """

    def __init__(self) -> None:
        """Take two file descriptors. Raises ``OSError`` if there are none."""
        self._nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            self._number = os.dup(self._nothing)
        except OSError:
            os.close(self._nothing)
            raise

    def close(self) -> None:
        """Give both back."""
        os.close(self._number)
        os.close(self._nothing)

    @contextlib.contextmanager
    def tcp_socket(self, number: int) -> Iterator[socket.socket | None]:
        """Duplicate the TCP socket with this number for the ``with`` block; None for every other file.

        Raises:
            OSError: it was closed meanwhile.
        """
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            yield None
            return
        os.dup2(number, self._number, inheritable=False)
        found = None
        try:
            found = socket.socket(fileno=self._number)
            tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
            yield found if tcp else None
        finally:
            if found is not None:
                found.detach()
            os.dup2(self._nothing, self._number, inheritable=False)
