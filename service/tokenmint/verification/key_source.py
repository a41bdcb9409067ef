"""Sources of providers' keys, and the contract of the function that fetches from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from tokenmint.base.http_url import HttpUrl, shown
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.model.proxies import Proxy
from tokenmint.verification.jwk_set import ParsedKeySet

BEARER_TOKEN_FILE: Final = "bearer_token_file"  # noqa: S105  # the name of a setting
HEADER_FILES: Final = "header_files.{}"
PROXY_PASSWORD_FILE: Final = "proxy.password_file"  # noqa: S105  # as above


@dataclass(frozen=True, slots=True)
class KeySource:
    """The source of a provider's keys."""

    kind: Literal["discovery", "jwks", "x509", "pinned", "file"]
    url: str = ""
    """The URL of the key document, or of the discovery document for `discovery`."""
    issuer: str = ""
    """The issuer that the discovery document has to name, for `discovery`."""
    more_issuers: frozenset[str] = frozenset()
    """Other issuers that the document may name, for a provider with several."""
    pinned: bytes = field(default=b"", repr=False)
    """The JWK set itself, for `pinned`."""
    path: Path | None = None
    """The file with the JWK set, for `file`."""
    file: RenewedFiles[ParsedKeySet] | None = field(default=None, compare=False, repr=False)
    """The keys in that file."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust instead of the public ones."""
    allow_private: bool = False
    """Whether private addresses, and http on loopback, may be dialled."""
    max_keys: int = 100
    """The largest number of keys that are used."""
    timeout: float = 5.0
    """Seconds for one whole fetch."""
    bearer_token_file: Path | None = None
    """A token that goes only to the origin of ``url``, read from the file at each fetch."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the request, for that origin only; `User-Agent` for all."""
    header_files: tuple[tuple[str, Path], ...] = ()
    """The same, with secret values from files."""
    proxy: Proxy | None = None
    """The proxy to fetch through; None: without a proxy."""

    def ca_files(self) -> tuple[str | None, ...]:
        """Return the files of authorities that verify the servers; None stands for the public ones."""
        if self.proxy is None or self.proxy.url.scheme != "https":
            return (self.ca_file,)
        return self.ca_file, self.proxy.ca_file

    def secret_files(self) -> list[tuple[str, Path]]:
        """Return the files with the secrets of requests, each with its name in messages."""
        files = [(HEADER_FILES.format(name), path) for name, path in self.header_files]
        if self.bearer_token_file is not None:
            files.append((BEARER_TOKEN_FILE, self.bearer_token_file))
        if self.proxy is not None and self.proxy.password_file is not None:
            files.append((PROXY_PASSWORD_FILE, self.proxy.password_file))
        return files

    @property
    def place(self) -> str:
        """The URL or path of the keys, for operators: without the values of a query, which may be secrets."""
        return shown(self.url) if self.url else str(self.path) if self.path else self.kind

    def failed_with(self, url: str, status: int) -> str:
        """Return the message for an answer of ``url`` without keys; a lack of credentials is named with its remedy."""
        message = f"{shown(url)} answered {status}"
        if status not in (401, 403):
            return message
        if self.bearer_token_file is None and not self.header_files and not self.headers:
            return f"{message}: bearer_token_file or header_files authenticate fetches"
        if HttpUrl.parse(url).origin != HttpUrl.parse(self.url).origin:
            return f"{message}: token and headers go to the origin of {self.place} alone: set jwks_url to this one"
        return f"{message}: the token or the headers of the fetch are not accepted"

    @property
    def is_fetched(self) -> bool:
        """Whether the keys come over the network."""
        return self.kind not in ("pinned", "file")


@dataclass(frozen=True, slots=True)
class FetchResult:
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class FetchFailed(Exception):
    """There was no answer; the text, made by us, gives the reason and may be shown to operators."""


class AnswerUnusable(FetchFailed):
    """The answer itself is wrong, so a retry brings the same until its author corrects it."""


class Fetch(Protocol):
    """GETs ``url`` under the rules of ``source``. Raises :class:`FetchFailed`."""

    async def __call__(self, source: KeySource, url: str, *, etag: str | None) -> FetchResult: ...
