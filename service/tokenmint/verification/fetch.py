"""HTTP GETs of providers' documents, and requests to their streams of signals. Only this module has an HTTP client.

It looks up the addresses of a name, checks them, and dials exactly these, one after the other, until one answers. Only
https is allowed, and plain http for a provider on loopback with ``allow_private``. A proxy only forwards https, in a
tunnel that ends at the provider.

A token, and configured headers, go only to the origin of the configured URL, and to no origin that a document names.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata
from typing import Final, NamedTuple

from tokenmint.base.http_url import BadUrl, HttpUrl, shown
from tokenmint.base.threads import Busy
from tokenmint.base.trace_context import TRACEPARENT, outgoing
from tokenmint.model.proxies import Proxy
from tokenmint.model.secret import Secret
from tokenmint.verification.answers import Answer, chain_of
from tokenmint.verification.content_coding import BadCoding, decoder
from tokenmint.verification.dialling import SourceThreads, check_proxied, look_up
from tokenmint.verification.heads import BoundedHeads
from tokenmint.verification.http_client import httpcore2
from tokenmint.verification.key_source import (
    BEARER_TOKEN_FILE,
    HEADER_FILES,
    PROXY_PASSWORD_FILE,
    AnswerUnusable,
    FetchFailed,
    FetchResult,
    KeySource,
)
from tokenmint.verification.source_files import SourceFiles

MAX_BODY: Final = 512 * 1024  # bytes, both as sent and after decoding
MAX_PARTS: Final = 4096  # chunks of a body: each costs as much time as many bytes, and blocks other calls
MAX_REDIRECTS: Final = 3
MAX_HEADER: Final = 1024  # bytes of a header's value; a longer one is ignored
MAX_LOCATION: Final = 2048
MAX_ETAG: Final = 256
_LIMITS: Final = {
    "cache-control": MAX_HEADER, "age": MAX_HEADER, "date": MAX_HEADER, "etag": MAX_ETAG, "location": MAX_LOCATION,
}  # fmt: skip
"""The headers that are read. All other headers of an answer are dropped here."""
_LISTS: Final = frozenset({"cache-control"})
"""Headers that may come in several lines (RFC 9110 section 5.3). Two lines of another header count as none."""
_ENTITY_TAG: Final = re.compile(r"[\x21-\x7e\x80-\xff]+")
"""An ETag that can be sent back: RFC 9110 section 8.8.3, also without the quotes that some providers omit."""
_ACCEPT: Final = b"application/jwk-set+json, application/json, */*;q=0.1"
"""A Kubernetes API server answers 406 to a request for its keys that accepts only `application/json`."""
USER_AGENT: Final = f"tokenmint/{metadata.version('tokenmint')}"
_FAILURES: Final = (
    httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError, httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol, ssl.SSLError, OSError,
)  # fmt: skip
_AUTHORITY: Final = dict.fromkeys(
    (18, 19, 20, 21),  # OpenSSL's numbers: self-signed, alone or in the chain, and an issuer that is not known
    ": if a private authority made it, or a proxy that opens TLS, name that authority in ca_file",
)
Headers = list[tuple[bytes, bytes]]


class HttpFetch:
    """Fetches over HTTPS with a new connection for each request, because names with one address would share pooled
    ones.

    Args:
        observe: is called with each answer, for the command that tries a provider.
        propagate: whether providers get the trace of the call that a fetch is for.
    """

    def __init__(self, observe: Callable[[Answer], None] | None = None, *, propagate: bool = False) -> None:
        self.files = SourceFiles()
        self._observe = observe
        self._propagate = propagate
        self._look_ups = SourceThreads()
        self._readings = SourceThreads()

    async def __call__(self, source: KeySource, url: str, *, etag: str | None) -> FetchResult:
        """GET ``url``. Raises ``FetchFailed``; the caller bounds the time."""
        try:
            target = HttpUrl.parse(url)
        except BadUrl as error:
            raise AnswerUnusable(f"{shown(url)} can't be fetched: {error}") from None
        ends = asyncio.get_running_loop().time() + source.timeout
        await self._read_files(source)
        for _ in range(MAX_REDIRECTS + 1):
            result = await self._traced(source, target, etag, ends)
            if result.status not in (301, 302, 303, 307, 308):
                return result
            target = _redirected(target, result.headers.get("location"))
        raise FetchFailed(f"{shown(target)}: more than {MAX_REDIRECTS} redirects")

    async def send(self, source: KeySource, method: str, url: str, body: bytes = b"") -> FetchResult:
        """Send one request with JSON, or without a body. No redirect is followed. Raises ``FetchFailed``."""
        try:
            target = HttpUrl.parse(url)
        except BadUrl as error:
            raise AnswerUnusable(f"{shown(url)} can't be used: {error}") from None
        ends = asyncio.get_running_loop().time() + source.timeout
        await self._read_files(source)
        return await self._traced(source, target, None, ends, method, body)

    async def _read_files(self, source: KeySource) -> None:
        """Read the renewed files. While a disk hangs, the content that was read before is used."""
        complete = self.files.complete(source)
        if complete and not self.files.named(source):
            return
        try:
            async with asyncio.timeout(source.timeout / 4 if complete else None):
                await self._readings.run(source, partial(self.files.read, source))
        except (TimeoutError, Busy):
            if not complete:
                raise FetchFailed("the files of this provider can't be read: does their disk hang?") from None

    async def _traced(
        self, source: KeySource, url: HttpUrl, etag: str | None, ends: float, method: str = "GET", body: bytes = b""
    ) -> FetchResult:
        """Ask one URL, as a span of the call that waits for it. Its query may hold secrets, and its path customers."""
        about: dict[str, str | int] = {
            "http.request.method": method, "url.scheme": url.scheme, "server.address": url.host,
            "server.port": url.port,
        }  # fmt: skip
        with outgoing(method, about) as request:
            headers = self._headers(source, url, etag)
            if request is not None and self._propagate:
                headers.append((TRACEPARENT.encode(), request.traceparent.encode()))
            if body:
                headers += [(b"Content-Type", b"application/json"), (b"Content-Length", str(len(body)).encode())]
            result = await self._get(source, url, _Message(method, headers, body), ends)
            about["http.response.status_code"] = result.status
            return result

    async def _get(self, source: KeySource, url: HttpUrl, message: "_Message", ends: float) -> FetchResult:
        context = self.files.context(source.ca_file)
        if source.proxy is not None and source.proxy.serves(url):
            check_proxied(url, source)
            request = _Request(url, url.host, message, _seconds(ends))
            try:
                return await self._ask(request, self._through(source.proxy, request, context), source.proxy)
            except _FAILURES as error:
                place = source.proxy.url.authority
                raise FetchFailed(
                    f"{shown(url)} could not be fetched through the proxy {place} ({_reason(error)})"
                ) from None
        addresses = await look_up(self._look_ups, url, source)
        failure = ""
        for number, address in enumerate(addresses):
            # Each address gets only its share of the time, so that one that never answers does not use up the others'
            # share.
            share = _seconds(ends) / (len(addresses) - number)
            request = _Request(url, str(address), message, _seconds(ends), share)
            try:
                return await self._ask(request, httpcore2.AsyncConnectionPool(context, network_backend=request.heads))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = _reason(error)
            except _FAILURES as error:
                raise FetchFailed(f"{shown(url)} could not be fetched ({_reason(error)})") from None
        tried = f" at any of its {len(addresses)} addresses" if len(addresses) > 1 else ""
        raise FetchFailed(f"{shown(url)} could not be fetched{tried} ({failure})")

    def _headers(self, source: KeySource, url: HttpUrl, etag: str | None) -> Headers:
        own = {name.lower(): value.encode("ascii") for name, value in source.headers}
        headers = [
            (b"Host", url.authority.encode("ascii")),
            (b"Accept", own.pop("accept", _ACCEPT)),
            (b"Accept-Encoding", b"identity"),  # other codings are still decoded
            (b"User-Agent", own.pop("user-agent", USER_AGENT.encode("ascii"))),
            (b"Connection", b"close"),
        ]
        if etag and _sendable(etag):
            headers.append((b"If-None-Match", etag.encode("latin-1")))
        if url.origin == HttpUrl.parse(source.url).origin:
            headers += [(name.encode("ascii"), value) for name, value in own.items()]
            for name, path in source.header_files:
                value = self.files.secret(HEADER_FILES.format(name), path)
                headers.append((name.encode("ascii"), value.reveal_bytes()))
            if source.bearer_token_file is not None:
                token = self.files.secret(BEARER_TOKEN_FILE, source.bearer_token_file)
                headers.append((b"Authorization", b"Bearer " + token.reveal_bytes()))
        return headers

    async def _ask(
        self, request: "_Request", connections: httpcore2.AsyncConnectionPool, proxy: Proxy | None = None
    ) -> FetchResult:
        async with (
            connections,
            connections.stream(
                request.message.method,
                request.dialled,
                headers=request.message.headers,
                content=request.message.body or None,
                extensions=request.extensions,
            ) as response,
        ):
            request.heads.complete = True
            body = await _body(response, shown(request.url))
            result = FetchResult(response.status, _headers(response.headers), body)
            if self._observe is not None:
                tls = response.extensions["network_stream"].get_extra_info("ssl_object")
                via = proxy.url.authority if proxy is not None else ""
                address = request.dialled.host.decode() if proxy is None else ""
                self._observe(Answer(shown(request.url), address, via, result, chain_of(tls)))
            return result

    def _through(self, proxy: Proxy, request: "_Request", context: ssl.SSLContext) -> httpcore2.AsyncConnectionPool:
        password = proxy.password or Secret("")
        if proxy.password_file is not None:
            password = self.files.secret(PROXY_PASSWORD_FILE, proxy.password_file)
        return httpcore2.AsyncHTTPProxy(
            proxy_url=str(proxy.url),
            proxy_auth=(proxy.username.encode(), password.reveal_bytes()) if proxy.username or password else None,
            proxy_headers=[(b"User-Agent", USER_AGENT.encode("ascii"))],
            proxy_ssl_context=self.files.context(proxy.ca_file) if proxy.url.scheme == "https" else None,
            ssl_context=context,
            network_backend=request.heads,
        )


class _Message(NamedTuple):
    """The content of a request, apart from its URL."""

    method: str
    headers: Headers
    body: bytes


class _Request:
    """Send one request to one address.

    Args:
        url: what is asked for.
        host: where the connection goes, or where the proxy connects to.
        message: what is sent.
        seconds: the time for each step of it ...
        connecting: ... and for the connection.
    """

    def __init__(self, url: HttpUrl, host: str, message: _Message, seconds: float, connecting: float = 0) -> None:
        self.url = url
        self.dialled = httpcore2.URL(scheme=url.scheme, host=host, port=url.port, target=url.target)
        self.message = message
        self.heads = BoundedHeads(shown(url))
        times = dict.fromkeys(("read", "write", "pool"), seconds) | {"connect": connecting or seconds}
        self.extensions = {"sni_hostname": url.host, "timeout": times}


def _seconds(ends: float) -> float:
    return max(0.001, ends - asyncio.get_running_loop().time())


def _redirected(url: HttpUrl, location: str | None) -> HttpUrl:
    """Return the target of a redirect. Raises ``AnswerUnusable``."""
    if location is None:
        raise AnswerUnusable(f"{shown(url)} redirects without a Location that can be followed")
    try:
        target = url.join(location)
    except BadUrl as error:
        raise AnswerUnusable(f"{shown(url)} redirects to an invalid URL: {error}") from None
    if target.origin != url.origin:
        raise AnswerUnusable(f"{shown(url)} redirects to another host, which is not followed")
    return target


def _sendable(etag: str) -> bool:
    return len(etag) <= MAX_ETAG and _ENTITY_TAG.fullmatch(etag) is not None


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers that are read, one character for each byte, bounded."""
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


