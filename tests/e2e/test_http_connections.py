"""The HTTP listeners of the whole service against clients that hold connections and requests without an end."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.issuer import Issuer
from tests.process import Service, configure
from tests.sockets import UNFINISHED, answer, get, held, place, status

from tokenmint.web.listener import PAUSE

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
    with Service(directory) as service:
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
    with Service(tmp_path) as service:
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
