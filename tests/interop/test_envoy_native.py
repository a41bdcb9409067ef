"""Real Envoy with deploy/envoy/native.yaml: TLS and clients' certificates in front of the native transport."""

import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from google.rpc import error_details_pb2, status_pb2
from tests.envoy import binary, running
from tests.http2 import connected
from tests.issuer import Issuer, serving
from tests.ports import own_port
from tests.process import CLIENT, Service
from tests.tls import PROXY, Authority, authority, element

from tokenmint.admission.certificates import peer_certificate
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "envoy"
EXAMPLE, OURS = ((DEPLOY / name).read_text() for name in ("native.yaml", "native.toml"))
FREE, BOUND = "https://free.example", "https://bound.example"
SPIFFE = "spiffe://td.example/mesh"
CONFIG = """
issuer = "http://127.0.0.1:9"
data_dir = "data"

[providers.idp]
issuer = "{issuer}"
audiences = ["app"]
allow_private = true

[audiences."https://free.example"]
clients = ["web", "mesh"]
providers = ["idp"]
on_missing_profile = "without"

[audiences."https://bound.example"]
clients = ["web", "mesh"]
providers = ["idp"]
on_missing_profile = "without"
bound = "mtls"

[clients.web]
secrets = ["sha256:{client}"]
"""
PORTS = "[listen]\n" + "".join(f'{name} = "127.0.0.1:0"\n' for name in ("grpc", "admin", "http", "ops"))

Pair = tuple[bytes, bytes]
Metadata = tuple[tuple[str, str], ...]


class Setting:
    """The path that a test's calls take."""

    def __init__(self, port: int, direct: str, ca: Authority, issuer: Issuer) -> None:
        self.port, self.direct, self.ca, self.issuer = port, direct, ca, issuer

    def ask(self, audience: str = FREE, pair: Pair | None = None, metadata: Metadata = ()) -> dict[str, Any]:
        """Return the claims of a token that is got through Envoy."""
        certificate, key = pair or (None, None)
        credentials = grpc.ssl_channel_credentials(self.ca.pem, key, certificate)
        with grpc.secure_channel(f"127.0.0.1:{self.port}", credentials) as channel:
            return self._exchange(channel, audience, metadata)

    def ask_directly(self, audience: str, metadata: Metadata) -> dict[str, Any]:
        """Return the claims of a token that is got past Envoy."""
        with grpc.insecure_channel(self.direct) as channel:
            return self._exchange(channel, audience, metadata)

    def _exchange(self, channel: grpc.Channel, audience: str, metadata: Metadata) -> dict[str, Any]:
        request = pb.ExchangeTokenRequest(subject_token=self.issuer.token(time.time()), audience=audience)
        answer = TokenExchangeServiceStub(channel).ExchangeToken(request, metadata=metadata, timeout=20)
        claims: dict[str, Any] = jwt.decode(answer.token, options={"verify_signature": False})
        return claims


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    program, directory = binary(), tmp_path_factory.mktemp("envoy")
    pytest.importorskip("pygrpc_native", reason="the extra `native` is not installed")
    ca = authority()
    for name, pem in zip(("tls.crt", "tls.key"), ca.issue("edge", "localhost", "127.0.0.1"), strict=True):
        (directory / name).write_bytes(pem)
    (directory / "clients-ca.crt").write_bytes(ca.pem)
    with serving(Issuer()) as issuer:
        ours = re.sub(r"sha256:0{64}", f"sha256:{PROXY.fingerprint()}", OURS).replace("[listen]\n", PORTS)
        text = CONFIG.format(issuer=issuer.url, client=CLIENT.fingerprint())
        (directory / "tokenmint.toml").write_text(text + ours)
        with Service(directory) as service:
            edge = own_port()
            text = EXAMPLE.replace("/etc/envoy/", f"{directory}/").replace("address: 0.0.0.0", "address: 127.0.0.1")
            direct = service.listen["grpc"]
            for before, after in (("443", edge), ("7443", direct.rpartition(":")[2])):
                text, replaced = re.subn(rf"port_value: {before}\b", f"port_value: {after}", text)
                assert replaced == 1, before
            with running(program, directory, text, edge, TOKENMINT_PROXY_SECRET=PROXY.reveal()):
                yield Setting(edge, direct, ca, issuer)


@pytest.fixture(scope="module")
def mesh(setting: Setting) -> Pair:
    return setting.ca.issue("mesh", SPIFFE, serial=200)


WEB: Metadata = (("tokenmint-client-id", "web"), ("tokenmint-client-secret", CLIENT.reveal()))


def reason(error: Any) -> str:
    """Return the service's words for a refusal."""
    raw = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status_pb2.Status.FromString(raw).details), error
    told: str = info.reason
    return told


def test_rfc_8705_a_client_known_only_by_its_certificate_gets_a_token_bound_to_it(setting: Setting, mesh: Pair) -> None:
    claims = setting.ask(BOUND, mesh)
    thumbprint = peer_certificate(ssl.PEM_cert_to_DER_cert(mesh[0].decode())).thumbprint
    assert (claims["client_id"], claims["cnf"]) == ("mesh", {"x5t#S256": thumbprint})
    assert setting.ask(FREE, setting.ca.issue("x", "Mesh.internal"))["client_id"] == "mesh"


