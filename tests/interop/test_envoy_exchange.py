"""Real Envoy with the configuration of deploy/envoy: the edge swaps the token, the service behind it verifies ours."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from tests import http_servers
from tests.envoy import binary, running
from tests.http_servers import Handler
from tests.issuer import Issuer, serving
from tests.ports import own_port
from tests.process import CLIENT, Service

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "deploy" / "envoy" / "envoy.yaml").read_text()
OURS = (ROOT / "deploy" / "envoy" / "tokenmint.toml").read_text()
AUDIENCE = "https://orders.example"
CONFIG = """
data_dir = "data"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"

[providers.idp]
issuer = "{issuer}"
audiences = ["app"]
allow_private = true
"""


@pytest.fixture(scope="module")
def envoy_binary() -> Path:
    return binary()


@contextmanager
def application() -> Iterator[int]:
    """A service that answers with the headers that reach it."""

    class Echo(Handler):
        def do_GET(self) -> None:
            self.give(200, json.dumps({name.lower(): value for name, value in self.headers.items()}).encode())

    with http_servers.running(Echo) as port:
        yield port


@contextmanager
def gateway(
    program: Path, directory: Path, service: Service, backend: int, *,
    audience: str = AUDIENCE, secret: str = CLIENT.reveal(),
) -> Iterator[str]:  # fmt: skip
    """The example, with the addresses of this test."""
    edge, orders = own_port(), own_port()
    grpc, http = (int(service.listen[name].rpartition(":")[2]) for name in ("grpc", "http"))
    text = EXAMPLE.replace("https://tokens.example", f"http://127.0.0.1:{http}").replace(AUDIENCE, audience)
    for before, after in ((10000, edge), (10001, orders), (7443, grpc), (8080, http), (9000, backend)):
        text, replaced = re.subn(rf"port_value: {before}\b", f"port_value: {after}", text)
        assert replaced, before
    with running(program, directory, text, edge, TOKENMINT_CLIENT_SECRET=secret):
        yield f"http://127.0.0.1:{edge}"


class Setting:
    """The path that a test's calls take."""

    def __init__(self, url: str, issuer: Issuer, service: Service) -> None:
        self.url = url
        self.issuer = issuer
        self.service = service

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx2.Response:
        given = {"Authorization": f"Bearer {token}"} if token is not None else {}
        with httpx2.Client(timeout=20) as http:
            return http.get(self.url + path, headers={**given, **headers})


@pytest.fixture(scope="module")
def setting(envoy_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    directory = tmp_path_factory.mktemp("envoy")
    with serving(Issuer()) as issuer, application() as backend:
        ours = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{CLIENT.fingerprint()}", OURS)
        (directory / "tokenmint.toml").write_text(CONFIG.format(issuer=issuer.url) + ours)
        with Service(directory) as service, gateway(envoy_binary, directory, service, backend) as url:
            yield Setting(url, issuer, service)


def test_the_token_is_swapped_and_the_service_behind_accepts_ours(setting: Setting) -> None:
    theirs = setting.issuer.token(time.time(), email="ada@example.com")
    answer = setting.get("/orders/1", theirs)
    assert answer.status_code == 200, answer.text
    seen = answer.json()["authorization"].removeprefix("Bearer ")
    assert seen != theirs
    keys = jwt.PyJWKClient(f"http://{setting.service.listen['http']}/.well-known/jwks.json")
    issuer = f"http://{setting.service.listen['http']}"
    claims: dict[str, Any] = jwt.decode(
        seen, keys.get_signing_key_from_jwt(seen), algorithms=["ES256"], audience=AUDIENCE, issuer=issuer
    )
    assert (claims["client_id"], claims["scope"]) == ("gateway", "read")
    assert theirs not in answer.text


def test_the_host_says_the_audience_where_the_route_does_not(setting: Setting) -> None:
    theirs = setting.issuer.token(time.time())
    assert setting.get("/", theirs, Host="orders.example").status_code == 200
    assert setting.get("/", theirs, Host="ORDERS.example:8443").status_code == 200
    refused = setting.get("/", theirs, Host="elsewhere.example")
    assert (refused.status_code, refused.json()["reason"]) == (403, "AUDIENCE_DENIED")


def test_rfc_6750_3_a_refusal_says_what_helps(setting: Setting) -> None:
    none = setting.get("/orders/1")
    assert (none.status_code, none.headers["www-authenticate"]) == (401, 'Bearer realm="tokenmint"')
    now = time.time()
    for token, reason, words in (
        (setting.issuer.token(now - 4000), "EXPIRED", "has expired"),
        (setting.issuer.token(now, aud="another"), "WRONG_AUDIENCE", "another audience"),
        (setting.issuer.token(now, iss="https://evil.example"), "UNKNOWN_ISSUER", "issuer"),
        ("not.a.token", "MALFORMED", "well-formed"),
        (setting.issuer.token(now).rpartition(".")[0] + "." + "A" * 342, "BAD_SIGNATURE", "signature"),
    ):
        refused = setting.get("/orders/1", token)
        assert (refused.status_code, refused.json()["reason"]) == (401, reason)
        challenge = refused.headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="tokenmint", error="invalid_token", error_description="')
        assert words in challenge
        assert token not in refused.text + challenge


def test_a_cookie_stands_for_the_header_and_stays_at_the_edge(setting: Setting) -> None:
    theirs = setting.issuer.token(time.time())
    answer = setting.get("/", Host="orders.example", Cookie="a=1; __Host-session=x.y.z")
    assert answer.json()["reason"] == "MALFORMED"
    typed = setting.get("/", Host="orders.example", Cookie=f"a=1; __Host-session={theirs}; b=2")
    assert typed.status_code == 200
    assert typed.json()["cookie"] == "a=1; b=2"
    alone = setting.get("/", Host="orders.example", Cookie=f"__Host-session={theirs}")
    assert "cookie" not in alone.json()
    both = setting.get("/", theirs, Host="orders.example", Cookie="a=1; __Host-session=tmr_x; b=2")
    assert (both.status_code, both.json()["cookie"]) == (200, "a=1; b=2")
    assert theirs not in both.text
    twice = setting.get("/", Host="orders.example", Cookie=f"__Host-session={theirs}; __Host-session=x")
    assert twice.status_code == 401


def test_the_route_that_needs_no_token(setting: Setting) -> None:
    assert setting.get("/healthz").status_code == 200


def test_two_authorization_headers_are_no_token(setting: Setting) -> None:
    theirs = setting.issuer.token(time.time())
    with httpx2.Client(timeout=20) as http:
        twice = [("Authorization", f"Bearer {theirs}"), ("Authorization", "Bearer x")]
        assert http.get(setting.url + "/orders", headers=twice).status_code in (400, 401)
