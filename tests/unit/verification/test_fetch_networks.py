"""Fetches as networks have them: authenticated, through a proxy, by several addresses; real HTTPS on loopback."""

import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeClock
from tests.http_servers import Handler
from tests.issuer import Issuer
from tests.ports import own_port
from tests.providers import NAME, Documents, discovery, ending_tls, provider, proxy
from tests.tls import Authority, authority

from tokenmint.base.errors import KeySetUnavailable
from tokenmint.base.http_url import HttpUrl
from tokenmint.model.proxies import Proxy
from tokenmint.model.secret import Secret
from tokenmint.verification.dialling import LOOK_UPS
from tokenmint.verification.fetch import USER_AGENT, HttpFetch
from tokenmint.verification.key_document import discover
from tokenmint.verification.key_source import AnswerUnusable, FetchFailed, KeySource
from tokenmint.verification.keyset import KeySets

pytestmark = pytest.mark.slow

TOKEN = "canary-of-a-token"


@pytest.fixture
def idp(tls: ssl.SSLContext) -> Iterator[Documents]:
    # Its port is free at the other addresses of loopback too, which no outgoing connection takes.
    with provider(tls, port=own_port(), jwks=Issuer().jwks()) as documents:
        yield documents


@pytest.fixture
def source(tmp_path: Path, idp: Documents) -> KeySource:
    """A provider's keys behind TLS of an authority of its own, on loopback."""
    return KeySource("jwks", url=idp.url("/jwks"), ca_file=str(tmp_path / "ca.crt"), allow_private=True, timeout=20.0)


async def get(source: KeySource, url: str = "", fetch: HttpFetch | None = None) -> bytes:
    result = await (fetch or HttpFetch())(source, url or source.url, etag=None)
    assert result.status == 200, result.status
    return result.body


# --- authentication


async def test_a_bearer_token_is_sent_as_it_is_in_the_file_at_each_fetch(
    tmp_path: Path, idp: Documents, source: KeySource
) -> None:
    idp.judge = lambda request: 200 if request.headers.get("authorization") == f"Bearer {TOKEN}-2" else 403
    (tmp_path / "token").write_text(f"{TOKEN}-1\n")
    source, fetch = replace(source, bearer_token_file=tmp_path / "token"), HttpFetch()
    assert (await fetch(source, source.url, etag=None)).status == 403
    (tmp_path / "token").write_text(f"{TOKEN}-2\n")
    assert await get(source, fetch=fetch)
    (tmp_path / "token").unlink()
    assert await get(source, fetch=fetch)  # the last good one
    (tmp_path / "token").write_text(f"{TOKEN}\r\nX-Injected: 1")
    assert await get(source, fetch=fetch)
    assert idp.sent("authorization") == [f"Bearer {TOKEN}-1", *[f"Bearer {TOKEN}-2"] * 3]
    assert not any(idp.sent("x-injected"))


