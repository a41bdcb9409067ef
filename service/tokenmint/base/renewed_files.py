"""Files that are read again when they change. Every renewed file comes into force in this way.

Certificates and their keys, authorities, passwords, tokens and key sets are read like this: a renewal needs no restart,
and a failed renewal leaves the old value in force.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes
from tokenmint.base.foreign_text import LONG, clipped

log = structlog.get_logger(__name__)

T = TypeVar("T")


class RenewedFiles(Generic[T]):
    """A value that is made from one file or from several.

    If a change can't be used (for example because a file is half written), the last good value stays in force. The
    problem
    is logged once, stands in :attr:`problem` until it is fixed, and each look tries the files again.

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
        self._seen = self._stamps()
        self._contents, self.value = self._read()

    def look(self, *, unconditionally: bool = False) -> bool:
        """Read the files again if they changed, and return whether there is a new value.

        Args:
            unconditionally: read them even if they look unchanged.
        """
        stamps = self._stamps()
        if stamps == self._seen and not unconditionally:
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

    def current(self) -> T:
        """Return the value, from the current files if they can be used."""
        self.look()
        return self.value

    def _stamps(self) -> list[tuple[int, int, int]] | None:
        """Return the files' stamps, which differ after a change; None if a file can't be examined."""
        try:
            return [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in (path.stat() for _, path in self._files)]
        except (OSError, ValueError):
            return None

    def _read(self) -> tuple[list[bytes], T]:
        contents = []
        for setting, path in self._files:
            try:
                contents.append(read_bytes(path))
            except OSError as error:
                name = clipped(str(path), LONG)
                raise ConfigurationError(f"{setting}: {name} can't be read ({error.strerror})") from None
        return contents, self._make(contents)
