"""Two replicas, one store: what is revoked at one is refused by a verifier that watches the other, offline.

The verifier is the Python package's. No test judges how long that takes; `make chaos` measures it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.e2e.processes import AUDIENCE, exchange
from tests.forked import ForkedService
from tests.issuer import Issuer, serving
from tests.polling import wait_until
from tests.ports import own_port
from tests.process import OPERATOR, Service, configure, write_kek
from tests.wire import Engine

from tokenmint.model.secret import Secret
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import revocation_admin_service_pb2 as admin_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.revocation_admin_service_pb2_grpc import RevocationAdminServiceStub
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub
from tokenmint_client import Client, ClientSecret, Revocations, RevocationsUnavailable, TokenRejected, Verifier

pytestmark = pytest.mark.processes

API = Secret("tms_api")
EXTRA = f"""
[clients.api]
secrets = ["sha256:{API.fingerprint()}"]
serves = ["{AUDIENCE}"]

[redis]
url = "{{url}}"

[keys]
encryption_key_file = "{{kek}}"
"""


@dataclass
class Pair:
    """Two replicas, and a way to end and start the second one at its address."""

    directory: Path
    issuer: Issuer
    engine: Engine
    port: int = field(default_factory=own_port)
    away: float = 0.0
    """Seconds that pass for the verifier beyond the real ones."""

    def __post_init__(self) -> None:
        self.first = self.replica("first")
        self.second = self.replica("second", f"127.0.0.1:{self.port}")

    def replica(self, name: str, address: str = "127.0.0.1:0") -> Service:
        home = self.directory / name
        if not home.exists():
            home.mkdir()
            kek = self.directory / "kek"
            if not kek.exists():
                write_kek(self.directory)
            url = f"redis://127.0.0.1:{self.engine.port}"
            configure(home, self.issuer.url, EXTRA.format(url=url, kek=kek))
        return ForkedService(home, TOKENMINT_LISTEN__GRPC=address, TOKENMINT_LIMITS__LAME_DUCK="0s")

    def end_second(self) -> None:
        self.second.kill()
        self.second.process.wait()

    def start_second(self) -> None:
        self.second = self.replica("second", f"127.0.0.1:{self.port}")

    def revoke(self, token: str) -> None:
        with grpc.insecure_channel(self.first.listen["grpc"]) as channel:
            TokenExchangeServiceStub(channel).RevokeToken(pb.RevokeTokenRequest(token=token), **self.first.auth())

    def operator(self, do: Callable[[grpc.Channel, dict[str, object]], object]) -> None:
        metadata = (("tokenmint-client-id", "root"), ("tokenmint-client-secret", OPERATOR.reveal()))
        with grpc.insecure_channel(self.first.listen["admin"]) as channel:
            do(channel, {"metadata": metadata, "timeout": 20})


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with serving(Issuer()) as issuer, Engine(tmp_path / "store", "--appendonly", "yes") as engine:
        made = Pair(tmp_path, issuer, engine)
        try:
            yield made
        finally:
            made.first.stop()
            made.second.stop()


@contextmanager
def verifier_of(pair: Pair, **options: Any) -> Iterator[tuple[Verifier, Revocations]]:
    """A verifier that fetches keys from the first replica and watches the second one."""
    client = Client(f"127.0.0.1:{pair.port}", ClientSecret("api", API.reveal()), plaintext=True)
    revocations = Revocations(client, AUDIENCE, monotonic=lambda: time.monotonic() + pair.away, **options)
    jwks = f"http://{pair.first.listen['http']}/.well-known/jwks.json"
    verifier = Verifier("http://127.0.0.1:9", AUDIENCE, jwks_url=jwks, revocations=revocations)
    try:
        yield verifier, revocations
    finally:
        verifier.close()
        revocations.close()


def refused(verifier: Verifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except TokenRejected as error:
        return error.reason == "REVOKED"
    return False


def test_what_one_replica_revokes_a_verifier_of_the_other_refuses(pair: Pair) -> None:
    with verifier_of(pair) as (verifier, _):
        one, other = (exchange(pair.first, pair.issuer, name).token for name in ("ada", "bob"))
        assert not refused(verifier, one)
        pair.revoke(one)
        wait_until(lambda: refused(verifier, one))
        assert verifier.verify(other).claims["jti"]
        principal = verifier.verify(other).subject

        def end(channel: grpc.Channel, call: dict[str, object]) -> None:
            request = profiles_pb.RevokePrincipalTokensRequest(principal=principal)
            ProfileAdminServiceStub(channel).RevokePrincipalTokens(request, **call)  # type: ignore[arg-type]

        pair.operator(end)
        wait_until(lambda: refused(verifier, other))
        third = exchange(pair.second, pair.issuer, "carol").token
        assert not refused(verifier, third)

        def end_all(channel: grpc.Channel, call: dict[str, object]) -> None:
            request = admin_pb.RevokeTokensRequest(client_id="web", reason="a test")
            RevocationAdminServiceStub(channel).RevokeTokens(request, **call)  # type: ignore[arg-type]

        pair.operator(end_all)
        wait_until(lambda: refused(verifier, third))


def test_a_verifier_that_was_away_fails_closed_or_open_and_catches_up(pair: Pair) -> None:
    with (
        verifier_of(pair) as (closed, refusing),
        verifier_of(pair, when_lagging="accept") as (opened, accepting),
    ):
        one, other = (exchange(pair.first, pair.issuer, name).token for name in ("ada", "bob"))
        pair.revoke(one)
        wait_until(lambda: refused(closed, one) and refused(opened, one))
        pair.end_second()
        pair.away = 60.0
        with pytest.raises(RevocationsUnavailable):
            closed.verify(other)
        assert opened.verify(other).claims["jti"]
        assert refused(opened, one)
        assert refused(closed, one)
        pair.revoke(other)
        pair.start_second()
        wait_until(lambda: refusing.lag < 30 and accepting.lag < 30)
        wait_until(lambda: refused(closed, other) and refused(opened, other))
        third = exchange(pair.first, pair.issuer, "carol").token
        assert closed.verify(third).claims["jti"]
        assert not refusing.error


def test_a_verifier_that_begins_later_knows_what_was_revoked_before(pair: Pair) -> None:
    tokens = [exchange(pair.first, pair.issuer, f"p{number}").token for number in range(3)]
    for token in tokens:
        pair.revoke(token)
    pair.end_second()
    pair.start_second()
    with verifier_of(pair) as (verifier, _):
        assert [refused(verifier, token) for token in tokens] == [True] * 3  # without a start: the first call waits


def test_the_store_is_away_and_comes_back(pair: Pair) -> None:
    with verifier_of(pair) as (verifier, revocations):
        one = exchange(pair.first, pair.issuer).token
        assert not refused(verifier, one)
        pair.engine.kill()
        before = revocations.lag
        wait_until(lambda: revocations.lag > before + 1)  # messages come, and they say how old they are
        pair.engine.start()
        wait_until(lambda: revocations.lag < 1)

        def tried() -> bool:
            try:
                pair.revoke(one)
            except grpc.RpcError:
                return False
            return True

        wait_until(tried)
        wait_until(lambda: refused(verifier, one))
