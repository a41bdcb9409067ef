"""Files that are read again when they change. Every renewed file comes into force in this way.

Certificates and their keys, authorities, passwords, tokens and key sets are read in this way. A renewal needs no
restart, and a failed renewal does no harm. The disk of a file may hang, so neither the event loop nor a handshake reads
one.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes, shown
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.log_library import structlog
from tokenmint.base.threads import Busy, Threads

log = structlog.get_logger(__name__)

LOOK_LIMIT: Final = 2.0  # seconds that a look at files may take
HUNG: Final = 16  # looks that may not have ended at a time

T = TypeVar("T")


class RenewedFiles(Generic[T]):
    """A value that is made from one file or from several.

    If a change can't be used, for instance because a file is half written, the last good value stays in force. The
    fault is logged once and is in :attr:`problem` until it is fixed, and each look tries again. Only the constructor
    and :meth:`look` read the disk.

    Args:
        files: the name of each file in messages (`redis.ca_file`), and its path.
        make: makes the value from the files' contents, in the order of ``files``. Raises ``ConfigurationError`` if they
            can't be used.

    Raises:
        ConfigurationError: the files can't be read or used at the start.
    """

    def __init__(self, files: Sequence[tuple[str, Path]], make: Callable[[Sequence[bytes]], T]) -> None:
        self._files = tuple(files)
        self._make = make
        self.problem = ""
        """Why the current files are not in force, for operators and without secrets; "" if they are in force."""
        self.generation = 0
        """The number of earlier values. A part that was made from an earlier value is out of date."""
        self._looking = False
        self._seen = self._stamps()
        self._contents, self.value = self._read()

    def look(self, *, unconditionally: bool = False) -> bool:
        """Read the files again if they changed, and return whether there is a new value.

        While one look hangs, further looks return at once.

        Args:
            unconditionally: read them even if they look unchanged.
        """
        if self._looking:
            self.problem = f"{self._files[0][0]}: the file can't be looked at: does its disk hang?"
            return False
        self._looking = True
        try:
            return self._look(unconditionally=unconditionally)
        finally:
            self._looking = False

    def _look(self, *, unconditionally: bool) -> bool:
        stamps = self._stamps()
        if stamps is not None and stamps == self._seen and not unconditionally:
            self.problem = ""
            return False
        try:
            contents, value = self._read()
        except ConfigurationError as error:
            if error.message != self.problem:
                log.warning("a file that changed is not used: the last good one stays", error=error.message)
            self.problem = error.message
            self._seen = None  # read again, even if the old stamps come back
            return False
        if self.problem:
            log.info("a file can be used again", setting=self._files[0][0])
        self.problem, self._seen = "", stamps
        if contents == self._contents:
            return False
        self._contents, self.value = contents, value
        self.generation += 1
        setting, path = self._files[0]
        log.info("a file was renewed", setting=setting, file=clipped(str(path), LONG))
        return True

    def _stamps(self) -> list[tuple[int, int, int, int]] | None:
        """Return the files' stamps, which differ after a change; None if a file can't be examined.

        Some programs set the time of the last modification, and a new file may get the number of a deleted one. No
        program can set the time of the last change.
        """
        try:
            stats = [path.stat() for _, path in self._files]
            return [(stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino) for stat in stats]
        except (OSError, ValueError):
            return None

    def _read(self) -> tuple[list[bytes], T]:
        contents = []
        for setting, path in self._files:
            try:
                contents.append(read_bytes(path))
            except OSError as error:
                raise ConfigurationError(f"{setting}: {shown(path)} can't be read ({error.strerror})") from None
        return contents, self._make(contents)


class FileWatch:
    """Looks at files in threads. A disk that hangs holds one thread for each of its files; other files don't wait."""

    def __init__(self) -> None:
        self._threads = Threads("files", HUNG)
        self._hangs = False

    async def look(self, files: Iterable[RenewedFiles[Any]], *, unconditionally: bool = False) -> None:
        """Look at ``files`` for at most :data:`LOOK_LIMIT` seconds. A file whose look has not ended keeps its value."""
        watched = list(files)

        def look() -> None:
            for one in watched:
                one.look(unconditionally=unconditionally)

        try:
            async with asyncio.timeout(LOOK_LIMIT):
                await self._threads.run(look)
        except (TimeoutError, Busy):
            if not self._hangs:
                log.warning("files can't be looked at: does their disk hang?", hung=self._threads.running)
            self._hangs = True
        else:
            self._hangs = False
