"""Servers of the Model Context Protocol by its official package, and its client.

The package takes longer to import than the whole service, in each process that collects tests. So `test_mcp.py` imports
this module in a fixture.
"""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import httpx2
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from tests.bearer_cases import AUDIENCE, ISSUER, Keys
from tests.clients import minter
from tests.unit.clients.test_middleware import uvicorn_of

from tokenmint_client import AsyncVerifier, ProtectedResource, Revocations
from tokenmint_client.mcp import McpTokenMiddleware, McpTokenVerifier, McpUnavailableMiddleware

RESOURCE: Final = "https://api.example/mcp"


def whoami() -> str:
    """Return the caller, and the party that acts for it."""
    token = get_access_token()
    assert token is not None
    acting = (token.claims or {}).get("act", {}).get("sub", "nobody")
    return f"{token.subject} by {acting} for {token.client_id}"


def verifier(keys: Keys, revocations: Revocations | None = None) -> McpTokenVerifier:
    """Our verifier, as the package wants one."""
    return McpTokenVerifier(_verifier(keys, revocations), RESOURCE)


def checking(keys: Keys, revocations: Revocations | None) -> Starlette:
    """A server that checks tokens itself, by our verifier."""
    auth = AuthSettings(
        issuer_url="https://login.example", resource_server_url=RESOURCE, required_scopes=["read"],
        validate_token_resource=True,
    )  # fmt: skip
    server = MCPServer("orders", auth=auth, token_verifier=verifier(keys, revocations))
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
    checks = _verifier(keys, revocations)
    app = McpTokenMiddleware(server.streamable_http_app(), checks, resource=resource, scopes=["read"])
    with uvicorn_of(app, lifespan="on") as base:
        yield base


SERVERS: Final = {
    "verifier": with_verifier, "verifier, behind": with_verifier_behind, "verifier, added": with_verifier_and_added,
    "middleware": with_middleware,
}  # fmt: skip


@asynccontextmanager
async def client_of(base: str, auth: httpx2.Auth) -> AsyncIterator[McpClient]:
    async with (
        httpx2.AsyncClient(auth=auth) as http,
        McpClient(streamable_http_client(f"http://{base}/mcp", http_client=http)) as client,
    ):
        yield client


class Bearer(httpx2.Auth):
    """Sends a token as a bearer token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class Proving(Bearer):
    """Sends a bound token, with a proof for each request."""

    def auth_flow(self, request: httpx2.Request) -> Any:
        proof = minter.proof({"htm": request.method}, RESOURCE, self._token, time.time())
        request.headers.update({"Authorization": f"DPoP {self._token}", "DPoP": proof})
        yield request


def _verifier(keys: Keys, revocations: Revocations | None) -> AsyncVerifier:
    return AsyncVerifier(ISSUER, AUDIENCE, jwks_url=keys.url, clock=keys.clock, revocations=revocations)
