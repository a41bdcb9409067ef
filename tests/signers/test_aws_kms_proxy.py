"""AWS's SDK: its requests take the proxy of the configuration, and never one of the environment."""

from collections.abc import Iterator

import pytest
from tests.fakes import FakeEntropy
from tests.http_servers import Handler, running
from tests.providers import ProxySeen, proxy
from tests.signers.fleet import lane_is_missing

from tokenmint.base.errors import SignerUnavailable
from tokenmint.base.http_url import HttpUrl
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.configured import key_sources
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
