"""Sources of providers' keys, and the contract of the function that fetches from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a provider's keys come from."""

    kind: Literal["discovery", "jwks", "x509", "pinned"]
    url: str = ""
    """The document's URL; of the discovery document for `discovery`."""
    issuer: str = ""
    """What the discovery document has to name as its issuer, for `discovery`."""
    more_issuers: frozenset[str] = frozenset()
    """Others that it may name: of one provider with several."""
    pinned: bytes = field(default=b"", repr=False)
    """The JWK set itself, for `pinned`."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust instead of the public ones."""
    allow_private: bool = False
    """Whether private addresses, and http on loopback, may be dialled."""
    timeout: float = 5.0
    """Seconds for one fetch in all."""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class FetchFailed(Exception):
    """There was no answer; the text, made by us, says why and may be shown to operators."""


class AnswerUnusable(FetchFailed):
    """There was one that is at fault itself, so that asking again brings the same until somebody has mended it."""


class Fetch(Protocol):
    """GETs ``url`` under the rules of ``source``. Raises :class:`FetchFailed`."""

    async def __call__(self, source: KeySource, url: str, *, etag: str | None) -> FetchResult: ...
