"""Real gateways with the examples of deploy/gateways: tokens are swapped, nothing is forged, and answers are kept."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import httpx2
import jwt
import pytest
from tests import plain_http
from tests.gateways.programs import ALL, EXAMPLES, HAPROXY, NGINX, Gateway, running
from tests.gateways.traffic import application, statuses_of
from tests.issuer import Issuer, serving
from tests.ports import own_port
from tests.process import CLIENT, Service

from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

AUDIENCE, SESSION, COOKIE = "https://orders.example", "https://session.example", "__Host-session"
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

[audiences."https://session.example"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "create"
scopes = ["read"]
[audiences."https://session.example".reference]
idle = "1h"

[clients.web]
secrets = ["sha256:{client}"]
"""


@dataclass
class Setting:
    """tokenmint, its provider, and an application."""

    issuer: Issuer
    service: Service
    backend: int

    @property
    def port(self) -> int:
        return int(self.service.listen["http"].rpartition(":")[2])

    def token(self, **claims: Any) -> str:
        return self.issuer.token(time.time(), **claims)

    def minted(self) -> int:
        text = plain_http.get(f"http://{self.service.listen['ops']}/metrics").text
        found = re.search(rf'^tokenmint_tokens_minted_total{{audience="{AUDIENCE}"}} (\d+)', text, re.MULTILINE)
        return int(found[1]) if found else 0


def setting_of(stack: ExitStack, directory: Path, cache: str = "1s") -> Setting:
    issuer, backend = stack.enter_context(serving(Issuer())), stack.enter_context(application())
    ours = (EXAMPLES / "tokenmint.toml").read_text().replace('gateway_cache = "1s"', f'gateway_cache = "{cache}"')
    ours = ours.replace('providers = ["idp"]', 'providers = ["idp"]\nreexchange_from = ["https://session.example"]')
    ours = ours.replace(
        'serves = ["https://orders.example"]', 'serves = ["https://session.example", "https://orders.example"]'
    )
    ours = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{CLIENT.fingerprint()}", ours)
    text = CONFIG.format(issuer=issuer.url, client=CLIENT.fingerprint()) + ours
    (directory / "tokenmint.toml").write_text(text)
    return Setting(issuer, stack.enter_context(Service(directory)), backend)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with ExitStack() as stack:
        yield setting_of(stack, tmp_path_factory.mktemp("tokenmint"))


