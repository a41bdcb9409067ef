"""The HTTP listeners of the whole service against clients that hold connections and requests without an end."""

import asyncio
import contextlib
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from tests.forked import ForkedService
from tests.issuer import Issuer
from tests.process import Service, WithFewFiles, configure
from tests.sockets import UNFINISHED, answer, get, held, place, status

from tokenmint.v1.token_exchange_service_pb2 import ExchangeTokenRequest
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub
from tokenmint.web.listener import PAUSE

pytestmark = pytest.mark.processes

PUBLIC = (
    "/.well-known/jwks.json",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
)
OPS = ("/healthz", "/readyz", "/metrics")
OAUTH = "\n[oauth]\nenabled = true\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    configure(directory, extra=OAUTH)
    with ForkedService(directory) as service:
        yield service


@pytest.mark.parametrize("listener", ["http", "ops"])
@pytest.mark.parametrize(("count", "sent"), [(1005, "nothing"), (1000, "half a header"), (1000, "half a body")])
async def test_a_flood_of_connections_keeps_nobody_from_an_answer(
    shared: Service, listener: str, count: int, sent: str
) -> None:
    """The figures of the drill, with the defaults: 1,005 idle connections, 1,000 half-sent requests of one client."""
    public, ops = place(shared.listen["http"]), place(shared.listen["ops"])
    async with held(place(shared.listen[listener]), count, UNFINISHED[sent]):
        for _ in range(3):
            assert [await status(public, path) for path in PUBLIC] == [200, 200, 200]
            assert [await status(ops, path) for path in OPS] == [200, 200, 200]
        metrics = (await answer(ops, get("/metrics"))).decode()
        outcome = "idle_closed" if sent == "nothing" else "unfinished_closed"
        assert f'tokenmint_http_limits_total{{listener="{listener}",outcome="{outcome}"}}' in metrics


async def test_with_no_file_descriptor_left_health_is_answered_and_the_service_goes_on(
    tmp_path: Path, issuer: Issuer
) -> None:
    """EMFILE (accept(2)): the socket stays readable, and nothing can be accepted."""
    configure(tmp_path, issuer.url, extra='[limits]\nrequest_time = "60s"\n')
    with ForkedService(tmp_path) as service:
        pid = service.process.pid
        public, ops = place(service.listen["http"]), place(service.listen["ops"])
        used = max(map(int, os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208  # of the kernel: it blocks nobody
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 20, before[1]))
        async with held(public, 100, b""):
            assert [await status(public, path) for path in PUBLIC] == [200, 200, 200]
            assert [await status(ops, path) for path in OPS] == [200, 200, 200]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert await status(ops, "/healthz") == 200
        said = service.errors.read_text()
        assert said.count("no room for another connection") in (1, 2), said[-2000:]  # one of each listener
        assert service.stop() == 0
    assert PAUSE >= 0.1


async def test_idle_connections_over_http_take_no_open_file_from_exchanges(
    tmp_path: Path, issuer: Issuer, transport: str
) -> None:
    """Calls beside each other need connections to the store beside each other."""
    configure(tmp_path, issuer.url)
    with WithFewFiles(tmp_path, TOKENMINT_LISTEN__TRANSPORT=transport) as service:
        async with contextlib.AsyncExitStack() as flood, grpc.aio.insecure_channel(service.listen["grpc"]) as channel:
            for listener in ("http", "ops"):
                for peer in ("127.0.0.2", "127.0.0.3"):
                    await flood.enter_async_context(held(place(service.listen[listener]), 60, b"", peer))
            stub: Any = TokenExchangeServiceStub(channel)
            requests = [
                ExchangeTokenRequest(
                    subject_token=issuer.token(time.time(), sub=f"user {number}"), audience="https://orders.example"
                )
                for number in range(40)
            ]
            answers = await asyncio.gather(*(stub.ExchangeToken(request, **service.auth()) for request in requests))
        assert all(answer.token for answer in answers)
