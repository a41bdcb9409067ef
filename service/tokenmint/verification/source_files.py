"""The files that fetches of key sets need: authorities, and secrets that go into headers."""

import re
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import without_mark
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.base.tls_files import CA_FILE, client_tls
from tokenmint.model.secret import Secret
from tokenmint.verification.key_source import FetchFailed, KeySource

MAX_SECRET: Final = 16 * 1024  # bytes of a secret in a header
_FIELD_VALUE: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""RFC 9110 section 5.5, ASCII only."""
_REPLACED: Final = "the configuration has changed meanwhile"


class SourceFiles:
    """The files of key sources, as they are renewed."""

    def __init__(self) -> None:
        self._contexts: dict[str | None, RenewedFiles[ssl.SSLContext]] = {}
        self._secrets: dict[tuple[str, Path], RenewedFiles[Secret]] = {}

    def read(self, source: KeySource) -> None:
        """Read the files of ``source`` that were not read yet or have changed. Call it in a thread: their disk may
        hang.

        Raises ``FetchFailed`` if a file has never been usable.
        """
        try:
            for ca_file in source.ca_files():
                if ca_file not in self._contexts:
                    self._contexts[ca_file] = client_tls("providers", {CA_FILE: Path(ca_file)} if ca_file else {})
            for setting, path in source.secret_files():
                if (setting, path) not in self._secrets:
                    self._secrets[setting, path] = secret_file(setting, path)
        except ConfigurationError as error:
            raise FetchFailed(error.message) from None
        for files in self.of([source]):
            files.look()

    def complete(self, source: KeySource) -> bool:
        """Return whether each file of ``source`` was read at least once."""
        return self._contexts.keys() >= set(source.ca_files()) and self._secrets.keys() >= set(source.secret_files())

    def named(self, source: KeySource) -> bool:
        """Return whether ``source`` names files. The public authorities don't count: they are not read again."""
        return any(source.ca_files()) or bool(source.secret_files())

    def context(self, ca_file: str | None) -> ssl.SSLContext:
        """Return the TLS context for a server: with ``ca_file`` alone, or with the public authorities."""
        try:
            return self._contexts[ca_file].value
        except KeyError:
            raise FetchFailed(_REPLACED) from None

    def secret(self, setting: str, path: Path) -> Secret:
        """Return the value of a header from its file."""
        try:
            return self._secrets[setting, path].value
        except KeyError:
            raise FetchFailed(_REPLACED) from None

    def of(self, sources: Iterable[KeySource]) -> list[RenewedFiles[Any]]:
        """Return the files of ``sources`` that were read at least once."""
        found: list[RenewedFiles[Any]] = []
        for source in sources:
            found += [self._contexts[name] for name in source.ca_files() if name in self._contexts]
            found += [self._secrets[name] for name in source.secret_files() if name in self._secrets]
        return found

    def keep(self, sources: Iterable[KeySource]) -> None:
        """Forget the files of all other sources."""
        sources = list(sources)
        contexts = {name for source in sources for name in source.ca_files()}
        secrets = {name for source in sources for name in source.secret_files()}
        self._contexts = {name: files for name, files in self._contexts.items() if name in contexts}
        self._secrets = {name: files for name, files in self._secrets.items() if name in secrets}


def secret_file(setting: str, path: Path) -> RenewedFiles[Secret]:
    """Return a secret for a header, which follows its file. Raises ``ConfigurationError``, without the secret."""

    def made(contents: Sequence[bytes]) -> Secret:
        value = without_mark(contents[0]).strip()
        if len(value) > MAX_SECRET or not _FIELD_VALUE.fullmatch(value):
            raise ConfigurationError(
                f"{setting}: {path} holds no value for a header: a line of printable ASCII, {MAX_SECRET} bytes at most"
            )
        return Secret(value)

    return RenewedFiles([(setting, path)], made)
