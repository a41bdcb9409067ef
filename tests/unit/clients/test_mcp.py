"""Servers of the Model Context Protocol by its official package, with real clients over real HTTP."""

import logging
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import httpx
import pytest
from tests.bearer_cases import AUDIENCE, ISSUER, Keys
from tests.clients import minter
from tests.issuer import Issuer, ec_key, serving

from tokenmint_client import Client, KeySetUnavailable, PublicClient, Revocations

pytestmark = pytest.mark.slow

RESOURCE: Final = "https://api.example/mcp"
CALL: Final = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
SERVERS: Final = ("verifier", "verifier, behind", "verifier, added", "middleware")
UNAVAILABLE: Final = [("verifier", 500), ("verifier, behind", 503), ("verifier, added", 503), ("middleware", 503)]
HEADERS: Final = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def mcp() -> ModuleType:
    """The servers and the client; their package is imported where it is used."""
    from tests.unit.clients import mcp_servers

    return mcp_servers


@pytest.fixture
def keys() -> Iterator[Keys]:
    with serving(Issuer()) as issuer:
        yield Keys(issuer)


class Away(Revocations):
    """Revocations whose stream never opens; a verification would wait 5 s for it."""

    def __init__(self) -> None:
        super().__init__(Client("127.0.0.1:9", PublicClient("api"), plaintext=True), AUDIENCE)

    def await_first(self) -> None:
        """Do not wait."""


def token_of(**changes: Any) -> str:
    signer = Issuer(url=ISSUER, key=ec_key(1), key_id="k1", algorithm="ES256")
    good = {"sub": "ada", "aud": AUDIENCE, "scope": "read", "client_id": "agent", "exp": int(time.time()) + 600}
    return signer.token(time.time(), {"typ": "at+jwt"}, **{**good, **changes})


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_tool_sees_the_principal_and_who_acts_for_it(kind: str, keys: Keys, mcp: ModuleType) -> None:
    with mcp.SERVERS[kind](keys) as base:
        async with mcp.client_of(base, mcp.Bearer(token_of(act={"sub": "assistant"}))) as client:
            answer = await client.call_tool("whoami", {})
    assert [part.text for part in answer.content] == ["ada by assistant for agent"]


@pytest.mark.parametrize("kind", SERVERS)
def test_rfc9728_a_refused_client_is_told_where_the_metadata_are(kind: str, keys: Keys, mcp: ModuleType) -> None:
    url = "https://api.example/.well-known/oauth-protected-resource/mcp"
    with mcp.SERVERS[kind](keys) as base:
        for token in ("", token_of(exp=int(time.time()) - 60), token_of(aud="https://others.example"), "x.y.z"):
            headers = {**HEADERS, "Authorization": f"Bearer {token}"} if token else HEADERS
            answer = httpx.post(f"http://{base}/mcp", json=CALL, headers=headers)
            assert answer.status_code == 401
            assert f'resource_metadata="{url}"' in answer.headers["WWW-Authenticate"]
        answer = httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(token_of(scope="write")))
        assert answer.status_code == 403
        metadata = httpx.get(f"http://{base}/.well-known/oauth-protected-resource/mcp").json()
    assert metadata["resource"] == RESOURCE
    assert [server.rstrip("/") for server in metadata["authorization_servers"]] == ["https://login.example"]


@pytest.mark.parametrize("kind", SERVERS)
def test_a_bound_token_is_not_accepted_as_a_bearer_token(kind: str, keys: Keys, mcp: ModuleType) -> None:
    with mcp.SERVERS[kind](keys) as base:
        answer = httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(token_of(cnf={"jkt": "x"})))
    assert answer.status_code == 401


@pytest.mark.parametrize(("kind", "status"), UNAVAILABLE)
def test_without_keys_clients_are_not_sent_to_sign_in_again(
    kind: str, status: int, keys: Keys, mcp: ModuleType
) -> None:
    keys.issuer.status = 503
    with mcp.SERVERS[kind](keys) as base:
        answer = httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(token_of()))
    assert answer.status_code == status
    assert "WWW-Authenticate" not in answer.headers
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize(("kind", "status"), UNAVAILABLE)
def test_without_revocations_clients_are_not_sent_to_sign_in_again(
    kind: str, status: int, keys: Keys, mcp: ModuleType
) -> None:
    with mcp.SERVERS[kind](keys, Away()) as base:
        answer = httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(token_of()))
    assert answer.status_code == status
    assert "WWW-Authenticate" not in answer.headers
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert "127.0.0.1" not in answer.text


async def test_rfc9449_section_7_the_middleware_accepts_bound_tokens_with_a_proof(keys: Keys, mcp: ModuleType) -> None:
    token = token_of(cnf={"jkt": minter.thumbprint("a")})

    with mcp.with_middleware(keys) as base:
        async with mcp.client_of(base, mcp.Proving(token)) as client:
            answer = await client.call_tool("whoami", {})
    assert [part.text for part in answer.content] == ["ada by nobody for agent"]


@pytest.mark.parametrize("kind", SERVERS)
def test_a_session_belongs_to_the_principal_that_began_it(
    kind: str, keys: Keys, mcp: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    begin = {
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
        },
    }  # fmt: skip
    ada, eve = token_of(), token_of(sub="eve")
    with mcp.SERVERS[kind](keys) as base:
        began = httpx.post(f"http://{base}/mcp", json=begin, headers=_bearer(ada))
        session = {"Mcp-Session-Id": began.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-06-18"}
        noted = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert httpx.post(f"http://{base}/mcp", json=noted, headers=_bearer(ada, **session)).status_code == 202
        assert "ada by nobody" in httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(ada, **session)).text
        assert httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(eve, **session)).status_code == 404
    assert ada not in caplog.text


async def test_an_application_that_verifies_further_tokens_keeps_its_own_answer(keys: Keys, mcp: ModuleType) -> None:
    keys.issuer.status = 503
    sent: list[Any] = []

    async def application(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(KeySetUnavailable):
            await mcp.verifier(keys).verify_token(token_of())
        await send({"type": "http.response.body", "body": b"well"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    await mcp.McpUnavailableMiddleware(application)({"type": "http"}, receive, send)
    assert [message.get("status", message.get("body")) for message in sent] == [200, b"well"]


def _bearer(token: str, **more: str) -> dict[str, str]:
    return {**HEADERS, "Authorization": f"Bearer {token}", **more}
