"""Servers of the Model Context Protocol by its official package, with real clients over real HTTP."""

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import httpx
import httpx2
import pytest
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from tests.bearer_cases import AUDIENCE, ISSUER, Keys
from tests.clients import minter
from tests.issuer import Issuer, ec_key, serving
from tests.unit.clients.test_middleware import uvicorn_of

from tokenmint_client import AsyncVerifier, Client, KeySetUnavailable, ProtectedResource, PublicClient, Revocations
from tokenmint_client.mcp import McpTokenMiddleware, McpTokenVerifier, McpUnavailableMiddleware

pytestmark = pytest.mark.slow

RESOURCE: Final = "https://api.example/mcp"
CALL: Final = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
HEADERS: Final = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


def whoami() -> str:
    """Return the caller, and the party that acts for it."""
    token = get_access_token()
    assert token is not None
    acting = (token.claims or {}).get("act", {}).get("sub", "nobody")
    return f"{token.subject} by {acting} for {token.client_id}"


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


def verifier_of(keys: Keys, revocations: Revocations | None = None) -> AsyncVerifier:
    return AsyncVerifier(ISSUER, AUDIENCE, jwks_url=keys.url, clock=keys.clock, revocations=revocations)


def token_of(**changes: Any) -> str:
    signer = Issuer(url=ISSUER, key=ec_key(1), key_id="k1", algorithm="ES256")
    good = {"sub": "ada", "aud": AUDIENCE, "scope": "read", "client_id": "agent", "exp": int(time.time()) + 600}
    return signer.token(time.time(), {"typ": "at+jwt"}, **{**good, **changes})


def checking(keys: Keys, revocations: Revocations | None) -> Starlette:
    """A server that checks tokens itself, by our verifier."""
    auth = AuthSettings(
        issuer_url="https://login.example", resource_server_url=RESOURCE, required_scopes=["read"],
        validate_token_resource=True,
    )  # fmt: skip
    server = MCPServer("orders", auth=auth, token_verifier=McpTokenVerifier(verifier_of(keys, revocations), RESOURCE))
    server.tool()(whoami)
    return server.streamable_http_app()


@contextmanager
def with_verifier(keys: Keys, revocations: Revocations | None = None) -> Iterator[str]:
    with uvicorn_of(checking(keys, revocations), lifespan="on") as base:
        yield base


@contextmanager
def with_verifier_behind(keys: Keys, revocations: Revocations | None = None) -> Iterator[str]:
    """The same behind our answer to requests that can't be judged."""
    with uvicorn_of(McpUnavailableMiddleware(checking(keys, revocations)), lifespan="on") as base:
        yield base


@contextmanager
def with_verifier_and_added(keys: Keys, revocations: Revocations | None = None) -> Iterator[str]:
    """The same, added to the application's own middleware."""
    app = checking(keys, revocations)
    app.add_middleware(McpUnavailableMiddleware)
    with uvicorn_of(app, lifespan="on") as base:
        yield base


@contextmanager
def with_middleware(keys: Keys, revocations: Revocations | None = None) -> Iterator[str]:
    """A server behind our middleware."""
    server = MCPServer("orders")
    server.tool()(whoami)
    resource = ProtectedResource(RESOURCE, ["https://login.example"], scopes_supported=["read"])
    verifier = verifier_of(keys, revocations)
    app = McpTokenMiddleware(server.streamable_http_app(), verifier, resource=resource, scopes=["read"])
    with uvicorn_of(app, lifespan="on") as base:
        yield base


SERVERS: Final = {
    "verifier": with_verifier, "verifier, behind": with_verifier_behind, "verifier, added": with_verifier_and_added,
    "middleware": with_middleware,
}  # fmt: skip
UNAVAILABLE: Final = [("verifier", 500), ("verifier, behind", 503), ("verifier, added", 503), ("middleware", 503)]


