"""The log of the private server, bounded: the newest part, and one part before it.

The server opens its log for each line, so the file can be renamed while the server runs.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

LOG_LIMIT: Final = 1 << 20
"""Bytes of a log that becomes the part before, and bytes that are kept of that part."""
LOG_TAIL: Final = 1024
"""Bytes of the log that are shown."""


class ServerLog:
    """The log file of a private server, and the part before it (`.1`).

    Args:
        path: the file that the server writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = path.with_name(path.name + ".1")
        self._bounding = threading.Lock()

    def bound(self) -> None:
        """Put a log that exceeds the limit in place of the part before it. A folder that can't be changed stays."""
        with self._bounding, suppress(OSError):
            if self.path.stat().st_size > LOG_LIMIT:
                self.path.replace(self.before)
                self._cut()

    def tail(self) -> str:
        """Return the last lines, in one line."""
        with suppress(OSError):
            return " | ".join(_end(self.path, LOG_TAIL).decode(errors="replace").splitlines()[-3:])
        return "nothing"

    def _cut(self) -> None:
        """Leave only the end of the part before. The room is free before the end is written: the disk may be full."""
        end = _end(self.before, LOG_LIMIT)
        with self.before.open("r+b") as log:
            log.truncate(0)
            log.write(end)


def _end(path: Path, size: int) -> bytes:
    with path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - size))
        return log.read(size)