async def test_a_token_and_headers_go_to_the_configured_origin_alone(
    tmp_path: Path, idp: Documents, source: KeySource, tls: ssl.SSLContext
) -> None:
    """Not to a jwks_uri elsewhere, another port included, and not along a redirection."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "key").write_text("canary-of-a-key")
    with provider(tls, keys=b"{}") as elsewhere:
        idp.served["/doc"] = discovery("i", elsewhere.url("/keys"))
        source = replace(
            source,
            kind="discovery",
            url=idp.url("/doc"),
            issuer="i",
            bearer_token_file=tmp_path / "token",
            headers=(("User-Agent", "shop/1"), ("X-Tenant", "7")),
            header_files=(("Ocp-Apim-Subscription-Key", tmp_path / "key"),),
        )
        fetch = HttpFetch()
        assert await get(source, await discover(fetch, source), fetch) == b"{}"
        assert (idp.sent("authorization"), idp.sent("x-tenant")) == ([f"Bearer {TOKEN}"], ["7"])
        assert idp.sent("ocp-apim-subscription-key") == ["canary-of-a-key"]
        assert idp.sent("user-agent") == elsewhere.sent("user-agent") == ["shop/1"]
        for name in ("authorization", "x-tenant", "ocp-apim-subscription-key"):
            assert elsewhere.sent(name) == [None]
        idp.headers["Location"] = elsewhere.url("/keys")
        idp.judge = lambda _: 302
        with pytest.raises(AnswerUnusable, match="another host") as refused:
            await get(source, fetch=fetch)
        assert len(elsewhere.asked) == 1
        assert "canary" not in str(refused.value)


async def test_a_server_that_is_picky_about_what_it_is_asked(idp: Documents, source: KeySource) -> None:
    """A web application firewall refuses libraries; a Kubernetes API server types that its keys are not of (406)."""

    def judge(request: Handler) -> int:
        accepted = {part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")}
        if not accepted & {"application/jwk-set+json", "*/*"}:
            return 406
        return 403 if "python" in request.headers.get("user-agent", "python").lower() else 200

    idp.judge = judge
    assert await get(source)
    assert idp.sent("user-agent") == [USER_AGENT]
    assert USER_AGENT.startswith("tokenmint/")


@pytest.mark.parametrize("content", [None, "", "two\nlines", "caf\u00e9", "x" * 20_000])
async def test_a_file_that_was_never_of_use_is_a_failed_fetch_that_shows_nothing_of_it(
    tmp_path: Path, idp: Documents, source: KeySource, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(FetchFailed, match="bearer_token_file: ") as failed:
        await get(replace(source, bearer_token_file=tmp_path / "token"))
    assert not idp.asked
    assert len(str(failed.value)) < 1024


# --- renewed authorities


async def test_renewed_authorities_are_used_by_the_next_fetch_and_withdrawn_ones_by_none(
    tmp_path: Path, ca: Authority, source: KeySource
) -> None:
    fetch, other = HttpFetch(), authority("Other")
    (tmp_path / "ca.crt").write_bytes(other.pem)
    with pytest.raises(FetchFailed, match=r"certificate is not accepted.*name that authority in ca_file"):
        await get(source, fetch=fetch)
    (tmp_path / "ca.crt").write_bytes(other.pem + ca.pem)
    assert await get(source, fetch=fetch)
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nhalf")
    assert await get(source, fetch=fetch)
    (problem,) = [files.problem for files in fetch.files.of([source])]
    assert "holds no CA certificates" in problem
    (tmp_path / "ca.crt").write_bytes(other.pem)
    with pytest.raises(FetchFailed, match="certificate is not accepted"):
        await get(source, fetch=fetch)


async def test_a_disk_that_hangs_keeps_no_fetch_waiting_that_has_what_it_needs(
    source: KeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, mended = HttpFetch(), threading.Event()
    assert await get(source, fetch=fetch)
    read = fetch.files.read

    def hanging(which: KeySource) -> None:
        mended.wait(20)
        read(which)

    monkeypatch.setattr(fetch.files, "read", hanging)
    try:
        for _ in range(LOOK_UPS + 1):  # as many readings as may hang, and one more
            assert await get(replace(source, timeout=4.0), fetch=fetch)
        never_read = replace(source, ca_file="/hangs/ca.crt", timeout=0.2)
        sets = KeySets({"idp": never_read}, fetch=fetch, clock=FakeClock())
        with pytest.raises(KeySetUnavailable, match="no answer within"):
            await sets.refresh("idp")
    finally:
        mended.set()


# --- addresses


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda _host, port, **_: [
            (family, 1, 6, "", (address, port)) for family, address in zip(families, addresses, strict=True)
        ],
    )


@pytest.mark.parametrize(
    "addresses",
    [("::1", "127.0.0.1"), ("127.0.0.9", "127.0.0.8", "127.0.0.1"), ("127.0.0.1", "127.0.0.9"), ("127.0.0.9",) * 3],
    ids=["the second", "the third", "the first", "none"],
)
async def test_all_addresses_of_a_name_are_tried_in_turn(
    idp: Documents, source: KeySource, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    resolving(monkeypatch, *addresses)
    if "127.0.0.1" in addresses:
        assert await get(source) == Issuer().jwks()
        assert idp.sent("host") == [f"localhost:{idp.port}"]
    else:
        with pytest.raises(FetchFailed, match=r"could not be fetched \(ConnectError\)"):
            await get(source)


async def test_an_address_with_the_certificate_of_another_is_passed_over(
    tmp_path: Path, idp: Documents, source: KeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be one that the provider has given back."""
    stranger = ending_tls(tmp_path, authority("Stranger"))
    with provider(stranger, host="127.0.0.2", port=idp.port, jwks=b"{}") as other:
        resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
        assert await get(source) == Issuer().jwks()
        resolving(monkeypatch, "127.0.0.2", "127.0.0.3")
        with pytest.raises(FetchFailed, match="at any of its 2 addresses"):
            await get(source)
        assert not other.asked


