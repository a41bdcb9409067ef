"""The fetcher against real HTTP on loopback: what it refuses to dial, follow and swallow."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.issuer import Issuer
from tests.unit.verification.fetched import answering, get, source

from tokenmint.base.trace_context import CallTrace, enter_trace
from tokenmint.verification.dialling import LOOK_UPS, is_public
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.key_source import AnswerUnusable, FetchFailed


async def test_a_document_is_fetched_with_its_headers(issuer: Issuer) -> None:
    issuer.headers["ETag"] = '"7"'
    result = await HttpFetch()(source(issuer.url), f"{issuer.url}/jwks.json", etag='"6"')
    assert (result.status, result.headers["etag"], result.headers["cache-control"]) == (200, '"7"', "max-age=300")
    assert result.body == issuer.jwks()


@pytest.mark.parametrize("propagate", [False, True])
async def test_a_fetch_within_a_call_is_a_request_of_its_trace_and_says_so_only_where_it_is_asked_to(
    propagate: bool,
) -> None:
    trace = CallTrace("a" * 32, "b" * 16, new_ids=iter(["c" * 16]))
    url, asked = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    enter_trace(trace)
    try:
        await HttpFetch(propagate=propagate)(source(url + "?key=secret"), url + "?key=secret", etag=None)
    finally:
        enter_trace(None)
    (request,) = trace.requests
    port = int(url.rpartition(":")[2].partition("/")[0])
    assert request.attributes == {
        "http.request.method": "GET", "url.scheme": "http", "server.address": "127.0.0.1", "server.port": port,
        "http.response.status_code": 200,
    }  # fmt: skip
    assert (b"traceparent: 00-" + b"a" * 32 + b"-" + b"c" * 16 + b"-01" in asked()[0]) is propagate


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2001:4860:4860::8888", True),
        ("127.0.0.1", False), ("10.0.0.1", False), ("172.16.0.1", False), ("192.168.1.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False),
        ("255.255.255.255", False), ("::1", False), ("::", False), ("fe80::1", False), ("fc00::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:8.8.8.8", True), ("64:ff9b::7f00:1", False), ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False), ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False), ("ff02::1", False),
        # Site-local, IPv4-compatible, IPv4-translated, local-use NAT64, segment routing, documentation.
        ("fec0::1", False), ("::7f00:1", False), ("::ffff:0:7f00:1", False), ("64:ff9b:1::7f00:1", False),
        ("5f00::1", False), ("3fff::1", False), ("2001:db8::1", False), ("4000::1", False), ("2002:808:808::1", True),
        ("192.0.0.8", False), ("192.88.99.1", False), ("198.18.0.1", False), ("240.0.0.1", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


async def test_private_addresses_are_not_dialled_unless_allowed(issuer: Issuer) -> None:
    port = issuer.url.rpartition(":")[2]
    for url in (f"https://127.0.0.1:{port}/jwks.json", f"https://localhost:{port}/jwks.json", f"https://[::1]:{port}/"):
        with pytest.raises(FetchFailed, match="allow_private"):
            await get(url, allow_private=False)
    assert not issuer.requests


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses, when it is asked for the first time, and none after it."""
    asked: list[str] = []

    def answer(host: str, port: int, **__: object) -> list[object]:
        asked.append(host)
        if len(asked) > 1:
            raise OSError("asked again")
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [(family, 1, 6, "", (text, port)) for family, text in zip(families, addresses, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize(
    "addresses", [("8.8.8.8", "10.0.0.1"), ("10.0.0.1", "8.8.8.8"), ("8.8.8.8", "::1"), ("fe80::1%lo",)]
)
async def test_one_private_address_among_public_ones_is_enough(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    resolving(monkeypatch, *addresses)
    with pytest.raises(FetchFailed, match="allow_private"):
        await get("https://idp.example/jwks.json", allow_private=False)


async def test_dns_rebinding_what_was_checked_is_what_is_dialled(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, "127.0.0.1")
    port = issuer.url.rpartition(":")[2]
    assert await get(f"http://no-such-host.invalid:{port}/jwks.json") == issuer.jwks()


async def test_a_name_server_that_does_not_answer_for_one_provider_keeps_nobody_else_waiting(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, answers = socket.getaddrinfo, threading.Event()

    def answer(host: str, *arguments: Any, **more: Any) -> Any:
        if host == "hangs.example":
            answers.wait(20)
            raise OSError
        return look_up(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    fetch, hangs = HttpFetch(), "https://hangs.example/jwks.json"
    fetch.files.read(source(hangs))
    given_up = []
    try:
        for _ in range(40):  # more than the event loop has threads
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    with pytest.raises(FetchFailed, match="do not finish") as failed:
                        await fetch(source(hangs), hangs, etag=None)
                    given_up.append(failed)
        assert len(given_up) == 40 - LOOK_UPS
        url = issuer.url.replace("127.0.0.1", "localhost")
        async with asyncio.timeout(10):
            assert (await fetch(source(url), f"{url}/jwks.json", etag=None)).status == 200
            assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)  # as a connection to the store does
    finally:
        answers.set()
    async with asyncio.timeout(20):
        while True:
            with pytest.raises(FetchFailed) as told:
                await fetch(source(hangs), hangs, etag=None)
            if "does not resolve" in str(told.value):
                return
            await asyncio.sleep(0)


async def test_plain_http_is_for_loopback_alone(issuer: Issuer) -> None:
    with pytest.raises(FetchFailed, match="plain http"):
        await get(f"{issuer.url}/jwks.json", allow_private=False)
    with pytest.raises(FetchFailed, match="plain http"):
        await get("http://10.0.0.1/jwks.json")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://127.0.0.1/", "https:///x", "https://u:p@127.0.0.1/", "http://[::1",
        "https://idp.example:99999/", "https://a..b/", f"https://{'a' * 64}.example/", "https://idp.example/\r\nX: y",
        "", "https://idp.example/" + "x" * 16_384,
    ],
)  # fmt: skip
async def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(AnswerUnusable, match="can't be fetched") as refused:
        await get(url)
    assert len(str(refused.value)) < 512


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://[::1", "invalid URL"),
        ("//[", "invalid URL"),
        ("http://127.0.0.1:99999/", "invalid URL"),
        ("http://127.0.0.1:0/", "invalid URL"),
        ("http://u:p@127.0.0.1/", "invalid URL"),
        ("https://a..b/", "invalid URL"),
        (f"https://{'a' * 64}.example/", "invalid URL"),
        ("/j\xfcwks", "invalid URL"),
        ("/a\tb", "invalid URL"),
        ("\\\\evil.example", "invalid URL"),
        ("", "invalid URL"),
        ("/" + "x" * 4096, "without a Location"),
    ],
)
async def test_a_location_that_leads_nowhere_is_a_failed_fetch(issuer: Issuer, location: str, words: str) -> None:
    issuer.status = 302
    issuer.headers["Location"] = location
    with pytest.raises(AnswerUnusable, match=words):
        await get(f"{issuer.url}/jwks.json")


