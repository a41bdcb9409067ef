"""Handshakes that fail, for real: each error names the option that mends it, and gRPC's own log stays silent."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from tests.forked import run_forked
from tests.tls import Authority
from tests.unit.cli.serving import as_root, served

pytestmark = pytest.mark.slow

Server = Callable[[Authority], grpc.ServerCredentials | None]


def plain(_: Authority) -> None:
    return None


def tls(ca: Authority) -> grpc.ServerCredentials:
    certificate, key = ca.issue("service", "127.0.0.1", "localhost")
    return grpc.ssl_server_credentials([(key, certificate)])


def of_another_name(ca: Authority) -> grpc.ServerCredentials:
    certificate, key = ca.issue("service", "tokens.internal")
    return grpc.ssl_server_credentials([(key, certificate)])


def mutual(ca: Authority) -> grpc.ServerCredentials:
    certificate, key = ca.issue("service", "127.0.0.1")
    return grpc.ssl_server_credentials([(key, certificate)], ca.pem, require_client_auth=True)


CASES: dict[str, tuple[Server, tuple[str, ...], int, tuple[str, ...]]] = {
    "TLS to a service without it": (plain, ("--tls",), 2, ("does not speak TLS", "leave --tls out")),
    "a file of authorities to a service without TLS": (plain, ("--ca-file", "ca"), 2, ("leave --ca-file out",)),
    "an authority of one's own": (tls, ("--tls",), 2, ("not trusted", "with --ca-file")),
    "the wrong authority": (tls, ("--ca-file", "other"), 2, ("no authority in other", "--ca-file")),
    "another name": (of_another_name, ("--ca-file", "ca"), 2, ("not for the name 127.0.0.1", "--target")),
    "no TLS to a service with it": (tls, (), 3, ("closed the connection", "--ca-file", "--cert-file")),
    "no certificate": (mutual, ("--ca-file", "ca"), 3, ("closed the connection", "--cert-file")),
    "a certificate of another authority": (
        mutual, ("--ca-file", "ca", "--cert-file", "crt", "--key-file", "key"), 3,
        ("trust the authority of crt", "--cert-file"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_failed_handshake_names_the_option(case: str, ca: Authority, tmp_path: Path) -> None:
    make, options, expected, words = CASES[case]
    from tests.tls import authority

    other = authority("Another authority")
    certificate, key = other.issue("me", "me.internal")
    for name, pem in (("ca", ca.pem), ("other", other.pem), ("crt", certificate), ("key", key)):
        (tmp_path / name).write_bytes(pem)
    with served(make(ca)) as service:
        outcome = run_forked("keys", "list", *options, directory=tmp_path, GRPC_VERBOSITY="", **as_root(service))
    assert (outcome.returncode, outcome.stdout) == (expected, ""), outcome.stderr
    assert all(word in outcome.stderr for word in words), outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1, outcome.stderr