async def test_an_address_that_never_answers_leaves_the_others_their_time(
    idp: Documents, source: KeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = socket.create_server(("127.0.0.2", idp.port))  # accepts, and says nothing: the handshake hangs
    resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
    with silent:
        assert await get(replace(source, timeout=8.0)) == Issuer().jwks()


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1"])
async def test_each_address_is_checked_before_the_first_is_dialled(
    idp: Documents, source: KeySource, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    for addresses in (("8.8.8.8", address), (address, "8.8.8.8")):
        resolving(monkeypatch, *addresses)
        with pytest.raises(AnswerUnusable, match="not public"):
            await get(replace(source, allow_private=False))
    assert not idp.asked


# --- proxies


def through(source: KeySource, port: int, **more: object) -> KeySource:
    url = HttpUrl.parse(f"http://127.0.0.1:{port}")
    made = replace(Proxy(url), **more)  # type: ignore[arg-type]  # by name
    return replace(source, url=f"https://{NAME}/jwks", allow_private=False, proxy=made)


async def test_https_goes_through_a_tunnel_and_the_proxy_sees_names_alone(
    tmp_path: Path, idp: Documents, source: KeySource
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    source = replace(source, bearer_token_file=tmp_path / "token", headers=(("X-Tenant", "canary-of-a-header"),))
    with proxy({f"{NAME}:443": idp.port}) as seen:
        assert await get(through(source, seen.port)) == Issuer().jwks()  # the name resolves nowhere
    ((line, headers),) = seen.asked
    assert line == f"CONNECT {NAME}:443 HTTP/1.1"
    assert headers.keys() <= {"host", "accept", "user-agent"}
    assert (idp.sent("authorization"), idp.sent("host")) == ([f"Bearer {TOKEN}"], [NAME])
    assert b"canary" not in seen.passed
    assert len(seen.passed) > 1000


async def test_a_proxys_credentials_are_for_the_proxy_and_renewed(
    tmp_path: Path, idp: Documents, source: KeySource
) -> None:
    (tmp_path / "pw").write_text("canary-1")
    fetch = HttpFetch()
    with proxy({f"{NAME}:443": idp.port}, login="svc:canary-2") as seen:
        source = through(source, seen.port, username="svc", password_file=tmp_path / "pw")
        with pytest.raises(FetchFailed, match=r"407: set proxy\.username and proxy\.password_file") as refused:
            await get(source, fetch=fetch)
        assert "canary" not in str(refused.value)
        assert f"127.0.0.1:{seen.port}" in str(refused.value)
        (tmp_path / "pw").write_text("canary-2\n")
        assert await get(source, fetch=fetch)
        given = replace(source, proxy=replace(source.proxy, password=Secret("canary-2"), password_file=None))  # type: ignore[type-var]  # it has one
        assert await get(given)
    assert idp.sent("proxy-authorization") == [None, None]


async def test_tls_to_the_proxy_is_verified_by_its_own_authorities(
    tmp_path: Path, idp: Documents, source: KeySource
) -> None:
    own = authority("Proxy")
    (tmp_path / "proxy.crt").write_bytes(own.pem)
    tls = ending_tls(tmp_path, own)
    with proxy({f"{NAME}:443": idp.port}, login="svc:canary", tls=tls) as seen:
        url = HttpUrl.parse(f"https://localhost:{seen.port}")
        source = through(source, seen.port, url=url, username="svc", password=Secret("canary"))
        assert source.proxy is not None
        with pytest.raises(FetchFailed, match="certificate is not accepted"):
            await get(source)
        assert not seen.asked
        source = replace(source, proxy=replace(source.proxy, ca_file=str(tmp_path / "proxy.crt")))
        fetch = HttpFetch()
        assert await get(source, fetch=fetch)
        (tmp_path / "proxy.crt").write_bytes(own.pem + authority("Next").pem)
        assert await get(source, fetch=fetch)
        (tmp_path / "proxy.crt").write_bytes(authority("Next").pem)
        with pytest.raises(FetchFailed, match="certificate is not accepted"):
            await get(source, fetch=fetch)
        assert len(seen.asked) == 2


async def test_a_certificate_that_is_not_the_providers_ends_the_tunnel(
    tmp_path: Path, idp: Documents, source: KeySource
) -> None:
    with (
        provider(ending_tls(tmp_path, authority("Stranger"), NAME), jwks=b"{}") as stranger,
        proxy({f"{NAME}:443": stranger.port}) as seen,
    ):
        (tmp_path / "token").write_text(TOKEN)
        with pytest.raises(FetchFailed, match="certificate is not accepted"):
            await get(replace(through(source, seen.port), bearer_token_file=tmp_path / "token"))
        assert not stranger.asked
        assert TOKEN.encode() not in seen.passed


async def test_what_a_proxy_is_never_asked_for(idp: Documents, source: KeySource) -> None:
    with proxy({}) as seen:
        source = through(source, seen.port)
        for url in ("https://10.0.0.1/jwks", "https://169.254.169.254/jwks", "https://[fd00::1]/jwks"):
            with pytest.raises(AnswerUnusable, match="not public"):
                await get(source, url)
        with pytest.raises(AnswerUnusable, match="never sent through a proxy"):
            await get(source, "http://idp.example/jwks")
        with pytest.raises(AnswerUnusable, match="not public"):
            await get(source, idp.url("/jwks"))  # loopback is reached directly, and judged as ever
        assert await get(replace(source, allow_private=True), idp.url("/jwks"))
        assert not seen.asked
        with pytest.raises(FetchFailed, match="the proxy answered 502"):
            await get(source)


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("*", "https://idp.example/", True),
        ("idp.example", "https://idp.example/", True),
        ("IDP.example.", "https://idp.example./", True),
        ("idp.example", "https://a.idp.example/", True),
        ("idp.example", "https://notidp.example/", False),
        ("idp.example", "https://idp.example.evil.example/", False),
        (".idp.example", "https://a.idp.example/", True),
        (".idp.example", "https://idp.example/", False),
        ("*.idp.example", "https://a.b.idp.example/", True),
        ("*.idp.example:8443", "https://a.idp.example:8443/", True),
        ("*.idp.example", "https://idp.example/", False),
        ("*.idp.example", "https://a.notidp.example/", False),
        ("*idp.example", "https://aidp.example/", False),
        ("*.", "https://idp.example/", False),
        ("idp.example:8443", "https://idp.example:8443/", True),
        ("idp.example:8443", "https://idp.example/", False),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.0/8", "https://idp.example/", False),
        ("192.0.2.7", "https://192.0.2.7/", True),
        ("fd00::/8", "https://[fd00::1]/", True),
        ("[fd00::1]", "https://[fd00::1]/", True),
        ("[FD00:0::1]:8443", "https://[fd00::1]:8443/", True),
        ("[fd00::1]:8443", "https://[fd00::1]/", False),
        ("[fd00::1]:8443", "https://[fd00::2]:8443/", False),
        ("[fd00::1]x", "https://[fd00::1]/", False),
        ("192.0.2.7:8443", "https://192.0.2.7:8443/", True),
        ("", "https://idp.example/", False),
        (".", "https://idp.example/", False),
        (" idp.example ", "https://idp.example/", True),
    ],
)
def test_what_no_proxy_means(entry: str, url: str, direct: bool) -> None:
    assert Proxy(HttpUrl.parse("http://proxy.example"), no_proxy=(entry,)).serves(HttpUrl.parse(url)) is not direct


def test_loopback_is_always_reached_directly() -> None:
    for url in ("https://localhost/", "https://127.0.0.1:8443/", "https://[::1]/", "https://x.localhost/"):
        assert not Proxy(HttpUrl.parse("http://proxy.example")).serves(HttpUrl.parse(url))


async def test_the_environment_names_no_proxy(
    idp: Documents, source: KeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy({}) as seen:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{seen.port}")
        assert await get(source)
        assert not seen.asked
