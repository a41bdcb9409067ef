"""URLs of documents that are fetched over HTTP. All are parsed and checked here, regardless of their source.

Some come from the configuration, others from providers (`jwks_uri`, `Location`). A URL that two parsers could read
differently is refused. So is one that the standard library accepts although a later step fails: a port beyond 65535, an
unmatched bracket, a label of 64 octets. RFC 3986 section 3, RFC 1123 section 2.1, RFC 1035 section 2.3.4.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

from tokenmint.base.foreign_text import LONG, clipped

MAX_LENGTH: Final = 2048  # bytes
MAX_HOST: Final = 253  # RFC 1035 section 2.3.4, as text, without the final dot
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*\Z")
_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?\Z")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""The last label of an IPv4 address in any of its spellings (WHATWG URL section 3.5); no domain ends in it."""
_PORT: Final = re.compile(r"[0-9]{1,5}\Z")
_PORTS: Final = {"https": 443, "http": 80}


class BadUrl(ValueError):
    """The text is not a URL that can be fetched. The message gives the reason and does not quote the URL."""


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """A URL that can be fetched. Only :meth:`parse` and :meth:`join` make one."""

    scheme: str
    """`https` or `http`."""
    host: str
    """In lower case; an IPv6 address is without brackets."""
    port: int
    target: str
    """The request target: path and query."""

    @classmethod
    def parse(cls, text: str) -> "HttpUrl":
        """Parse a URL. Raises :class:`BadUrl`."""
        _check_characters(text)
        try:
            parts = urlsplit(text)
        except ValueError:  # brackets
            raise BadUrl("its host has brackets without an IPv6 address") from None
        if parts.scheme not in _PORTS or not text[len(parts.scheme) :].startswith("://"):
            raise BadUrl("expected a URL that begins with https://")
        if "@" in parts.netloc:
            raise BadUrl("a URL with a user or a password is not accepted")
        host, port = _authority(parts.netloc)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, target)

    def join(self, reference: str) -> "HttpUrl":
        """Resolve ``reference`` against this URL (RFC 3986 section 5). Raises :class:`BadUrl`."""
        _check_characters(reference)
        if not reference:
            raise BadUrl("it is empty")
        try:
            target = urljoin(str(self), reference)
        except ValueError:
            raise BadUrl("its host has brackets without an IPv6 address") from None
        return self.parse(target)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port (RFC 6454 section 4)."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port as in a URL and in the `Host` header; the scheme's default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine: a loopback address, or a name for it (RFC 6761 section 6.3)."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            name = self.host.removesuffix(".")
            return name == "localhost" or name.endswith(".localhost")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def shown(url: HttpUrl | str) -> str:
    """Return a URL for messages, bounded: a provider may have chosen it. The values in its query may be secrets, so
    only their names are shown.
    """
    address, mark, query = str(url).partition("#")[0].partition("?")
    names = [f"{name}=***" if equals else "***" for name, equals, _ in (one.partition("=") for one in query.split("&"))]
    return clipped(address + (mark + "&".join(names) if query else mark), LONG)


def host_of(authority: str) -> str:
    """Return the host of `host` or `host:port`, in lower case; of IPv6 the address without brackets.

    Raises :class:`BadUrl`.
    """
    _check_characters(authority)
    return _authority(authority)[0]


def same_url(one: str, other: str) -> bool:
    """Return whether two texts are equivalent URLs (RFC 3986 section 6.2.3); other texts are compared exactly.

    Used to refuse names that are too similar. Claims in tokens are compared exactly (RFC 8414 section 3.3).
    """
    if one == other:
        return True
    try:
        return _normal(one) == _normal(other)
    except BadUrl:
        return False


def _normal(text: str) -> str:
    return str(HttpUrl.parse(text.partition("#")[0])).rstrip("/")


def _check_characters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise BadUrl(f"it is longer than {MAX_LENGTH} bytes")
    if not text.isascii():
        raise BadUrl("it has characters beyond ASCII: write host names as xn--, the rest percent-encoded")
    if not _CHARACTERS.match(text):  # the standard library would drop some of them
        raise BadUrl("it has a character that is not allowed in URLs (RFC 3986 section 2)")


def _authority(text: str) -> tuple[str, int | None]:
    """Return host and port. Raises :class:`BadUrl`."""
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        try:
            host = str(ipaddress.IPv6Address(address))
        except ValueError:
            raise BadUrl("its host has brackets without an IPv6 address") from None
        if not closed or "%" in address or rest[:1] not in ("", ":"):
            raise BadUrl("its host is an IPv6 address followed by other text")
        port = rest.removeprefix(":")
    else:
        name, _, port = text.partition(":")
        host = name.lower()
        if not host:
            raise BadUrl("it names no host")
        if len(host.removesuffix(".")) > MAX_HOST or not _HOST.match(host):
            raise BadUrl("its host is not a name: expected labels of 1 to 63 letters, digits and hyphens, 253 in all")
        if _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
            _check_address(host)
    if port and not (_PORT.match(port) and 1 <= int(port) <= 65535):
        raise BadUrl("its port is not a number from 1 to 65535")
    return host, int(port) if port else None


def _check_address(host: str) -> None:
    """Refuse spellings that some resolvers read as an address, although a check of addresses reads them as a name."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise BadUrl("its host is not an IPv4 address of four decimal numbers") from None
