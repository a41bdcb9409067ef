"""HTTP GETs of providers' documents: the only place with an HTTP client.

The address is resolved here, checked, and dialled as it was checked, so that a name can't turn into a private address
between the two (DNS rebinding). https only; plain http is for a provider on loopback that is allowed to be private.

A provider chooses the names that are looked up, and its name server how long that takes. So names are looked up in
threads of each source's own: the event loop has few, by which the store's name is looked up, too.
"""

import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import httpx2

from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.threads import Busy, Threads
from tokenmint.verification.key_source import AnswerUnusable, FetchFailed, FetchResult, KeySource

MAX_BODY: Final = 512 * 1024
MAX_PARTS: Final = 4096  # chunks of a body: each costs as much time as many bytes, in which nobody else is served
MAX_REDIRECTS: Final = 3
MAX_HEADER: Final = 1024  # bytes of a header's value; a longer one is taken for none
MAX_LOCATION: Final = 2048
MAX_ETAG: Final = 256
LOOK_UPS: Final = 4  # of names, for one source, that may not have ended at a time
_LIMITS: Final = {"cache-control": MAX_HEADER, "age": MAX_HEADER, "etag": MAX_ETAG, "location": MAX_LOCATION}
"""The headers that are looked at. Everything else of an answer's head is dropped here."""
_LISTS: Final = frozenset({"cache-control"})
"""Headers that may be sent in several lines (RFC 9110 section 5.3). Of others, two lines count as none."""
_ENTITY_TAG: Final = re.compile(r"[\x21-\x7e\x80-\xff]+")
"""What is sent back: RFC 9110 section 8.8.3, also without the quotes that some providers leave out."""
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that is assigned for the public internet; what else there is, is local, deprecated or of another use."""
_NEVER: Final = (
    ipaddress.ip_network("192.0.0.0/24"),  # RFC 6890: protocol assignments
    ipaddress.ip_network("192.88.99.0/24"),  # RFC 7526: deprecated
    ipaddress.ip_network("3fff::/20"),  # RFC 9637: documentation
)


class HttpFetch:
    """Fetches over HTTPS, a connection for each request: pooled ones would be shared by names with the same address."""

    def __init__(self) -> None:
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._look_ups: dict[KeySource, Threads] = {}

    async def __call__(self, source: KeySource, url: str, *, etag: str | None) -> FetchResult:
        """GET ``url``. Raises ``FetchFailed``; the caller bounds the time."""
        try:
            target = HttpUrl.parse(url)
        except BadUrl as error:
            raise AnswerUnusable(f"{clipped(url, LONG)} can't be fetched: {error}") from None
        for _ in range(MAX_REDIRECTS + 1):
            result = await self._get(source, target, etag)
            if result.status not in (301, 302, 303, 307, 308):
                return result
            target = _redirected(target, result.headers.get("location"))
        raise FetchFailed(f"{shown(target)}: more than {MAX_REDIRECTS} redirects")

    async def _get(self, source: KeySource, url: HttpUrl, etag: str | None) -> FetchResult:
        address = _dialled(url, source, await self._look_up(url, source))
        literal = f"[{address}]" if address.version == 6 else str(address)
        dialled = f"{url.scheme}://{literal}:{url.port}{url.target}"
        # No content encoding: what is counted against the limit is what is read.
        headers = [
            (b"Host", url.authority.encode("ascii")),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
        ]
        if etag and _sendable(etag):
            headers.append((b"If-None-Match", etag.encode("latin-1")))
        try:
            async with (
                httpx2.AsyncClient(
                    verify=self._context(source.ca_file),
                    trust_env=False,
                    follow_redirects=False,
                    timeout=source.timeout,
                ) as client,
                client.stream("GET", dialled, headers=headers, extensions={"sni_hostname": url.host}) as response,
            ):
                return FetchResult(
                    response.status_code, _headers(response.headers.raw), await _body(response, shown(url))
                )
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError) as error:
            raise FetchFailed(f"{shown(url)} could not be fetched ({_reason(error)})") from None

    async def _look_up(self, url: HttpUrl, source: KeySource) -> list[IpAddress]:
        threads = self._look_ups.setdefault(source, Threads("names", LOOK_UPS))
        try:
            infos = await threads.run(partial(socket.getaddrinfo, url.host, url.port, type=socket.SOCK_STREAM))
        except Busy:
            raise FetchFailed(f"look-ups of names like {url.host!r} do not end") from None
        except (OSError, UnicodeError):
            infos = []
        finally:
            if not threads.running:
                self._look_ups.pop(source, None)
        return [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        context = self._contexts.get(ca_file)
        if context is None:
            try:
                context = self._contexts[ca_file] = ssl.create_default_context(cafile=ca_file)
            except OSError:
                raise FetchFailed(f"the certificate authorities in {ca_file} could not be read") from None
        return context


def shown(url: HttpUrl) -> str:
    """Return a URL as messages have it: a provider may have chosen it."""
    return clipped(str(url), LONG)


def _redirected(url: HttpUrl, location: str | None) -> HttpUrl:
    """Return where an answer sends on to. Raises ``AnswerUnusable``."""
    if location is None:
        raise AnswerUnusable(f"{shown(url)} redirects without a Location that can be followed")
    try:
        target = url.join(location)
    except BadUrl as error:
        raise AnswerUnusable(f"{shown(url)} redirects to what is no URL: {error}") from None
    if target.origin != url.origin:
        raise AnswerUnusable(f"{shown(url)} redirects to another host, which is not followed")
    return target


def _sendable(etag: str) -> bool:
    return len(etag) <= MAX_ETAG and _ENTITY_TAG.fullmatch(etag) is not None


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers that are looked at, one character for each byte, bounded."""
    found: dict[str, list[str]] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        if key in _LIMITS:
            found.setdefault(key, []).append(value.decode("latin-1"))
    joined = {key: ", ".join(values) for key, values in found.items() if len(values) == 1 or key in _LISTS}
    kept = {key: value for key, value in joined.items() if len(value) <= _LIMITS[key]}
    if not _sendable(kept.get("etag", "")):
        kept.pop("etag", None)
    return kept


async def _body(response: httpx2.Response, url: str) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AnswerUnusable(f"{url} answered with a content encoding that was not asked for")
    body, parts = bytearray(), 0
    async for chunk in response.aiter_raw():
        body += chunk
        parts += 1
        if parts > MAX_PARTS:
            raise AnswerUnusable(f"{url} answered in more than {MAX_PARTS} parts")
        if len(body) > MAX_BODY:
            raise AnswerUnusable(f"{url} answered with more than {MAX_BODY} bytes")
    return bytes(body)


def _dialled(url: HttpUrl, source: KeySource, addresses: Sequence[IpAddress]) -> IpAddress:
    """Return the one of a name's addresses that is dialled, where each of them may be."""
    if not addresses:
        raise FetchFailed(f"the name {url.host!r} does not resolve")
    if url.scheme == "http" and not (source.allow_private and all(address.is_loopback for address in addresses)):
        raise AnswerUnusable("plain http is only for a provider on loopback that has allow_private = true")
    if not source.allow_private and not all(is_public(address) for address in addresses):
        raise AnswerUnusable(
            f"the name {url.host!r} resolves to an address that is not public: "
            "set allow_private = true if the provider is meant to be inside"
        )
    return addresses[0]


def is_public(address: IpAddress) -> bool:
    """Tell whether an address, or the IPv4 address inside it, is reachable on the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NEVER)


def _reason(error: BaseException) -> str:
    """Name what went wrong without text that the other side may have chosen."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
