"""gRPC's listeners with renewed certificates: a handshake uses what was read last, and reads no file itself."""

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from tests.sockets import Place
from tests.tls import Authority, authority

from tokenmint.admission.certificates import CertificateFiles
from tokenmint.rpc.server import _credentials

pytestmark = pytest.mark.slow
PATIENCE = 20.0  # seconds


@pytest.fixture
def ca() -> Authority:
    return authority()


@pytest.fixture
def files(tmp_path: Path, ca: Authority) -> CertificateFiles:
    write(tmp_path, ca, 1)
    return CertificateFiles(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))


def write(directory: Path, ca: Authority, serial: int) -> None:
    pair = ca.issue("service", "localhost", "127.0.0.1", serial=serial)
    for name, pem in zip(("tls.crt", "tls.key"), pair, strict=True):
        (directory / name).write_bytes(pem)


def serial(at: Place, ca: Authority) -> int:
    """Return the serial number of the certificate that a listener serves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca.pem.decode())
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(at, timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as peer,
    ):
        return x509.load_der_x509_certificate(peer.getpeercert(binary_form=True) or b"").serial_number


@pytest.fixture
def place(files: CertificateFiles) -> Iterator[Place]:
    serving = grpc.server(ThreadPoolExecutor(1))
    port = serving.add_secure_port("127.0.0.1:0", _credentials(files))
    serving.start()
    yield "127.0.0.1", port
    serving.stop(None).wait()


def test_a_handshake_serves_what_was_read_last_and_waits_for_no_disk(
    files: CertificateFiles, place: Place, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = threading.Event()
    try:
        assert serial(place, ca) == 1
        write(tmp_path, ca, 2)
        assert serial(place, ca) == 1
        assert files.files.look()
        assert serial(place, ca) == 2
        assert serial(place, ca) == 2
        monkeypatch.setattr(files.files, "_stamps", lambda: mended.wait(2 * PATIENCE))
        assert serial(place, ca) == 2
    finally:
        mended.set()
