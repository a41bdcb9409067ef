"""Examples in documents that need more than Python: guides/envoy.md and tutorial.md (real Envoy), README.md (jose)."""

import os
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.guide_settings import orders_token, partner
from tests.guides import GUIDES, Setting, Walk
from tests.interop.test_envoy_exchange import application, gateway
from tests.interop.test_envoy_exchange import envoy_binary as envoy_binary  # a fixture
from tests.issuer import Issuer, serving
from tests.pages import ROOT, texts
from tests.process import CLIENT, Service, configure, run
from tests.tutorial import Reader

TUTORIAL_START = 'TOKENMINT_CLIENT_SECRET="$(cat gateway.secret)" envoy -c envoy.yaml'
START = 'TOKENMINT_CLIENT_SECRET="$(cat gateway.secret)" envoy -c deploy/envoy/envoy.yaml'


def test_the_guides_gateway_is_followed(envoy_binary: Path, tmp_path: Path) -> None:  # the fixture
    with ExitStack() as stack:

        def start(walk: Walk) -> None:
            assert walk.service is not None
            edge = stack.enter_context(gateway(envoy_binary, tmp_path, walk.service, backend))
            walk.addresses["127.0.0.1:10000"] = edge.removeprefix("http://")

        issuer, backend = stack.enter_context(serving(Issuer())), stack.enter_context(application())
        setting = Setting([partner()], orders_token, started={START: start})
        walk = Walk(GUIDES / "envoy.md", tmp_path, issuer, setting)
        stack.callback(walk.stop)
        walk.serve()
        assert walk.follow("envoy") > 0


def test_the_tutorials_gateway_is_followed(envoy_binary: Path, tmp_path: Path) -> None:  # the fixture
    with ExitStack() as stack:

        def start(reader: Reader) -> None:
            assert reader.service is not None
            backend = int(reader.addresses["127.0.0.1:9000"].rpartition(":")[2])
            secret = (tmp_path / "gateway.secret").read_text().strip()
            edge = stack.enter_context(
                gateway(
                    envoy_binary,
                    tmp_path,
                    reader.service,
                    backend,
                    audience="https://orders.example.com",
                    secret=secret,
                )
            )
            reader.addresses["127.0.0.1:10000"] = edge.removeprefix("http://")

        reader = Reader(tmp_path, {TUTORIAL_START: start})
        stack.callback(reader.stop)
        assert "envoy" in reader.follow({"envoy"})


def test_the_readmes_verification_with_jose(tmp_path: Path) -> None:
    here = Path(__file__).parent
    if shutil.which("node") is None or not (here / "node_modules" / "jose").exists():
        missing = "npm's jose is not there: `make test-interop` installs it (needs Node)"
        if os.environ.get("TOKENMINT_REQUIRE_LANES"):
            pytest.fail(missing)
        pytest.skip(missing)
    with serving(Issuer()) as issuer:
        config = configure(tmp_path, issuer.url)
        config.write_text(config.read_text().replace("https://orders.example", "https://api.example.com"))
        config.write_text(config.read_text().replace('issuer = "http://127.0.0.1:9"\n', "", 1))
        with Service(tmp_path) as service:
            (tmp_path / "secret").write_text(CLIENT.reveal())
            asked = ("token", "exchange", "--audience", "https://api.example.com", "--raw")
            caller = {"TOKENMINT_TARGET": service.listen["grpc"], "TOKENMINT_CLIENT_ID": "web"}
            caller |= {"TOKENMINT_SECRET_FILE": "secret"}
            token = run(*asked, directory=tmp_path, stdin=issuer.token(time.time()), **caller).stdout.strip()
            (program,) = texts(ROOT / "README.md", "js")
            given = f"const token = {token!r}, issuer = 'http://{service.listen['http']}';\n"
            done = subprocess.run(
                ["node", "--input-type=module", "-e", given + program + "console.log(payload.aud);"],
                cwd=here, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "https://api.example.com\n"), done.stderr
