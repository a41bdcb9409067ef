"""Gateways: a real Envoy, and the recorded requests of those that can't be built from packages.

agentgateway and Envoy AI Gateway are in no registry. Their requests, and those of further clients, are in
`tests/e2e/test_recorded_clients.py`, as their sources build them. Here they go to a real service.
"""

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import httpx2
import jwt
from tests.e2e import test_recorded_clients as recorded
from tests.envoy import binary
from tests.interop import test_envoy_exchange as envoy
from tests.issuer import Issuer, serving
from tests.process import CLIENT, Service
from tests.sts.table import Outcome

LIMIT: Final = 20.0  # seconds for an answer
ISSUER: Final = "https://tokens.example"
IDP: Final = Issuer(url="https://idp.example")
CONFIG: Final = f"""
issuer = "{ISSUER}"
data_dir = "data"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"

[providers.idp]
issuer = "{IDP.url}"
audiences = ["app"]
jwks = '''{IDP.jwks().decode()}'''
"""


def outcomes(directory: Path) -> list[Outcome]:
    """Run Envoy, and send every recorded request."""
    played = [Outcome("Envoy (ext_authz)", "swaps a user's token for ours", _fault_of_envoy(directory))]
    home = directory / "recorded"
    home.mkdir()
    (home / "tokenmint.toml").write_text(CONFIG + recorded.EXTRA)
    with Service(home) as service, httpx2.Client(timeout=LIMIT, trust_env=False) as http:
        url = f"http://{service.listen['http']}"
        keys = jwt.PyJWKClient(f"{url}/.well-known/jwks.json")
        for name, sent in recorded.REQUESTS.items():
            client, _, flow = name.partition(", ")
            fault = ""
            try:
                _check(http.post(f"{url}/oauth2/token", **_request(sent)), sent, keys)
            except (AssertionError, KeyError, httpx2.HTTPError, jwt.PyJWTError) as error:
                fault = f"{type(error).__name__}: {error}"
            remark = f"refused: {sent.told[0]}" if sent.told[0] else ""
            played.append(Outcome(f"recorded: {client}", flow or "token exchange", fault, remark, refused=bool(remark)))
    return played


def _request(sent: recorded.Recorded) -> dict[str, Any]:
    """Return the body of a recorded request, with tokens in their places, and its headers."""
    now = time.time()
    cluster = recorded.CLUSTER
    tokens = {
        "user": IDP.token(now),
        "access": cluster.token(now, iss="https://apis.example", headers={"typ": "at+jwt"}),
        "agent": cluster.token(now, sub="system:serviceaccount:agents:planner", aud=ISSUER),
        "secret": recorded.SECRET,
        "assertion": recorded.client_assertion(now, "recorded"),
    }
    body = re.sub(r"\{(\w+)\}", lambda found: tokens[found[1]], sent.body)
    headers = {"Content-Type": sent.content_type}
    if sent.client:
        pair = f"{quote_plus(sent.client)}:{quote_plus(recorded.SECRET)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return {"content": body.encode(), "headers": headers}


def _check(answer: httpx2.Response, sent: recorded.Recorded, keys: jwt.PyJWKClient) -> None:
    told = answer.json()
    found = (answer.status_code, told.get("error", ""), told.get("reason", ""))
    assert found == (sent.status, *sent.told), told
    if sent.status != 200:
        return
    token = told["access_token"]
    claims = jwt.decode(
        token, keys.get_signing_key_from_jwt(token), algorithms=["ES256"], issuer=ISSUER,
        audience=[recorded.MCP, recorded.OPEN],
    )  # fmt: skip
    assert claims["client_id"] == (sent.client or claims["client_id"])
    assert told.get("scope") == sent.scope == claims.get("scope"), claims
    assert ("act" in claims) is sent.act, claims


@contextmanager
def _edge(directory: Path) -> Iterator[tuple[str, Service, Issuer]]:
    ours = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{CLIENT.fingerprint()}", envoy.OURS)
    with serving(Issuer()) as issuer, envoy.application() as backend:
        (directory / "tokenmint.toml").write_text(envoy.CONFIG.format(issuer=issuer.url) + ours)
        with Service(directory) as service, envoy.gateway(binary(), directory, service, backend) as url:
            yield url, service, issuer


def _fault_of_envoy(directory: Path) -> str:
    """Return what was wrong with the example of deploy/envoy under a real Envoy; empty: nothing."""
    home = directory / "envoy"
    home.mkdir()
    try:
        with _edge(home) as (url, service, issuer), httpx2.Client(timeout=LIMIT, trust_env=False) as http:
            theirs = issuer.token(time.time())
            answer = http.get(f"{url}/orders/1", headers={"Authorization": f"Bearer {theirs}"})
            assert answer.status_code == 200, answer.text
            token = json.loads(answer.content)["authorization"].removeprefix("Bearer ")
            origin = f"http://{service.listen['http']}"
            key = jwt.PyJWKClient(f"{origin}/.well-known/jwks.json").get_signing_key_from_jwt(token)
            claims = jwt.decode(token, key, algorithms=["ES256"], audience=envoy.AUDIENCE, issuer=origin)
            assert (claims["client_id"], claims["scope"]) == ("gateway", "read"), claims
            assert http.get(f"{url}/orders/1").status_code == 401
    except (AssertionError, KeyError, httpx2.HTTPError, jwt.PyJWTError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
