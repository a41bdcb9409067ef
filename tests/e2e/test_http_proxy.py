"""A provider behind an HTTP proxy, with the service as a process of its own: the name resolves only at the proxy."""

import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import pytest
from tests.forked import ForkedService
from tests.issuer import Issuer, rsa_key
from tests.process import Service, configure
from tests.providers import Documents, ending_tls, provider, proxy
from tests.tls import authority

from tokenmint.v1.token_exchange_service_pb2 import ExchangeTokenRequest
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.processes

HOST = "login.partner.example"
AUDIENCE = "https://orders.example"
TABLE = """
[providers.{name}]
issuer = "https://{name}.example"
audiences = ["app"]
jwks_url = "https://{host}/{name}"
ca_file = "ca.crt"
{more}
"""


def issuer(name: str, index: int) -> Issuer:
    return Issuer(url=f"https://{name}.example", key=rsa_key(index), key_id=name)


ONE, TWO = issuer("one", 0), issuer("two", 1)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    ca = authority()
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    return ending_tls(tmp_path, ca, HOST, "localhost")


@pytest.fixture
def idp(tls: ssl.SSLContext) -> Iterator[Documents]:
    with provider(tls, one=ONE.jwks(), two=TWO.jwks()) as documents:
        yield documents


def configured(directory: Path, extra: str, one: str = "", two: str = "", host: str = HOST) -> None:
    tables = "".join(
        TABLE.format(name=name, host=at, more=more) for name, at, more in (("one", HOST, one), ("two", host, two))
    )
    config = configure(directory, "https://idp.example", extra + tables)
    config.write_text(config.read_text().replace('providers = ["idp"]', 'providers = ["one", "two"]'))


def outcome(service: Service, source: Issuer) -> str:
    """Return "OK", or the code of a refused exchange."""
    with grpc.insecure_channel(service.listen["grpc"]) as channel:
        request = ExchangeTokenRequest(subject_token=source.token(time.time()), audience=AUDIENCE)
        try:
            TokenExchangeServiceStub(channel).ExchangeToken(request, **service.auth())
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def connects(seen: Sequence[tuple[str, object]]) -> list[str]:
    return [line for line, _ in seen]


def test_keys_come_through_the_configured_proxy_which_sees_names_alone(tmp_path: Path, idp: Documents) -> None:
    """One provider has a proxy of its own, the other the one of all."""
    with proxy({f"{HOST}:443": idp.port}) as shared, proxy({f"{HOST}:443": idp.port}) as own:
        configured(
            tmp_path,
            f'[proxy]\nurl = "http://127.0.0.1:{shared.port}"\n',
            two=f'proxy = "http://127.0.0.1:{own.port}"',
        )
        with ForkedService(tmp_path) as service:
            assert [outcome(service, ONE), outcome(service, TWO)] == ["OK", "OK"]
    for seen in (shared, own):
        assert set(connects(seen.asked)) <= {f"CONNECT {HOST}:443 HTTP/1.1", "CONNECT idp.example:443 HTTP/1.1"}
        assert f"CONNECT {HOST}:443 HTTP/1.1" in connects(seen.asked)
        assert len(seen.passed) > 1000
        for plain in (b"keys", b"HTTP/1.1 200 OK", b"/one", b"/two", ONE.jwks()[:40]):
            assert plain not in seen.passed
    assert sorted(path for path, _ in idp.asked) == ["/one", "/two"]


def test_the_environments_proxy_counts_only_where_a_setting_says_so(tmp_path: Path, idp: Documents) -> None:
    with proxy({f"{HOST}:443": idp.port}) as seen:
        place = f"http://127.0.0.1:{seen.port}"
        environment = {"HTTPS_PROXY": place, "https_proxy": place, "ALL_PROXY": place}
        configured(tmp_path, "")
        with ForkedService(tmp_path, **environment) as service:
            assert outcome(service, ONE) == "UNAVAILABLE"
        assert not seen.asked

        configured(tmp_path, "[proxy]\nenvironment = true\n", two='proxy = "none"')
        with ForkedService(tmp_path, **environment) as service:
            assert [outcome(service, ONE), outcome(service, TWO)] == ["OK", "UNAVAILABLE"]
        assert f"CONNECT {HOST}:443 HTTP/1.1" in connects(seen.asked)
        assert [path for path, _ in idp.asked] == ["/one"]


def test_hosts_of_no_proxy_and_loopback_are_reached_directly(tmp_path: Path, idp: Documents) -> None:
    with proxy({f"{HOST}:443": idp.port, f"localhost:{idp.port}": idp.port}) as seen:
        configured(
            tmp_path,
            f'[proxy]\nurl = "http://127.0.0.1:{seen.port}"\nno_proxy = ["{HOST}"]\n',
            two="allow_private = true",
            host=f"localhost:{idp.port}",
        )
        with ForkedService(tmp_path) as service:
            # The first name resolves nowhere, and loopback never goes through a proxy.
            assert [outcome(service, ONE), outcome(service, TWO)] == ["UNAVAILABLE", "OK"]
        assert not [line for line in connects(seen.asked) if "idp.example" not in line]