async def test_redirects_stay_on_the_host(issuer: Issuer) -> None:
    issuer.status = 302
    issuer.headers["Location"] = "https://evil.example/jwks.json"
    with pytest.raises(FetchFailed, match="another host"):
        await get(f"{issuer.url}/jwks.json")
    for other in (
        "http://127.0.0.1:1/jwks.json",
        "https://127.0.0.1/jwks.json",
        "//evil.example/",
        "http://localhost/x",
    ):
        issuer.headers["Location"] = other
        with pytest.raises(FetchFailed, match="another host"):
            await get(f"{issuer.url}/jwks.json")
    issuer.headers["Location"] = "/jwks.json"
    with pytest.raises(FetchFailed, match="more than 3"):
        await get(f"{issuer.url}/jwks.json")
    assert len(issuer.requests) == 9


async def test_names_that_do_not_resolve_and_ports_that_nobody_listens_on() -> None:
    with pytest.raises(FetchFailed, match="does not resolve"):
        await get("https://no-such-host.invalid/")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(FetchFailed, match="could not be fetched"):
            await get(f"http://127.0.0.1:{unused.getsockname()[1]}/")


async def test_a_certificate_of_nobody_known_is_refused(tmp_path: Path) -> None:
    from tests.tls import certificate

    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        for _ in range(2):
            plain, _address = listener.accept()
            plain.settimeout(5)
            try:
                with context.wrap_socket(plain, server_side=True) as peer:
                    peer.recv(4096)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            except OSError:
                plain.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"https://localhost:{listener.getsockname()[1]}/"
    with pytest.raises(FetchFailed, match="certificate is not accepted"):
        await get(url)
    assert await get(url, ca_file=str(cert)) == b"ok"
    with pytest.raises(FetchFailed, match="can't be read"):
        await get(url, ca_file=str(tmp_path / "none"))
    thread.join(timeout=10)
    listener.close()