@pytest.fixture(scope="module", params=ALL, ids=lambda one: one.name)
def edge(request: pytest.FixtureRequest, setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    gateway: Gateway = request.param
    directory = tmp_path_factory.mktemp(gateway.name)
    with running(gateway, directory, tokenmint=setting.port, backend=setting.backend) as url:
        yield url


def get(url: str, token: str | None = None, **headers: str) -> httpx2.Response:
    given = [("Authorization", f"Bearer {token}")] if token is not None else []
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    with plain_http.sync_client() as http:
        return http.get(f"{url}/orders/1", headers=[*given, *named])


def seen(answer: httpx2.Response) -> dict[str, str]:
    """The headers that reached the application, each once."""
    assert answer.status_code == 200, answer.text
    pairs = answer.json()
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


# --- what every gateway does --------------------------------------------------------------------------------------


def test_the_token_is_swapped_and_the_caller_is_named(setting: Setting, edge: str) -> None:
    theirs = setting.token()
    headers = seen(get(edge, theirs))
    ours = headers["authorization"].removeprefix("Bearer ")
    keys = jwt.PyJWKClient(f"http://{setting.service.listen['http']}/.well-known/jwks.json")
    issuer = f"http://{setting.service.listen['http']}"
    claims = jwt.decode(ours, keys.get_signing_key_from_jwt(ours), ["ES256"], audience=AUDIENCE, issuer=issuer)
    assert (claims["client_id"], claims["scope"]) == ("gateway", "read")
    assert (headers["x-tokenmint-principal"], headers["x-tokenmint-scope"]) == (claims["sub"], "read")
    assert theirs not in str(headers)
    assert CLIENT.reveal() not in str(headers)  # the gateway's own secret
    assert not [name for name in headers if name.startswith("tokenmint-client")]


def test_rfc_9110_section_7_6_1_a_client_can_not_have_headers_of_the_answer_removed(
    setting: Setting, edge: str
) -> None:
    """Some gateways remove the headers that their client's `Connection` names, also those that they have set."""
    handle = session(setting)
    for named in ("X-Tokenmint-Principal", "x-tokenmint-scope", "Authorization", "TE, authorization"):
        with plain_http.sync_client() as http:
            given = {"Cookie": f"{COOKIE}={handle}", "Connection": f"keep-alive, {named}"}
            answer = http.get(f"{edge}/orders/1", headers=given)
        if answer.status_code not in (400, 401):
            assert {"authorization", "x-tokenmint-principal", "x-tokenmint-scope"} <= seen(answer).keys(), named


def test_a_client_can_not_forge_what_the_gateway_sets(setting: Setting, edge: str) -> None:
    theirs = setting.token()
    for forged in (
        {"X_Tokenmint_Principal": "root"},
        {"X_Tokenmint_Scope": "admin"},
        {"x_tokenmint_principal": "root", "X_Tokenmint_Other": "x"},
    ):
        answer = get(edge, theirs, **forged)
        assert answer.status_code == 401 or "root" not in str(seen(answer)) + str(seen(answer).get("x-tokenmint-scope"))
        assert "admin" not in answer.text
    with plain_http.sync_client() as http:  # as CGI and WSGI read them
        for name in ("X_Tokenmint_Principal", "x_tokenmint-principal", "X.Tokenmint.Principal", "X_Tokenmint_Other"):
            pairs = [("Authorization", f"Bearer {theirs}"), (name, "root")]
            answer = http.get(f"{edge}/x", headers=pairs)
            assert answer.status_code in (400, 401) or "root" not in answer.text, name
    for harmless in (
        {"X_Forwarded_Host": "elsewhere.example"},
        {"X_Original_URL": "https://elsewhere.example/"},
        {"X_Forwarded_Uri": "/auth/other"},
        {"tokenmint_client_id": "web", "tokenmint_client_secret": "tms_guess"},
    ):
        answer = get(edge, theirs, **harmless)
        assert answer.status_code in (200, 401), answer.text
        assert "tms_guess" not in answer.text
    with plain_http.sync_client() as http:  # a gateway that adds the client's query could let it choose the audience
        assert seen(
            http.get(f"{edge}/x?audience=https://session.example", headers={"Authorization": f"Bearer {theirs}"})
        )


def test_rfc_6750_3_a_refusal_reaches_the_client(setting: Setting, edge: str) -> None:
    none = get(edge)
    assert (none.status_code, none.headers["www-authenticate"]) == (401, 'Bearer realm="tokenmint"')
    for token, word in ((setting.issuer.token(time.time() - 4000), "expired"), (setting.token(aud="x"), "audience")):
        refused = get(edge, token)
        assert refused.status_code == 401
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
        assert word in refused.headers["www-authenticate"]
    with plain_http.sync_client() as http:
        twice = [("Authorization", f"Bearer {setting.token()}"), ("Authorization", "Bearer x")]
        assert http.get(edge, headers=twice).status_code in (400, 401)


def test_a_session_stays_at_the_gateway(setting: Setting, edge: str) -> None:
    handle = session(setting)
    headers = seen(get(edge, Cookie=f"a=1; {COOKIE}={handle}; b=2"))
    assert [pair.strip() for pair in headers["cookie"].split(";") if pair.strip()] == ["a=1", "b=2"]
    assert jwt.decode(headers["authorization"][7:], options={"verify_signature": False})["aud"] == AUDIENCE
    alone = seen(get(edge, Cookie=f"{COOKIE}={handle}"))
    assert alone.get("cookie", "") == ""
    assert handle not in str(headers) + str(alone)


@pytest.mark.parametrize("gateway", ALL, ids=lambda one: one.name)
def test_a_gateway_with_a_wrong_secret_passes_nothing(setting: Setting, gateway: Gateway, tmp_path: Path) -> None:
    with running(gateway, tmp_path, tokenmint=setting.port, backend=setting.backend, secret="tms_wrong") as url:
        answer = get(url, setting.token())
    assert answer.status_code >= 500
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("gateway", ALL, ids=lambda one: one.name)
def test_without_tokenmint_nothing_passes(setting: Setting, gateway: Gateway, tmp_path: Path) -> None:
    nobody = own_port()
    with running(gateway, tmp_path, tokenmint=nobody, backend=setting.backend) as url:
        assert get(url, setting.token()).status_code >= 500


@pytest.mark.parametrize("line", ["local given = ", "for _, name in ipairs(SET) do", "local answer = kept[key]"])
def test_a_fault_in_haproxys_lua_lets_nothing_pass(setting: Setting, line: str, tmp_path: Path) -> None:
    assert line in (EXAMPLES / "tokenmint.lua").read_text()
    broken = replace(HAPROXY, settings={line: f"local fault = nil + 1\n    {line}"})
    with running(broken, tmp_path, tokenmint=setting.port, backend=setting.backend, longer=True) as url:
        assert get(url, setting.token()).status_code == 503


def test_haproxy_passes_no_header_on_that_may_hold_the_token(setting: Setting, tmp_path: Path) -> None:
    decide = 'DECIDE = { "authorization", "cookie" }'
    assert decide in (EXAMPLES / "tokenmint.lua").read_text()
    named = replace(HAPROXY, settings={decide: 'DECIDE = { "authorization", "cookie", "x-forwarded-access-token" }'})
    with running(named, tmp_path, tokenmint=setting.port, backend=setting.backend, longer=True) as url:
        for spelling in ("X-Forwarded-Access-Token", "x_forwarded_access_token"):
            with plain_http.sync_client() as http:
                given = {"Authorization": f"Bearer {setting.token()}", spelling: "theirs", "X-Other": "kept"}
                answer = http.get(f"{url}/orders/1", headers=given)
            assert ("theirs" in str(seen(answer)), seen(answer)["x-other"]) == (False, "kept")


# --- Traefik, where its program is not -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "headers", "status"),
    [
        ("a token", {}, 200),
        ("no token", {"Authorization": None}, 401),
        ("another page", {"X-Forwarded-Uri": "/x?audience=https://session.example"}, 200),
        ("its client forges the principal", {"X-Tokenmint-Principal": "root"}, 401),
        ("its client spells the gateway's id otherwise", {"Tokenmint_Client_Id": "web"}, 401),
    ],
)
def test_traefiks_documented_request_is_answered(
    setting: Setting, case: str, headers: dict[str, str | None], status: int
) -> None:
    """With the headers of its documentation of ForwardAuth, of its client, and of the middleware before it."""
    example = (EXAMPLES / "traefik.yaml").read_text()
    names = re.findall(r"^          (tokenmint-client-\w+): \S", example, re.MULTILINE)
    assert names == ["tokenmint-client-id", "tokenmint-client-secret"] * 2  # set for the question, then removed
    given = {
        "X-Forwarded-Method": "GET", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "orders.example",
        "X-Forwarded-Uri": "/orders/1", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Server": "edge",
        "X-Real-Ip": "192.0.2.7", "User-Agent": "x", "Accept-Encoding": "gzip", "Cookie": "a=1",
        "Authorization": f"Bearer {setting.token()}", names[0]: "gateway", names[1]: CLIENT.reveal(), **headers,
    }  # fmt: skip
    address = re.search(r"address: (\S+)", example)
    assert address is not None
    with plain_http.sync_client() as http:
        url = address[1].replace(":8080", f":{setting.port}")
        answer = http.get(url, headers={name: value for name, value in given.items() if value is not None})
    assert answer.status_code == status, case
    copied = re.search(r"authResponseHeaders: \[(.*)\]", example)
    assert copied is not None
    if status == 200:
        assert [name for name in copied[1].split(", ") if name not in answer.headers] == []


