"""HTTP GETs of providers' documents: the only place with an HTTP client.

The address is resolved here, checked, and dialled as it was checked, so that a name can't turn into a private address
between the two (DNS rebinding). https only; plain http is for a provider on loopback that is allowed to be private.
"""

import asyncio
import ipaddress
import socket
import ssl
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx2

from tokenmint.assertion.keyset import FetchFailed, FetchResult, KeySource

MAX_BODY: Final = 512 * 1024
MAX_REDIRECTS: Final = 3
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

    async def __call__(self, source: KeySource, url: str, *, etag: str | None) -> FetchResult:
        """GET ``url``. Raises ``FetchFailed``; the caller bounds the time."""
        for _ in range(MAX_REDIRECTS + 1):
            result = await self._get(source, url, etag)
            location = result.headers.get("location")
            if result.status not in (301, 302, 303, 307, 308) or location is None:
                return result
            target = urljoin(url, location)
            if _origin(urlsplit(target)) != _origin(urlsplit(url)):
                raise FetchFailed(f"{url} redirects to another host, which is not followed")
            url = target
        raise FetchFailed(f"{url}: more than {MAX_REDIRECTS} redirects")

    async def _get(self, source: KeySource, url: str, etag: str | None) -> FetchResult:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme not in ("https", "http") or not host or parts.username is not None:
            raise FetchFailed("the URL is not one of https://host/path")
        address = await _resolve(host, port, source, plain=parts.scheme == "http")
        literal = f"[{address}]" if address.version == 6 else str(address)
        dialled = parts._replace(netloc=f"{literal}:{port}", fragment="").geturl()
        # No content encoding: what is counted against the limit is what is read.
        headers = {"Host": parts.netloc, "Accept": "application/json", "Accept-Encoding": "identity"}
        if etag:
            headers["If-None-Match"] = etag
        try:
            async with (
                httpx2.AsyncClient(
                    verify=self._context(source.ca_file),
                    trust_env=False,
                    follow_redirects=False,
                    timeout=source.timeout,
                ) as client,
                client.stream("GET", dialled, headers=headers, extensions={"sni_hostname": host}) as response,
            ):
                return FetchResult(
                    response.status_code,
                    {name.lower(): value for name, value in response.headers.items()},
                    await _body(response, url),
                )
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError) as error:
            raise FetchFailed(f"{url} could not be fetched ({_reason(error)})") from None

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        context = self._contexts.get(ca_file)
        if context is None:
            try:
                context = self._contexts[ca_file] = ssl.create_default_context(cafile=ca_file)
            except OSError:
                raise FetchFailed(f"the certificate authorities in {ca_file} could not be read") from None
        return context


async def _body(response: httpx2.Response, url: str) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchFailed(f"{url} answered with a content encoding that was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY:
            raise FetchFailed(f"{url} answered with more than {MAX_BODY} bytes")
    return bytes(body)


async def _resolve(host: str, port: int, source: KeySource, *, plain: bool) -> IpAddress:
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchFailed(f"the name {host!r} does not resolve") from None
    addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]
    if plain and not (source.allow_private and all(address.is_loopback for address in addresses)):
        raise FetchFailed("plain http is only for a provider on loopback that has allow_private = true")
    if not source.allow_private and not all(is_public(address) for address in addresses):
        raise FetchFailed(
            f"the name {host!r} resolves to an address that is not public: "
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


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port


def _reason(error: BaseException) -> str:
    """Name what went wrong without text that the other side may have chosen."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
