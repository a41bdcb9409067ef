"""docs/guides/envoy.md with a real Envoy: the blocks that are marked `envoy`."""

from contextlib import ExitStack
from pathlib import Path

from tests.guide_settings import orders_token, partner
from tests.guides import GUIDES, Setting, Walk
from tests.interop.test_envoy_exchange import application, gateway
from tests.interop.test_envoy_exchange import envoy_binary as envoy_binary  # a fixture
from tests.issuer import Issuer, serving

START = 'TOKENMINT_CLIENT_SECRET="$(cat gateway.secret)" envoy -c deploy/envoy/envoy.yaml'


def test_the_guides_gateway_is_followed(envoy_binary: Path, tmp_path: Path) -> None:  # the fixture
    with ExitStack() as stack:
        addresses: dict[str, str] = {}

        def start(walk: Walk) -> None:
            assert walk.service is not None
            edge = stack.enter_context(gateway(envoy_binary, tmp_path, walk.service, backend))
            addresses["127.0.0.1:10000"] = edge.removeprefix("http://")

        issuer, backend = stack.enter_context(serving(Issuer())), stack.enter_context(application())
        setting = Setting([partner()], orders_token, addresses=addresses, started={START: start})
        walk = Walk(GUIDES / "envoy.md", tmp_path, issuer, setting)
        stack.callback(walk.stop)
        walk.serve()
        assert walk.follow("envoy") > 0