# --- answers that are kept ----------------------------------------------------------------------------------------

KEEPERS = [gateway for gateway in ALL if gateway.keeps]
REQUESTS, TOKENS = 10_000, 100


def session(setting: Setting) -> str:
    request = pb.ExchangeTokenRequest(subject_token=setting.token(), audience=SESSION)
    with grpc.insecure_channel(setting.service.listen["grpc"]) as channel:
        return TokenExchangeServiceStub(channel).ExchangeToken(request, **setting.service.auth()).token


def revoke(setting: Setting, token: str) -> None:
    with grpc.insecure_channel(setting.service.listen["grpc"]) as channel:
        TokenExchangeServiceStub(channel).RevokeToken(pb.RevokeTokenRequest(token=token), **setting.service.auth())


def last_pass(url: str, handle: str) -> float:
    """Ask without end until a request is refused; return when the last one that passed began."""
    last = time.monotonic()
    while True:
        began = time.monotonic()
        if get(url, Cookie=f"{COOKIE}={handle}").status_code == 401:
            return last
        last = began


@pytest.mark.parametrize("gateway", KEEPERS, ids=lambda one: one.name)
def test_of_10000_requests_with_100_tokens_tokenmint_answers_100(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    with ExitStack() as stack:
        setting = setting_of(stack, tmp_path, cache="5m")
        url = stack.enter_context(
            running(gateway, tmp_path / "edge", tokenmint=setting.port, backend=setting.backend, longer=True)
        )
        tokens = [setting.token(sub=f"user-{number}") for number in range(TOKENS)]
        headers = [{"Authorization": f"Bearer {tokens[number % TOKENS]}"} for number in range(REQUESTS)]
        assert statuses_of(url, headers) == [200] * REQUESTS
        assert setting.minted() == TOKENS
        same = [get(url, token, Host="orders.example") for token in tokens[:10]]
        principals = {seen(answer)["x-tokenmint-principal"] for answer in same}
        assert len(principals) == 10  # nobody gets the answer of another
        assert setting.minted() == TOKENS


@pytest.mark.parametrize("gateway", KEEPERS, ids=lambda one: one.name)
def test_a_revoked_session_is_refused_within_a_second(setting: Setting, gateway: Gateway, tmp_path: Path) -> None:
    with running(gateway, tmp_path, tokenmint=setting.port, backend=setting.backend) as url:
        handle = session(setting)
        before = setting.minted()
        kept = statuses_of(url, [{"Cookie": f"{COOKIE}={handle}"}] * 100)
        assert kept == [200] * 100
        assert setting.minted() - before < 50  # most were answered by the gateway
        with ThreadPoolExecutor(1) as pool:
            until_refused = pool.submit(last_pass, url, handle)
            revoke(setting, handle)
            revoked = time.monotonic()
            last = until_refused.result()
        print(f"{gateway.name}: the last request that passed began {last - revoked:+.2f} s after the revocation")
        assert last - revoked <= 1


def test_a_key_that_is_too_coarse_gives_nobody_the_token_of_another(setting: Setting, tmp_path: Path) -> None:
    """`Vary` of the answer counts for NGINX also where the configured key has no token."""
    text = (EXAMPLES / "nginx.conf").read_text()
    coarse = Gateway(
        NGINX.name, NGINX.program, NGINX.files, NGINX.command, keeps=True,
        settings={'proxy_cache_key "$asked_for $time_iso8601"': 'proxy_cache_key "$host"'},
    )  # fmt: skip
    assert all(before in text for before in coarse.settings)
    with running(coarse, tmp_path, tokenmint=setting.port, backend=setting.backend, longer=True) as url:
        for number in range(4):
            token = setting.token(sub=f"coarse-{number}")
            claims = jwt.decode(seen(get(url, token))["authorization"][7:], options={"verify_signature": False})
            assert seen(get(url, token))["x-tokenmint-principal"] == claims["sub"]
        principals = {
            seen(get(url, setting.token(sub=f"coarse-{number}")))["x-tokenmint-principal"] for number in range(4)
        }
        assert len(principals) == 4
        assert get(url).status_code == 401


def test_every_example_is_of_a_gateway() -> None:
    files = {file.name for file in EXAMPLES.iterdir()} - {"tokenmint.toml", "application.py", "envoy.yaml"}
    assert files == {name for gateway in ALL for name in gateway.files}
    assert HAPROXY in ALL