async def _body(response: httpcore2.Response, url: str) -> bytes:
    """Return a decoded body. The limit holds for the bytes as sent and for the decoded bytes."""
    names = [value for name, value in response.headers if name.lower() == b"content-encoding"]
    try:
        coding = decoder(b", ".join(names).decode("latin-1"))
        body, sent, parts = bytearray(), 0, 0
        async for chunk in response.aiter_stream():
            sent += len(chunk)
            parts += 1
            if parts > MAX_PARTS:
                raise AnswerUnusable(f"{url} answered in more than {MAX_PARTS} parts")
            if sent <= MAX_BODY:
                body += coding.decode(chunk, MAX_BODY + 1 - len(body))
            if sent > MAX_BODY or len(body) > MAX_BODY:
                raise AnswerUnusable(f"{url} answered with more than {MAX_BODY} bytes")
        coding.end()
    except BadCoding as error:
        raise AnswerUnusable(f"{url} answered with {error}") from None
    return bytes(body)


def _reason(error: BaseException) -> str:
    """Describe the failure without text that the other side may have chosen."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}{_AUTHORITY.get(cause.verify_code, '')}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore2.ProxyError):
        status = re.match(r"\d{3}\b", str(error))
        login = ": set proxy.username and proxy.password_file" if status and status[0] == "407" else ""
        return f"the proxy answered {status[0]}{login}" if status else "the proxy's answer can't be used"
    return type(error).__name__