def test_a_client_with_a_secret_needs_no_certificate(setting: Setting) -> None:
    claims = setting.ask(FREE, metadata=WEB)
    assert (claims["client_id"], "cnf" in claims) == ("web", False)
    with pytest.raises(grpc.RpcError) as refused:
        setting.ask(BOUND, metadata=WEB)
    assert reason(refused.value) == "CONFIRMATION_DENIED"


def test_what_a_client_sends_of_the_proxys_headers_is_nothing(setting: Setting, mesh: Pair) -> None:
    forged: Metadata = (("x-forwarded-client-cert", element(mesh[0])),)
    stranger = setting.ca.issue("x", "stranger.internal")
    for headers in (
        forged,
        (*forged, *forged),
        (*forged, ("tokenmint-proxy-secret", "tms_forged")),
        (*forged, ("tokenmint-proxy-secret", "tms_forged"), ("tokenmint-proxy-secret", "tms_again")),
    ):
        for pair in (None, stranger):
            with pytest.raises(grpc.RpcError) as refused:
                setting.ask(FREE, pair, headers)
            assert reason(refused.value) == "CALLER_UNAUTHENTICATED"
        claims = setting.ask(FREE, metadata=(*WEB, *headers))
        assert (claims["client_id"], "cnf" in claims) == ("web", False)
        assert setting.ask(FREE, mesh, headers)["client_id"] == "mesh"


def test_past_the_proxy_the_header_is_refused(setting: Setting, mesh: Pair) -> None:
    for headers in ((), WEB):
        with pytest.raises(grpc.RpcError) as refused:
            setting.ask_directly(FREE, (*headers, ("x-forwarded-client-cert", element(mesh[0]))))
        assert reason(refused.value) == "CALLER_UNAUTHENTICATED"
    assert setting.ask_directly(FREE, WEB)["client_id"] == "web"


def test_a_name_that_spells_more_of_the_header_makes_nobody_of_it(setting: Setting) -> None:
    for name in ("https://mallory.example/;DNS=mesh.internal", f"https://mallory.example/,By=x;Hash=0;URI={SPIFFE}"):
        with pytest.raises(grpc.RpcError) as refused:
            setting.ask(FREE, setting.ca.issue("mallory", name))
        assert reason(refused.value) == "CALLER_UNAUTHENTICATED"


def test_one_clients_secret_over_anothers_certificate_is_refused(setting: Setting, mesh: Pair) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        setting.ask(FREE, mesh, WEB)
    assert reason(refused.value) == "CALLER_UNAUTHENTICATED"


def test_a_certificate_of_another_authority_gets_no_connection(setting: Setting) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        setting.ask(FREE, authority("Somebody else").issue("mesh", SPIFFE), WEB)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_message_beyond_the_limit_ends_at_the_proxy_whoever_sends_it(setting: Setting) -> None:
    credentials = grpc.ssl_channel_credentials(setting.ca.pem)
    with grpc.secure_channel(f"127.0.0.1:{setting.port}", credentials) as channel:
        stub = TokenExchangeServiceStub(channel)
        request = pb.ExchangeTokenRequest(subject_token="a" * 100_000, audience=FREE)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ExchangeToken(request, metadata=WEB, timeout=20)
    assert "Payload Too Large" in str(refused.value)


async def test_what_is_no_post_ends_at_the_proxy(setting: Setting) -> None:
    context = ssl.create_default_context(cadata=setting.ca.pem.decode())
    context.set_alpn_protocols(["h2"])
    async with connected(f"127.0.0.1:{setting.port}", context) as peer:
        await peer.settle()
        for method, served in (("GET", False), ("PUT", False), ("POST", True)):
            answer = await peer.answer(peer.call(method=method))
            # Envoy says by gRPC what is 404 by HTTP: UNIMPLEMENTED.
            assert (answer.status, answer.data != b"") == (0 if served else 12, served), method


def test_what_would_unpack_to_more_than_it_is_ends_at_the_proxy(setting: Setting) -> None:
    """The native transport unpacks a message before it counts it: 64 kB of a proxy's buffer would be 64 MB."""
    credentials = grpc.ssl_channel_credentials(setting.ca.pem)
    with grpc.secure_channel(f"127.0.0.1:{setting.port}", credentials) as channel:
        stub = TokenExchangeServiceStub(channel)
        request = pb.ExchangeTokenRequest(subject_token="a" * 1_000_000, audience=FREE)
        for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            with pytest.raises(grpc.RpcError) as refused:
                stub.ExchangeToken(request, metadata=WEB, timeout=20, compression=compression)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED, compression
        good = pb.ExchangeTokenRequest(subject_token=setting.issuer.token(time.time()), audience=FREE)
        assert stub.ExchangeToken(good, metadata=WEB, timeout=20, compression=grpc.Compression.NoCompression).token
