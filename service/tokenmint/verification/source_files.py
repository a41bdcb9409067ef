"""The files that fetches of key sets need: authorities, and secrets that go into headers."""

import re
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.base.tls_files import CA_FILE, client_tls
from tokenmint.model.secret import Secret
from tokenmint.verification.key_source import FetchFailed, KeySource

MAX_SECRET: Final = 16 * 1024  # bytes of a secret in a header
_FIELD_VALUE: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""RFC 9110 section 5.5, ASCII only."""


class SourceFiles:
    """The files of key sources. Each is read when it is first needed, and again when it changed."""

    def __init__(self) -> None:
        self._contexts: dict[str | None, RenewedFiles[ssl.SSLContext]] = {}
        self._secrets: dict[tuple[str, Path], RenewedFiles[Secret]] = {}

    def context(self, ca_file: str | None) -> ssl.SSLContext:
        """Return a context that trusts ``ca_file`` alone, or the public authorities. Raises ``FetchFailed``."""
        try:
            if ca_file not in self._contexts:
                self._contexts[ca_file] = client_tls("providers", {CA_FILE: Path(ca_file)} if ca_file else {})
            return self._contexts[ca_file].current()
        except ConfigurationError as error:
            raise FetchFailed(error.message) from None

    def secret(self, setting: str, path: Path) -> Secret:
        """Return the header value in a file. Raises ``FetchFailed``."""
        key = (setting, path)
        try:
            if key not in self._secrets:
                self._secrets[key] = secret_file(setting, path)
            return self._secrets[key].current()
        except ConfigurationError as error:
            raise FetchFailed(error.message) from None

    def look(self, sources: Iterable[KeySource]) -> str:
        """Read the files of ``sources``, forget all others, and return the problem with them, or ""."""
        sources = list(sources)
        contexts = {source.ca_file for source in sources}
        secrets = {file for source in sources for file in source.secret_files()}
        self._contexts = {key: files for key, files in self._contexts.items() if key in contexts}
        self._secrets = {key: files for key, files in self._secrets.items() if key in secrets}
        every: list[RenewedFiles[ssl.SSLContext] | RenewedFiles[Secret]] = []
        every += self._contexts.values()
        every += self._secrets.values()
        for files in every:
            files.look()
        return "; ".join(files.problem for files in every if files.problem)


def secret_file(setting: str, path: Path) -> RenewedFiles[Secret]:
    """Return a secret for a header, which follows its file. Raises ``ConfigurationError``, without the secret."""

    def made(contents: Sequence[bytes]) -> Secret:
        value = contents[0].strip()
        if len(value) > MAX_SECRET or not _FIELD_VALUE.fullmatch(value):
            raise ConfigurationError(
                f"{setting}: {path} holds no value for a header: a line of printable ASCII, {MAX_SECRET} bytes at most"
            )
        return Secret(value)

    return RenewedFiles([(setting, path)], made)