@asynccontextmanager
async def client_of(base: str, token: str) -> AsyncIterator[McpClient]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        McpClient(streamable_http_client(f"http://{base}/mcp", http_client=http)) as client,
    ):
        yield client


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_tool_sees_the_principal_and_who_acts_for_it(kind: str, keys: Keys) -> None:
    with SERVERS[kind](keys) as base:
        async with client_of(base, token_of(act={"sub": "assistant"})) as client:
            answer = await client.call_tool("whoami", {})
    assert [part.text for part in answer.content] == ["ada by assistant for agent"]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", SERVERS)
def test_rfc9728_a_refused_client_is_told_where_the_metadata_are(kind: str, keys: Keys) -> None:
    url = "https://api.example/.well-known/oauth-protected-resource/mcp"
    with SERVERS[kind](keys) as base:
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
def test_a_bound_token_is_not_accepted_as_a_bearer_token(kind: str, keys: Keys) -> None:
    with SERVERS[kind](keys) as base:
        answer = httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(token_of(cnf={"jkt": "x"})))
    assert answer.status_code == 401


@pytest.mark.parametrize(("kind", "status"), UNAVAILABLE)
def test_without_keys_clients_are_not_sent_to_sign_in_again(kind: str, status: int, keys: Keys) -> None:
    keys.issuer.status = 503
    with SERVERS[kind](keys) as base:
        answer = httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(token_of()))
    assert answer.status_code == status
    assert "WWW-Authenticate" not in answer.headers
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize(("kind", "status"), UNAVAILABLE)
def test_without_revocations_clients_are_not_sent_to_sign_in_again(kind: str, status: int, keys: Keys) -> None:
    with SERVERS[kind](keys, Away()) as base:
        answer = httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(token_of()))
    assert answer.status_code == status
    assert "WWW-Authenticate" not in answer.headers
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert "127.0.0.1" not in answer.text


async def test_rfc9449_section_7_the_middleware_accepts_bound_tokens_with_a_proof(keys: Keys) -> None:
    token = token_of(cnf={"jkt": minter.thumbprint("a")})

    class Proving(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Any:
            proof = minter.proof({"htm": request.method}, RESOURCE, token, time.time())
            request.headers.update({"Authorization": f"DPoP {token}", "DPoP": proof})
            yield request

    with with_middleware(keys) as base:
        async with (
            httpx2.AsyncClient(auth=Proving()) as http,
            McpClient(streamable_http_client(f"http://{base}/mcp", http_client=http)) as client,
        ):
            answer = await client.call_tool("whoami", {})
    assert [part.text for part in answer.content] == ["ada by nobody for agent"]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", SERVERS)
def test_a_session_belongs_to_the_principal_that_began_it(
    kind: str, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    begin = {
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
        },
    }  # fmt: skip
    ada, eve = token_of(), token_of(sub="eve")
    with SERVERS[kind](keys) as base:
        began = httpx.post(f"http://{base}/mcp", json=begin, headers=_bearer(ada))
        session = {"Mcp-Session-Id": began.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-06-18"}
        noted = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert httpx.post(f"http://{base}/mcp", json=noted, headers=_bearer(ada, **session)).status_code == 202
        assert "ada by nobody" in httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(ada, **session)).text
        assert httpx.post(f"http://{base}/mcp", json=CALL, headers=_bearer(eve, **session)).status_code == 404
    assert ada not in caplog.text


def _bearer(token: str, **more: str) -> dict[str, str]:
    return {**HEADERS, "Authorization": f"Bearer {token}", **more}


async def test_an_application_that_verifies_further_tokens_keeps_its_own_answer(keys: Keys) -> None:
    keys.issuer.status = 503
    verifier = McpTokenVerifier(verifier_of(keys))
    sent: list[Any] = []

    async def application(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(KeySetUnavailable):
            await verifier.verify_token(token_of())
        await send({"type": "http.response.body", "body": b"well"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    await McpUnavailableMiddleware(application)({"type": "http"}, receive, send)
    assert [message.get("status", message.get("body")) for message in sent] == [200, b"well"]
