"""The blocks of guides/gateways.md that need a gateway: real NGINX."""

from contextlib import ExitStack
from pathlib import Path

from tests.gateways.programs import NGINX, running, sidecar
from tests.gateways.traffic import application
from tests.guide_settings import orders_token, partner
from tests.guides import GUIDES, Setting, Walk
from tests.issuer import Issuer, serving

EDGE = "tokenmint edge --upstream http://127.0.0.1:8080 --client-id gateway --secret-file gateway.secret"
START = "nginx -p deploy/gateways -c nginx.conf"


def test_the_guides_gateway_is_followed(tmp_path: Path) -> None:
    (tmp_path / "nginx").mkdir()
    with ExitStack() as stack:

        def start_edge(walk: Walk) -> None:
            assert walk.service is not None
            port = int(walk.service.listen["http"].rpartition(":")[2])
            stack.enter_context(sidecar(tmp_path, tokenmint=port, keep="1"))

        def start(walk: Walk) -> None:
            assert walk.service is not None
            port = int(walk.service.listen["http"].rpartition(":")[2])
            edge = stack.enter_context(running(NGINX, tmp_path / "nginx", tokenmint=port, backend=backend))
            walk.addresses["127.0.0.1:10000"] = edge.removeprefix("http://")

        issuer, backend = stack.enter_context(serving(Issuer())), stack.enter_context(application())
        setting = Setting([partner()], orders_token, started={START: start, EDGE: start_edge})
        walk = Walk(GUIDES / "gateways.md", tmp_path, issuer, setting)
        stack.callback(walk.stop)
        walk.serve()
        assert walk.follow("gateways") > 0
