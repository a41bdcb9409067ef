"""The blocks of guides/gateways.md that need a gateway: real NGINX."""

import threading
from contextlib import ExitStack
from pathlib import Path

from tests import plain_http
from tests.gateways.programs import NGINX, example_application, running, sidecar
from tests.guide_settings import orders_token, partner
from tests.guides import GUIDES, Setting, Walk
from tests.issuer import Issuer, serving

EDGE = "tokenmint edge --upstream http://127.0.0.1:8080 --client-id gateway --secret-file gateway.secret"
FOLLOWING = (
    "tokenmint edge --upstream http://127.0.0.1:8080 --client-id gateway --secret-file gateway.secret \\\n"
    "  --listen 127.0.0.1:8082 --revocations 127.0.0.1:7443 --audience https://orders.example"
)
APPLICATION = "python deploy/gateways/application.py"
START = "nginx -p deploy/gateways -c nginx.conf"


def await_snapshot(port: int) -> None:
    """Wait until the sidecar knows the revocations."""
    pause = threading.Event()
    for _ in range(1000):
        if "known up to" in plain_http.get(f"http://127.0.0.1:{port}/readyz").text:
            return
        pause.wait(0.02)
    raise AssertionError("no snapshot came")


def test_the_guides_gateway_is_followed(tmp_path: Path) -> None:
    (tmp_path / "nginx").mkdir()
    with ExitStack() as stack:

        def port_of(walk: Walk, listener: str) -> int:
            assert walk.service is not None
            return int(walk.service.listen[listener].rpartition(":")[2])

        def start_edge(walk: Walk) -> None:
            stack.enter_context(sidecar(tmp_path, tokenmint=port_of(walk, "http"), keep="1"))

        def start_following(walk: Walk) -> None:
            follows = ("--revocations", f"127.0.0.1:{port_of(walk, 'grpc')}", "--audience", "https://orders.example")
            port = stack.enter_context(sidecar(tmp_path, tokenmint=port_of(walk, "http"), keep="1", follows=follows))
            walk.addresses["127.0.0.1:8082"] = f"127.0.0.1:{port}"
            await_snapshot(port)

        def start(walk: Walk) -> None:
            backend = int(walk.addresses["127.0.0.1:9000"].rpartition(":")[2])
            edge = stack.enter_context(
                running(NGINX, tmp_path / "nginx", tokenmint=port_of(walk, "http"), backend=backend)
            )
            walk.addresses["127.0.0.1:10000"] = edge.removeprefix("http://")

        def start_application(walk: Walk) -> None:
            walk.addresses["127.0.0.1:9000"] = f"127.0.0.1:{stack.enter_context(example_application(tmp_path))}"

        issuer = stack.enter_context(serving(Issuer()))
        started = {START: start, EDGE: start_edge, FOLLOWING: start_following, APPLICATION: start_application}
        setting = Setting([partner()], orders_token, started=started)
        walk = Walk(GUIDES / "gateways.md", tmp_path, issuer, setting)
        stack.callback(walk.stop)
        walk.serve()
        assert walk.follow("gateways") > 0
