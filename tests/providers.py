"""A provider over HTTPS, and an HTTP proxy in front of it, on loopback. Both record what comes."""

import base64
import contextlib
import json
import select
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.http_servers import Handler, running
from tests.tls import Authority

NAME = "login.partner.example"
"""A name that the certificates of tests have, beside those of loopback."""
PATIENCE = 20.0  # seconds
Judge = Callable[["Handler"], int]


@dataclass
class Documents:
    """The documents of a provider, and the requests for them."""

    port: int = 0
    served: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    judge: Judge = lambda _: 200
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Path and headers of each request; names in lower case."""

    def url(self, path: str = "", host: str = "localhost", scheme: str = "https") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def sent(self, name: str) -> list[str | None]:
        """Return a header of each request."""
        return [headers.get(name.lower()) for _, headers in self.asked]


@contextmanager
def provider(
    tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0, **served: bytes
) -> Iterator[Documents]:
    """Serve documents by their names; with ``tls`` over HTTPS."""
    documents = Documents(served={f"/{name}": body for name, body in served.items()})

    class Answering(Handler):
        def do_GET(self) -> None:
            documents.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            body = documents.served.get(self.path, b"")
            self.give(documents.judge(self) if self.path in documents.served else 404, body, documents.headers)

    with running(Answering, host, port, tls) as at:
        documents.port = at
        yield documents


def ending_tls(directory: Path, authority: Authority, *names: str, serial: int = 100) -> ssl.SSLContext:
    """Return what ends TLS with a certificate for some names."""
    certificate, key = authority.issue("provider", *(names or ("localhost", "127.0.0.1")), serial=serial)
    (directory / "provider.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "provider.pem")
    return context


@dataclass
class ProxySeen:
    """The requests that an HTTP proxy got, and the bytes that went through it."""

    port: int = 0
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """The request line, and the headers, of each request."""
    passed: bytearray = field(default_factory=bytearray)
    """All bytes that went through its tunnels, in both directions."""


@contextmanager
def proxy(
    to: Mapping[str, int],
    *,
    login: str | Collection[str] | None = None,
    tls: ssl.SSLContext | None = None,
    status: int = 200,
) -> Iterator[ProxySeen]:
    """Run an HTTP proxy (RFC 9110 section 9.3.6).

    Args:
        to: ports of loopback by the `host:port` that is asked for.
        login: `user:password` that it wants, or those of which one is enough.
        tls: ends TLS to the proxy itself.
        status: what it answers to those who are let in.
    """
    seen = ProxySeen()
    logins = {login} if isinstance(login, str) else login

    class Tunnel(Handler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self.close_connection = True
            given = {name.lower(): value for name, value in self.headers.items()}
            seen.asked.append((self.requestline, given))
            basic = given.get("proxy-authorization", "").removeprefix("Basic ")
            if logins is not None and base64.b64decode(basic).decode() not in logins:
                self.send_error(407)
            elif status != 200 or self.command != "CONNECT" or self.path not in to:
                self.send_error(status if status != 200 else 502)
            else:
                self._tunnel(to[self.path])

        def _tunnel(self, port: int) -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _hand_on(self.connection, there, seen.passed)

    with running(Tunnel, tls=tls) as at:
        seen.port = at
        yield seen


def _hand_on(one: socket.socket, other: socket.socket, passed: bytearray) -> None:
    """Hand on in both directions. One thread does it: two may not use one TLS connection at the same time."""
    to = {one: other, other: one}
    with contextlib.suppress(OSError):
        while to:
            held = [each for each in to if isinstance(each, ssl.SSLSocket) and each.pending()]
            ready = held or select.select(list(to), [], [], PATIENCE)[0]
            if not ready:
                return
            for each in ready:
                if data := each.recv(65536):
                    passed += data
                    to[each].sendall(data)
                else:
                    to.pop(each).shutdown(socket.SHUT_WR)


def discovery(issuer: str, jwks_uri: str) -> bytes:
    """Return a discovery document."""
    return json.dumps({"issuer": issuer, "jwks_uri": jwks_uri}).encode()
