"""A verifier without keys names the address and the cause; one behaviour for threads and for asyncio."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from tests.bearer_cases import AUDIENCE, ISSUER, Keys
from tests.http_servers import Handler, running
from tests.issuer import Issuer, serving
from tests.polling import wait_until
from tests.ports import own_port
from tests.tls import certificate

from tokenmint_client import AsyncVerifier, KeySetUnavailable, Verifier

Verify = Callable[[str, str], None]


def with_threads(url: str, token: str) -> None:
    verifier = Verifier(ISSUER, AUDIENCE, jwks_url=url)
    try:
        verifier.verify(token)
    finally:
        verifier.close()


def with_asyncio(url: str, token: str) -> None:
    async def verify() -> None:
        verifier = AsyncVerifier(ISSUER, AUDIENCE, jwks_url=url)
        try:
            await verifier.verify(token)
        finally:
            await verifier.close()

    asyncio.run(verify())


@pytest.fixture(params=[with_threads, with_asyncio], ids=["threads", "asyncio"])
def verify(request: pytest.FixtureRequest) -> Verify:
    found: Verify = request.param
    return found


def serving_tls(stack: ExitStack, directory: Path) -> str:
    cert_file, key_file = certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)
    return f"https://127.0.0.1:{stack.enter_context(running(Handler, tls=context))}/jwks.json"


def serving_plain(stack: ExitStack, status: int, body: bytes, **headers: str) -> str:
    class Answering(Handler):
        def do_GET(self) -> None:
            self.give(status, body, headers)

    return f"http://127.0.0.1:{stack.enter_context(running(Answering))}/jwks.json"


CAUSES: Final[dict[str, tuple[Callable[[ExitStack, Path], str], str]]] = {
    "DNS": (lambda _, __: "https://tokens.invalid/jwks.json", "the host name can't be resolved (DNS)"),  # RFC 6761
    "refused": (lambda _, __: f"http://127.0.0.1:{own_port()}/jwks.json", "the connection was refused"),
    "TLS": (serving_tls, "TLS failed: self-signed certificate"),
    "no TLS": (
        lambda stack, _: serving_plain(stack, 200, b"").replace("http:", "https:"),
        "TLS failed: ",
    ),
    "status": (lambda stack, _: serving_plain(stack, 404, b"no"), "the answer has status 404"),
    "redirect": (
        lambda stack, _: serving_plain(stack, 302, b"", Location="https://a.example"),
        "the answer has status 302",
    ),
    "not JSON": (lambda stack, _: serving_plain(stack, 200, b"<html>"), "the answer is not JSON"),
    "no set": (lambda stack, _: serving_plain(stack, 200, b"[]"), "the answer is not a JSON Web Key Set (RFC 7517)"),
    "no key": (lambda stack, _: serving_plain(stack, 200, b'{"keys": []}'), "the answer holds no usable key"),
    "too long": (lambda stack, _: serving_plain(stack, 200, b" " * (1 << 20) + b"{}"), "longer than 1048576 bytes"),
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("kind", CAUSES)
def test_the_error_names_the_address_and_the_cause(kind: str, verify: Verify, stack: ExitStack, tmp_path: Path) -> None:
    make, cause = CAUSES[kind]
    url = make(stack, tmp_path)
    token = Keys(Issuer()).token("good")
    with pytest.raises(KeySetUnavailable) as caught:
        verify(url, token)
    assert caught.value.message.startswith(f"the key set at {url} can't be fetched: ")
    assert cause in caught.value.message
    assert token not in caught.value.message


def test_the_address_is_named_without_the_secrets_in_it(verify: Verify, stack: ExitStack) -> None:
    url = serving_plain(stack, 404, b"").replace("http://", "http://user:hunter2@") + "?key=hunter2#hunter2"
    with pytest.raises(KeySetUnavailable) as caught:
        verify(url, Keys(Issuer()).token("good"))
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_later_failure_is_the_one_that_is_named() -> None:
    with serving(Issuer()) as issuer:
        keys = Keys(issuer)
        verifier = Verifier(ISSUER, AUDIENCE, jwks_url=keys.url, clock=keys.clock)
        issuer.status = 500
        with pytest.raises(KeySetUnavailable, match="status 500"):
            verifier.verify(keys.token("good"))
        issuer.status, keys.later = 503, 11
        with pytest.raises(KeySetUnavailable, match="status 503"):
            verifier.verify(keys.token("good"))
        issuer.status, keys.later = 200, 22
        assert verifier.verify(keys.token("good")).subject == "ada"
        verifier.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://tokens.example/jwks.json",
        "http://127.0.0.1.example/",
        "http://10.0.0.1/",
        "ftp://a.example/",
        "jwks",
        "//",
    ],
)
@pytest.mark.parametrize("kind", [Verifier, AsyncVerifier])
def test_no_key_set_is_fetched_without_tls_beyond_loopback(url: str, kind: type[Verifier | AsyncVerifier]) -> None:
    with pytest.raises(ValueError, match="key set"):
        kind(ISSUER, AUDIENCE, jwks_url=url)
    with pytest.raises(ValueError, match="key set"):
        kind("http://tokens.example", AUDIENCE)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    Verifier(f"http://{host}:1", AUDIENCE)


def test_threads_that_waited_for_a_fetch_that_failed_do_not_fetch_again() -> None:
    threads, asked = 5, list[float]()

    def clock() -> float:
        asked.append(time.time() + len(asked) / 1e6)  # never the same time twice
        return asked[-1]

    with serving(Issuer(status=503, gate=threading.Event())) as issuer, ThreadPoolExecutor(threads) as pool:
        keys = Keys(issuer)
        verifier = Verifier(ISSUER, AUDIENCE, jwks_url=keys.url, clock=clock)
        calls = [pool.submit(verifier.verify, keys.token("good")) for _ in range(threads)]
        wait_until(lambda: len(asked) > threads and issuer.requests)  # all have asked for the time; one fetches
        assert issuer.gate is not None
        issuer.gate.set()
        assert {type(call.exception()) for call in calls} == {KeySetUnavailable}
        assert len(issuer.requests) == 1
        verifier.close()
