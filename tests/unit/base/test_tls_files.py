"""The authorities of a `ca_file` are trusted by the same rules in every Python."""

import ssl
from pathlib import Path

import pytest
from tests.tls import Authority, authority

from tokenmint.base.tls_files import verifying


def handshake(tmp_path: Path, trusted: bytes, issuer: Authority, host: str = "keys.example") -> None:
    """Let a client that trusts these authorities meet a server with a certificate of an issuer."""
    certificate, key = issuer.issue("server", "keys.example")
    (tmp_path / "crt").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    client = verifying(trusted).wrap_bio(to_client, to_server, server_hostname=host)
    for side in (client, server):  # the first hello, and its answer; then the client judges the certificate
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    client.do_handshake()


def test_an_authority_without_key_identifiers_is_trusted_as_clusters_have_them(tmp_path: Path) -> None:
    """RFC 5280 4.2.1.1 wants them; Python 3.13 began to insist."""
    made = authority(identified=False)
    handshake(tmp_path, made.pem, made)


def test_an_intermediate_authority_that_is_given_alone_is_trusted(tmp_path: Path) -> None:
    below = authority("Intermediate", authority())
    handshake(tmp_path, below.pem, below)


@pytest.mark.parametrize("sibling", ["its root's other child", "a stranger"])
def test_an_intermediate_authority_is_trusted_for_itself_alone(tmp_path: Path, sibling: str) -> None:
    root = authority()
    other = authority("Other", root) if sibling == "its root's other child" else authority("Other")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, authority("Intermediate", root).pem, other)


def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    made = authority()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, made.pem, made, host="other.example")


@pytest.mark.parametrize("authorities", [b"", b"no certificate", b"\xff"])
def test_authorities_that_are_none_are_refused(authorities: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        verifying(authorities)
