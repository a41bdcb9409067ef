"""Stopping under load: what has arrived is answered, what is not begun is UNAVAILABLE, and so callers lose nothing."""

import asyncio
import collections
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests import plain_http
from tests.forked import ForkedService
from tests.issuer import Issuer
from tests.polling import pause
from tests.ports import own_port
from tests.process import Service, configure, write_kek

from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.processes

AUDIENCE = "https://orders.example"
CALLERS = 8
CALLS = int(os.environ.get("TOKENMINT_RESTART_CALLS", "0"))
"""At least so many calls meet a rolling restart: `make test-restart` asks for more than a test has time for."""
RESTARTS = 2
STOPS = 8 if CALLS else 2
"""How often one replica is stopped in the middle of calls."""
PATIENCE = 60.0
EAGER = (
    ("grpc.max_reconnect_backoff_ms", 200),
    (
        "grpc.default_authority",
        "tokenmint",
    ),  # and not the list of addresses, which is no authority (RFC 3986 section 3.2)
)
RETRIES = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


@pytest.fixture
def store_url(tmp_path: Path) -> Iterator[str]:
    """A store of the operator's, which several replicas share."""
    (tmp_path / "store").mkdir()
    server = EmbeddedServer(tmp_path / "store")
    yield server.start()
    server.stop()


class Replica:
    """One replica, which keeps its ports over restarts."""

    def __init__(self, directory: Path, issuer: Issuer, store_url: str, transport: str, lame_duck: str) -> None:
        self.directory = directory
        extra = f'[redis]\nurl = "{store_url}"\n[keys]\nencryption_key_file = "kek"\n'
        extra += f'[limits]\nlame_duck = "{lame_duck}"\neach_client = {{ per_second = 100000, burst = 100000 }}\n'
        configure(directory, issuer.url, extra=extra)
        self.settings = {"TOKENMINT_LISTEN__TRANSPORT": transport}
        for listener in ("GRPC", "ADMIN", "HTTP", "OPS"):
            self.settings[f"TOKENMINT_LISTEN__{listener}"] = f"127.0.0.1:{own_port()}"
        self.service: Service = ForkedService(directory, **self.settings)
        self.grpc, self.ops = self.service.listen["grpc"], self.service.listen["ops"]

    async def stop(self) -> int:
        return await asyncio.to_thread(self.service.stop)

    async def start(self) -> None:
        """Start it again; wait until callers have found it: until then a rolling restart goes no further."""
        self.service = await asyncio.to_thread(ForkedService, self.directory, **self.settings)
        async with asyncio.timeout(PATIENCE), plain_http.client() as http:
            while 'code="OK"' not in (await http.get(f"http://{self.ops}/metrics")).text:
                await pause()

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.service.errors.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]


@contextlib.contextmanager
def replicas(
    count: int, directory: Path, issuer: Issuer, store_url: str, transport: str, lame_duck: str = "100ms"
) -> Iterator[list[Replica]]:
    kek = write_kek(directory).read_text()
    running: list[Replica] = []
    try:
        for number in range(count):
            (directory / str(number)).mkdir()
            (directory / str(number) / "kek").write_text(kek)
            running.append(Replica(directory / str(number), issuer, store_url, transport, lame_duck))
        yield running
    finally:
        for replica in running:
            replica.service.stop()


class Callers:
    """Callers who exchange without a pause, until they are told to stop."""

    def __init__(self, channel: grpc.aio.Channel, issuer: Issuer, auth: dict[str, Any]) -> None:
        self._stub: Any = TokenExchangeServiceStub(channel)
        self._request = pb.ExchangeTokenRequest(subject_token=issuer.token(time.time()), audience=AUDIENCE)
        self._auth = auth
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.first: dict[str, str] = {}
        self._over = False
        self._came = asyncio.Event()

    async def _call(self) -> None:
        while not self._over:
            try:
                await self._stub.ExchangeToken(self._request, **self._auth)
                code = "OK"
            except grpc.aio.AioRpcError as error:
                code = error.code().name
                self.first.setdefault(code, error.details() or "")
            self.outcomes[code] += 1
            self._came.set()

    async def more(self, count: int) -> None:
        """Wait until ``count`` more calls have ended."""
        aim = self.outcomes.total() + count
        async with asyncio.timeout(PATIENCE):
            while self.outcomes.total() < aim:
                self._came.clear()
                await self._came.wait()

    @contextlib.asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        tasks = [asyncio.ensure_future(self._call()) for _ in range(CALLERS)]
        try:
            yield
        finally:
            self._over = True
            await asyncio.gather(*tasks)


