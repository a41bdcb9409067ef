"""TLS on an HTTP listener: handshakes have an end, and what is accepted is what gRPC's listener accepts."""

import asyncio
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.listeners import Run, serving
from tests.sockets import Place, get, held, status, until_closed
from tests.tls import certificate

from tokenmint.admission.certificates import TLS_1_2_SUITES, CertificateFiles

pytestmark = pytest.mark.slow


def hello() -> bytes:
    """Return a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


SILENT = {"nothing": b"", "half a ClientHello": hello()[:100], "a ClientHello, and no more": hello()}


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateFiles(*map(str, certificate(tmp_path)))


def trusting(files: CertificateFiles) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=files.pem.certificate.decode())


@pytest.mark.parametrize("sent", SILENT)
def test_a_handshake_has_an_end(run: Run, files: CertificateFiles, sent: str) -> None:
    async def scenario() -> None:
        async with serving(files, request_time=0.3) as served, held(served.at, 1, SILENT[sent]) as opened:
            await until_closed(opened[0][0])
            await served.until_held(0)

    run(scenario())


@pytest.mark.parametrize("sent", SILENT)
def test_a_handshake_makes_room_for_somebody_who_ends_it(run: Run, files: CertificateFiles, sent: str) -> None:
    async def scenario() -> None:
        async with serving(files, connections=20) as served, held(served.at, 30, SILENT[sent]) as opened:
            assert await status(served.at, "/quick", trusting(files)) == 200
            for reader, _ in opened[:10]:
                await until_closed(reader)

    run(scenario())


def test_a_client_that_does_not_take_leave_has_an_end(run: Run, files: CertificateFiles) -> None:
    """RFC 8446 section 6.1: the closure alert is not waited for without an end."""

    async def scenario() -> None:
        async with serving(files, request_time=0.3) as served:
            plain = socket.create_connection(served.at)
            plain.setblocking(False)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = trusting(files).wrap_bio(incoming, outgoing, server_hostname="localhost")
            loop = asyncio.get_running_loop()
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await loop.sock_sendall(plain, outgoing.read())
                    incoming.write(await loop.sock_recv(plain, 65536))
            client.write(get("/quick"))
            await loop.sock_sendall(plain, outgoing.read())
            await served.until_held(1)
            await served.until_held(0)
            plain.close()

    run(scenario())


# --- what is accepted -----------------------------------------------------------------------------------------------


def pair(kind: str, directory: Path) -> tuple[bytes, bytes]:
    """Return a certificate with a key of a kind, and the key."""
    if kind == "ECDSA":
        crt, key = certificate(directory)
        return crt.read_bytes(), key.read_bytes()
    private = rsa.generate_private_key(65537, 2048)
    crt, _ = certificate(directory)
    made = x509.load_pem_x509_certificate(crt.read_bytes())
    built = (
        x509.CertificateBuilder(made.subject, made.subject, private.public_key(), 8, made.not_valid_before_utc,
                                made.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(private, hashes.SHA256())
    )  # fmt: skip
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return built.public_bytes(Encoding.PEM), pem


def anything() -> ssl.SSLContext:
    """A client that would speak every version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    return context


def spoken(at: Place, version: ssl.TLSVersion, suite: str | None = None) -> str | None:
    """Return the suite that a handshake of a version ends with; None: it fails."""
    context = anything()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the versions that nobody shall speak
        context.minimum_version = context.maximum_version = version
    if suite is not None:
        context.set_ciphers(f"{suite}:@SECLEVEL=0")
    try:
        with (
            socket.create_connection(at, timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as peer,
        ):
            chosen = peer.cipher()
            return chosen[0] if chosen else None
    except (ssl.SSLError, ConnectionError):
        return None


def accepted(at: Place) -> dict[str, list[str]]:
    """Return what a listener accepts, by version."""
    older = {str(suite["name"]) for suite in anything().get_ciphers() if suite["protocol"] != "TLSv1.3"}
    found = {"1.2": [suite for suite in sorted(older) if spoken(at, ssl.TLSVersion.TLSv1_2, suite)]}
    for name, version in (("1.0", ssl.TLSVersion.TLSv1), ("1.1", ssl.TLSVersion.TLSv1_1)):
        found[name] = [suite for suite in [spoken(at, version)] if suite]
    found["1.3"] = ["some"] if spoken(at, ssl.TLSVersion.TLSv1_3) else []
    return found


@pytest.fixture(params=["ECDSA", "RSA"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def keyed(tmp_path: Path, kind: str) -> CertificateFiles:
    (tmp_path / "made").mkdir()
    for name, content in zip(("server.crt", "server.key"), pair(kind, tmp_path / "made"), strict=True):
        (tmp_path / name).write_bytes(content)
    return CertificateFiles(str(tmp_path / "server.crt"), str(tmp_path / "server.key"))


@pytest.fixture
def over_grpc(keyed: CertificateFiles) -> Iterator[Place]:
    from concurrent.futures import ThreadPoolExecutor

    from tokenmint.rpc.server import _credentials

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", _credentials(keyed))
    server.start()
    yield "127.0.0.1", port
    server.stop(None).wait()


def test_rfc_9325_section_3_1_1_http_and_grpc_accept_the_same_and_nothing_older(
    run: Run, keyed: CertificateFiles, over_grpc: Place, kind: str
) -> None:
    suites = sorted(name for name in TLS_1_2_SUITES.split(":") if kind in name)
    assert len(suites) == 2
    assert all("GCM" in name and name.startswith("ECDHE-") for name in suites)
    expected = {"1.0": [], "1.1": [], "1.2": suites, "1.3": ["some"]}
    assert accepted(over_grpc) == expected

    async def scenario() -> None:
        async with serving(keyed) as served:
            assert await asyncio.to_thread(accepted, served.at) == expected

    run(scenario())
