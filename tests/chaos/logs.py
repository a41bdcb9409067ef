"""The reader of a replica's log: a pipe that is copied to a file, until the reader stops or goes away."""

import asyncio
import contextlib
import fcntl
import os
import re
from pathlib import Path
from typing import IO, Final

SMALLEST: Final = 4096  # bytes that a pipe holds while nobody reads, so that it is full at once (F_SETPIPE_SZ)
USUAL: Final = 65536
ENDED: Final = re.compile(r"worker (\d+) ended with (-?\d+)")
"""The supervisor's message for a worker that ended (supervisor.py)."""
LINES: Final = 4  # of the log that are shown with an end


class LogReader:
    """Copies what the processes of a replica say to :attr:`file`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.ended: dict[int, int] = {}
        """Exit statuses of workers, by process id, as the supervisor told them."""
        self._copy: IO[bytes] | None = None
        self._pipe: int | None = None
        self._rest = b""

    def open(self) -> int:
        """Make a new pipe and read from it. Returns the end to write to, which the caller closes."""
        self.close()
        self._pipe, writer = os.pipe()
        os.set_blocking(self._pipe, False)
        self._copy = self.file.open("ab")
        self.resume()
        return writer

    def pause(self) -> None:
        """Stop reading: what is written from now on fills the pipe."""
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            with contextlib.suppress(OSError):  # EBUSY: it holds more than that already
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, SMALLEST)

    def resume(self) -> None:
        """Read on."""
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, USUAL)
            asyncio.get_running_loop().add_reader(self._pipe, self._read)

    def close(self) -> None:
        """Go away: the next write gets EPIPE."""
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
        if self._copy is not None:
            self._copy.close()
        self._pipe = self._copy = None

    def last_words(self) -> list[str]:
        """Return the last lines that are more than news."""
        with contextlib.suppress(OSError):
            lines = self.file.read_text(errors="replace").splitlines()[-2000:]
            return [line[:400] for line in lines if '"level":"info"' not in line][-LINES:]
        return []

    def _read(self) -> None:
        assert self._pipe is not None
        assert self._copy is not None
        try:
            data = os.read(self._pipe, USUAL)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        self._copy.write(data)
        self._copy.flush()
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[-USUAL:]
        for line in lines:
            if found := ENDED.search(line.decode(errors="replace")):
                self.ended[int(found[1])] = int(found[2])