async def test_a_rolling_restart_loses_no_call_of_clients_that_retry_unavailable_alone(
    tmp_path: Path, issuer: Issuer, store_url: str, transport: str
) -> None:
    with replicas(2, tmp_path, issuer, store_url, transport) as fleet:
        target = "ipv4:" + ",".join(replica.grpc for replica in fleet)
        options = [("grpc.service_config", json.dumps(RETRIES)), *EAGER]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            callers = Callers(channel, issuer, fleet[0].service.auth())
            async with callers.calling():
                restarts = 0
                while restarts < RESTARTS or callers.outcomes.total() < CALLS:
                    replica = fleet[restarts % 2]
                    await callers.more(40)
                    assert await replica.stop() == 0
                    await callers.more(20)
                    await replica.start()
                    restarts += 1
        print(f"{transport}: {restarts} restarts, {dict(callers.outcomes)}")
        assert set(callers.outcomes) == {"OK"}, (callers.outcomes, callers.first)


async def test_calls_in_hand_are_answered_and_the_log_says_stopping_and_stopped(
    tmp_path: Path, issuer: Issuer, store_url: str, transport: str
) -> None:
    """With one replica and no retries: nothing ends but as OK or UNAVAILABLE, however often it is stopped."""
    with replicas(1, tmp_path, issuer, store_url, transport, lame_duck="50ms") as [replica]:
        for _ in range(STOPS):
            async with grpc.aio.insecure_channel(replica.grpc, options=[("grpc.enable_retries", 0)]) as channel:
                callers = Callers(channel, issuer, replica.service.auth())
                async with callers.calling():
                    await callers.more(30)
                    assert await replica.stop() == 0
                assert set(callers.outcomes) <= {"OK", "UNAVAILABLE"}, (callers.outcomes, callers.first)
            replica.service = await asyncio.to_thread(Service, replica.directory, **replica.settings)
        await until(lambda: len(replica.events("ready")) == STOPS + 1)  # the log is written beside the service
        starting, ready = replica.events("starting"), replica.events("ready")
        stopping, stopped = replica.events("stopping"), replica.events("stopped")
        assert len(starting) == STOPS + 1
        assert (len(stopping), len(stopped)) == (STOPS, STOPS)
        for event in (*starting, *ready, *stopping, *stopped):
            assert (event["version"], event["listen"]["grpc"]) == (metadata.version("tokenmint"), replica.grpc)
        assert all(event["lame_duck"] == 0.05 for event in stopping)
        assert all(event["given_up"] == 0 for event in stopped)


async def test_a_process_that_stops_is_not_ready_first_and_serves_on_until_a_second_signal(
    tmp_path: Path, issuer: Issuer, store_url: str, transport: str
) -> None:
    with replicas(1, tmp_path, issuer, store_url, transport, lame_duck="60s") as [replica]:
        request = pb.ExchangeTokenRequest(subject_token=issuer.token(time.time()), audience=AUDIENCE)
        async with grpc.aio.insecure_channel(replica.grpc) as channel, plain_http.client() as http:
            stub: Any = TokenExchangeServiceStub(channel)
            health: Any = health_pb2_grpc.HealthStub(channel)
            assert (await stub.ExchangeToken(request, **replica.service.auth())).token
            replica.service.process.send_signal(signal.SIGTERM)
            await until(lambda: replica.events("stopping") != [])
            assert (await http.get(f"http://{replica.ops}/readyz")).status_code == 503
            assert (await http.get(f"http://{replica.ops}/healthz")).status_code == 200
            status = (await health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)).status
            assert status == health_pb2.HealthCheckResponse.NOT_SERVING
            answer = await http.get(f"http://{replica.service.listen['http']}/.well-known/jwks.json")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            assert (await stub.ExchangeToken(request, **replica.service.auth())).token
            replica.service.process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(replica.service.process.wait, PATIENCE / 2) == 0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await pause()
