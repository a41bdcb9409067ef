"""AWS's SDK: its requests take the proxy of the configuration, and never one of the environment."""

import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes import FakeEntropy
from tests.http_servers import Handler, running
from tests.providers import ProxySeen, ending_tls, proxy
from tests.signers.fleet import lane_is_missing
from tests.tls import Authority, authority

from tokenmint.base.errors import SignerUnavailable
from tokenmint.base.http_url import HttpUrl
from tokenmint.config.load import load
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.configured import key_sources
from tokenmint.keys.signers.types import KeySource
from tokenmint.model.proxies import Proxy
from tokenmint.model.secret import Secret

HOST = "kms.eu-central-1.amazonaws.com"
ENDPOINT = "https://kms.invalid"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProxySeen]:
    """The proxy that all variables of the environment name."""
    try:
        import boto3  # noqa: F401
    except ImportError:
        lane_is_missing("boto3 is not installed: `make test-signers` installs it")
    for name in ("NO_PROXY", "no_proxy", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with proxy({}) as seen:
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{seen.port}")
        yield seen


async def ask(configured: Proxy | None, endpoint: str | None = None) -> None:
    arguments = {"region": "eu-central-1", "endpoint_url": endpoint, "proxy": configured}
    sources = key_sources(Sealer(Secret(b"k" * 32), FakeEntropy()), aws_kms=arguments)
    with pytest.raises(SignerUnavailable):
        await sources["aws-kms"].generate("ES256")


def at(seen: ProxySeen, *no_proxy: str) -> Proxy:
    url = HttpUrl.parse(f"http://127.0.0.1:{seen.port}")
    return Proxy(url, username="us er", password=Secret("p:a@ss"), no_proxy=no_proxy)


async def test_requests_to_kms_take_the_configured_proxy_with_its_login(environment: ProxySeen) -> None:
    with proxy({}) as seen:
        await ask(at(seen))
    assert {line for line, _ in seen.asked} <= {f"CONNECT {HOST}:443 HTTP/1.0", f"CONNECT {HOST}:443 HTTP/1.1"}
    assert {headers["proxy-authorization"] for _, headers in seen.asked} == {"Basic dXMgZXI6cDphQHNz"}
    assert not environment.asked


@pytest.mark.parametrize("configured", [False, True])
async def test_without_a_proxy_and_for_hosts_of_no_proxy_they_are_direct(
    environment: ProxySeen, configured: bool
) -> None:
    with proxy({}) as seen:
        await ask(at(seen, "kms.invalid") if configured else None, ENDPOINT)
    assert not seen.asked
    assert not environment.asked


async def test_the_machines_metadata_are_asked_directly(
    environment: ProxySeen, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Machine(Handler):
        def do_PUT(self) -> None:
            asked.append(self.path)
            self.give(404, b"")

        do_GET = do_PUT  # noqa: N815

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    with running(Machine) as port:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{port}/")
        await ask(None, ENDPOINT)
    assert asked
    assert not environment.asked


class Kms(Handler):
    """A service that makes no keys, but answers."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.give(400, b'{"__type": "LimitExceededException"}', {"Content-Type": "application/x-amz-json-1.1"})


@dataclass
class Outside:
    """KMS with a certificate of a public authority, and a proxy's own authorities."""

    directory: Path
    port: int
    public: Authority
    own: Authority

    def through(self, tls: ssl.SSLContext) -> AbstractContextManager[ProxySeen]:
        """Run a proxy with TLS that leads to KMS."""
        return proxy({f"{HOST}:443": self.port}, tls=tls)

    def tls(self, by: Authority, name: str) -> ssl.SSLContext:
        folder = self.directory / f"{id(by)}-{name}"
        folder.mkdir(exist_ok=True)
        return ending_tls(folder, by, name)

    def source(self, seen: ProxySeen, host: str = "localhost") -> tuple[KeySource, Proxy]:
        """Return the keys of KMS, and the proxy, as the configuration has them."""
        (self.directory / "tokenmint.toml").write_text(
            f'[proxy]\nurl = "https://{host}:{seen.port}"\nca_file = "proxy.crt"\n'
        )
        made = load(self.directory / "tokenmint.toml", {}).proxy
        assert made is not None
        arguments = {"region": "eu-central-1", "proxy": made}
        return key_sources(Sealer(Secret(b"k" * 32), FakeEntropy()), aws_kms=arguments)["aws-kms"], made


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    public, own = authority("Public"), authority("Own")
    (tmp_path / "public.crt").write_bytes(public.pem)
    (tmp_path / "proxy.crt").write_bytes(own.pem)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "public.crt"))
    with running(Kms, tls=ending_tls(tmp_path, public, HOST)) as port:
        yield Outside(tmp_path, port, public, own)


async def fails(source: KeySource) -> str:
    """Return the reason why no key is made."""
    with pytest.raises(SignerUnavailable) as caught:
        await source.generate("ES256")
    return caught.value.detail


REACHED = "AWS KMS: LimitExceededException"


async def test_tls_to_the_proxy_is_verified_by_its_ca_file_and_tls_to_kms_by_the_public_ones(outside: Outside) -> None:
    with outside.through(outside.tls(outside.own, "localhost")) as seen:
        source, _ = outside.source(seen)
        assert await fails(source) == REACHED
        assert b"POST / HTTP" not in seen.passed
    assert {line for line, _ in seen.asked} <= {f"CONNECT {HOST}:443 HTTP/1.0", f"CONNECT {HOST}:443 HTTP/1.1"}


@pytest.mark.parametrize(
    ("by", "name", "host"),
    [
        ("public", "localhost", "localhost"),
        ("own", "other.example", "localhost"),
        ("own", "other.example", "127.0.0.1"),
    ],
)
async def test_another_partys_proxy_is_told_nothing(outside: Outside, by: str, name: str, host: str) -> None:
    """A certificate of a public authority for the proxy's name is not accepted in place of its own."""
    with outside.through(outside.tls(getattr(outside, by), name)) as seen:
        source, _ = outside.source(seen, host)
        assert await fails(source) != REACHED
    assert not seen.asked


async def test_a_renewed_ca_file_of_the_proxy_is_followed(outside: Outside) -> None:
    renewed = authority("Renewed")
    with (
        outside.through(outside.tls(outside.own, "localhost")) as before,
        outside.through(outside.tls(renewed, "localhost")) as after,
    ):
        source, _ = outside.source(before)
        assert await fails(source) == REACHED
        source, configured = outside.source(after)
        assert await fails(source) != REACHED
        (outside.directory / "proxy.crt").write_bytes(renewed.pem)
        assert any(file.look() for file in configured.files())
        assert await fails(source) == REACHED
