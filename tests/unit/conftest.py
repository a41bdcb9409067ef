"""Fixtures of unit tests in several rooms."""

import ssl
from pathlib import Path

import pytest
from tests.providers import NAME, ending_tls
from tests.tls import Authority, authority


@pytest.fixture(scope="session", autouse=True)
def quick_tls(one_authority: None) -> None:
    """No TLS context reads the machine's authorities."""


@pytest.fixture(scope="module")
def ca() -> Authority:
    """An authority for servers' certificates."""
    return authority()


@pytest.fixture
def tls(tmp_path: Path, ca: Authority) -> ssl.SSLContext:
    """The TLS of a provider on loopback, whose authority is in the file `ca.crt`."""
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    return ending_tls(tmp_path, ca, "localhost", "127.0.0.1", NAME)
