"""The authorities of clients on the HTTP listener: followed while it runs, like its certificate."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest
from tests.rig import Rig, Serve
from tests.tls import Authority, authority

from tokenmint.admission.certificates import CertificateFiles
from tokenmint.base.errors import ConfigurationError

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ID = "urn:ietf:params:oauth:token-type:id_token"
SPIFFE = "spiffe://td.example/mesh"
EXTRA = """
[oauth]
enabled = true

[clients.mesh]
certificates = ["spiffe://td.example/mesh"]

[audiences."https://mesh.example"]
clients = ["mesh"]
providers = ["idp"]
on_missing_profile = "without"
"""


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority("The one before")


@pytest.fixture(scope="module")
def other() -> Authority:
    return authority("The one after")


def write(directory: Path, name: str, content: bytes) -> None:
    """Write as tools do: beside the old file, and then in its place."""
    (directory / f"{name}.new").write_bytes(content)
    (directory / f"{name}.new").replace(directory / name)


@pytest.fixture
async def rig(serve: Serve, tmp_path: Path, ca: Authority) -> AsyncIterator[Rig]:
    for name, pem in zip(("tls.crt", "tls.key"), ca.issue("service", "localhost", "127.0.0.1"), strict=True):
        (tmp_path / name).write_bytes(pem)
    (tmp_path / "server-ca.crt").write_bytes(ca.pem)
    (tmp_path / "clients.crt").write_bytes(ca.pem)
    tls = 'http_cert_file = "tls.crt"\nhttp_key_file = "tls.key"\nhttp_client_ca_file = "clients.crt"\n'
    async with serve(EXTRA, listen=tls) as service:
        yield service


def context(tmp_path: Path, pair: tuple[bytes, bytes] | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(tmp_path / "server-ca.crt"))
    if pair is not None:
        (tmp_path / "me.pem").write_bytes(b"".join(pair))
        made.load_cert_chain(tmp_path / "me.pem")
    return made


async def proved(rig: Rig, tmp_path: Path, pair: tuple[bytes, bytes], host: str) -> bool:
    """Whether the certificate gets a token. By address there is no server name in the handshake, by name there is."""
    _, _, port = rig.app.listen["http"].rpartition(":")
    form = {"grant_type": GRANT, "subject_token": rig.issuer.token(rig.clock.now()), "subject_token_type": ID,
            "audience": "https://mesh.example"}  # fmt: skip
    try:
        async with httpx2.AsyncClient(verify=context(tmp_path, pair), timeout=20) as http:
            answer = await http.post(f"https://{host}:{port}/oauth2/token", data=form)
    except httpx2.TransportError:
        return False
    assert answer.status_code == 200, answer.text
    return True


async def until(rig: Rig, tmp_path: Path, pair: tuple[bytes, bytes], *, accepted: bool) -> None:
    async with asyncio.timeout(30):
        for host in ("127.0.0.1", "localhost"):
            while await proved(rig, tmp_path, pair, host) is not accepted:
                await rig.let_pass(1)


async def test_the_authorities_of_clients_are_followed(
    rig: Rig, tmp_path: Path, ca: Authority, other: Authority
) -> None:
    before, after = (one.issue("mesh", SPIFFE) for one in (ca, other))
    await until(rig, tmp_path, before, accepted=True)
    await until(rig, tmp_path, after, accepted=False)
    write(tmp_path, "clients.crt", ca.pem + other.pem)  # both, while clients move
    await until(rig, tmp_path, after, accepted=True)
    await until(rig, tmp_path, before, accepted=True)
    write(tmp_path, "clients.crt", other.pem)
    await until(rig, tmp_path, before, accepted=False)
    await until(rig, tmp_path, after, accepted=True)
    for broken in (
        b"",
        b"half a certif",
        ca.pem[:-40],
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ):
        write(tmp_path, "clients.crt", broken)  # as while it is half written: the last good ones stay
        await rig.let_pass(2)
        for _ in range(5):
            await rig.let_pass(1)
            assert await proved(rig, tmp_path, after, "127.0.0.1")
        assert not await proved(rig, tmp_path, before, "localhost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_a_session_of_before_does_not_outlive_its_authority(
    rig: Rig, tmp_path: Path, ca: Authority, other: Authority, version: ssl.TLSVersion
) -> None:
    pair = ca.issue("mesh", SPIFFE)
    mine = context(tmp_path, pair)
    mine.maximum_version = version
    host, _, port = rig.app.listen["http"].rpartition(":")

    def ask(session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None, bool]:
        import socket

        form = urlencode({"grant_type": GRANT, "subject_token": rig.issuer.token(rig.clock.now()),
                          "subject_token_type": ID, "audience": "https://mesh.example"})  # fmt: skip
        request = (
            "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
            f"application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n{form}"
        )
        with (
            socket.create_connection((host, int(port)), timeout=20) as plain,
            mine.wrap_socket(plain, server_hostname="localhost", session=session) as peer,
        ):
            peer.sendall(request.encode())
            answer = b""
            while part := peer.recv(65536):
                answer += part
            return answer, peer.session, bool(peer.session_reused)

    answer, session, _ = await asyncio.to_thread(ask, None)
    assert answer.startswith(b"HTTP/1.1 200 ")
    write(tmp_path, "clients.crt", other.pem)
    await until(rig, tmp_path, other.issue("mesh", SPIFFE), accepted=True)
    try:
        answer, _, reused = await asyncio.to_thread(ask, session)
    except (ssl.SSLError, ConnectionError):
        return
    assert (answer, reused) == (b"", False)  # TLS 1.3 tells a client after its part of the handshake


def test_authorities_that_can_not_be_read_stop_the_start(tmp_path: Path, ca: Authority) -> None:
    for name, pem in zip(("tls.crt", "tls.key"), ca.issue("service", "localhost"), strict=True):
        (tmp_path / name).write_bytes(pem)
    for broken in (b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (tmp_path / "clients.crt").write_bytes(broken)
        with pytest.raises(ConfigurationError, match=r"clients\.crt holds no CA certificates in PEM"):
            CertificateFiles(*(str(tmp_path / name) for name in ("tls.crt", "tls.key", "clients.crt")))
