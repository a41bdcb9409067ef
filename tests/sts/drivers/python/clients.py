"""The clients of PyPI, each unchanged. A line of standard output is a row: client, flow, and token or refusal."""

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import msal
import requests
from authlib.integrations.requests_client import AssertionSession, OAuth2Session
from authlib.oauth2.drafts.id_jag import IDJAGGrant
from google.auth import identity_pool
from google.auth.transport.requests import Request as GoogleRequest
from mcp import Client
from mcp.client.auth import TokenStorage
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

WORLD: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:"
EXCHANGE, BEARER = (f"urn:ietf:params:oauth:grant-type:{name}" for name in ("token-exchange", "jwt-bearer"))
HOME, AWAY = (f"{WORLD[name]}/oauth2/token" for name in ("home", "away"))
SECRET = WORLD["secret"]


def row(client: str, flow: str, run: Callable[[], dict[str, Any]]) -> None:
    """Print how a client fared."""
    try:
        told = run()
    except Exception as error:  # noqa: BLE001  # a client's refusal is of a class of its own
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        told = {"error": f"{type(cause).__name__}: {cause}"}
    print(json.dumps({"client": client, "flow": flow, **told}), flush=True)


def id_jag(audience: str, resource: str, scope: str = "tools.call") -> str:
    """An ID-JAG of home, by Authlib's client."""
    with OAuth2Session("web", SECRET, token_endpoint_auth_method="client_secret_basic") as session:
        answer = session.fetch_token(
            HOME, grant_type=EXCHANGE, requested_token_type=TOKEN_TYPE + "id-jag", subject_token=WORLD["user"],
            subject_token_type=TOKEN_TYPE + "id_token", audience=audience, resource=resource, scope=scope,
        )  # fmt: skip
    token: str = answer["access_token"]
    return token


# --- google-auth --------------------------------------------------------------------------------------------------


def google(**more: Any) -> dict[str, Any]:
    file = Path(sys.argv[1]).with_name("subject-token")
    file.write_text(WORLD["user"])
    credentials = identity_pool.Credentials(
        audience=WORLD["orders"], subject_token_type=TOKEN_TYPE + "id_token", token_url=HOME,
        credential_source={"file": str(file)}, client_id="web", client_secret=SECRET, **more,
    )  # fmt: skip
    with requests.Session() as session:
        credentials.refresh(GoogleRequest(session))
    return {"token": credentials.token}


row("google-auth identity_pool", "token exchange", lambda: google(scopes=["read"]))
row("google-auth identity_pool", "token exchange, without scopes", google)


# --- Authlib ------------------------------------------------------------------------------------------------------


def authlib_exchange() -> dict[str, Any]:
    with OAuth2Session("web", SECRET, token_endpoint_auth_method="client_secret_basic") as session:
        answer = session.fetch_token(
            HOME, grant_type=EXCHANGE, subject_token=WORLD["user"], audience=WORLD["orders"], scope="read",
            subject_token_type=TOKEN_TYPE + "id_token",
        )  # fmt: skip
        token = answer["access_token"]

        def active() -> Any:
            return session.introspect_token(f"{WORLD['home']}/oauth2/introspect", token=token).json()["active"]

        before = active()
        session.revoke_token(f"{WORLD['home']}/oauth2/revoke", token=token)
        return {"token": token, "scope": answer["scope"], "seen": {"before": before, "after": active()}}


def authlib_grant(assertion: str, **more: Any) -> dict[str, Any]:
    with OAuth2Session("mcp-client", SECRET, token_endpoint_auth_method="client_secret_basic") as session:
        answer = session.fetch_token(AWAY, grant_type=BEARER, assertion=assertion, **more)
    return {"token": answer["access_token"], "scope": answer.get("scope")}


def authlib_id_jag() -> str:
    """An ID-JAG of another identity provider for away, signed by Authlib."""
    assertion: str = IDJAGGrant.sign(
        WORLD["authlib_key"], "https://authlib-idp.example", WORLD["away"], "ada", "mcp-client",
        claims={"resource": WORLD["mcp"], "scope": "tools.list"}, alg="ES256", header={"kid": "a"},
    )  # fmt: skip
    return assertion


def authlib_assertion_session() -> dict[str, Any]:
    """Its session for RFC 7523 signs the assertion itself, and authenticates no client."""
    session = AssertionSession(
        AWAY, "https://authlib-idp.example", "ada", WORLD["away"], key=WORLD["authlib_key"], client_id="mcp-client",
        header={"alg": "ES256", "kid": "a", "typ": "oauth-id-jag+jwt"},
        claims={"client_id": "mcp-client", "resource": WORLD["mcp"], "scope": "tools.list"},
    )  # fmt: skip
    session.refresh_token()
    return {"token": session.token["access_token"]}


row("Authlib OAuth2Session", "token exchange, introspection, revocation", authlib_exchange)
row("Authlib OAuth2Session", "ID-JAG, leg 1", lambda: {"token": id_jag(WORLD["away"], WORLD["mcp"])})
row("Authlib OAuth2Session", "ID-JAG, leg 2", lambda: authlib_grant(id_jag(WORLD["away"], WORLD["mcp"])))
row("Authlib IDJAGGrant.sign", "its ID-JAG, leg 2", lambda: authlib_grant(authlib_id_jag()))
Path(sys.argv[1]).with_name("authlib-id-jag").write_text(authlib_id_jag())  # for tokenmint's own client
row("Authlib AssertionSession", "its ID-JAG without client authentication", authlib_assertion_session)


# --- the MCP SDK --------------------------------------------------------------------------------------------------


class Storage(TokenStorage):
    """Keeps tokens in memory."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError(client_info)


async def mcp_call() -> dict[str, Any]:
    async def assertion(audience: str, resource: str) -> str:
        return await asyncio.to_thread(id_jag, audience, resource)

    storage = Storage()
    provider = IdentityAssertionOAuthProvider(
        WORLD["mcp"], storage, "mcp-client", SECRET, WORLD["away"], assertion, scope="tools.call",
        token_endpoint_auth_method="client_secret_basic",
    )  # fmt: skip
    async with (
        httpx2.AsyncClient(auth=provider, timeout=20) as http,
        Client(streamable_http_client(WORLD["mcp"], http_client=http)) as client,
    ):
        answer = await client.call_tool("whoami", {})
    assert storage.tokens is not None
    content: Any = answer.content[0]
    return {"token": storage.tokens.access_token, "seen": json.loads(content.text)}


row("MCP SDK (Python)", "leg 2 with our ID-JAG, and a call of a tool", lambda: asyncio.run(mcp_call()))


# --- MSAL ---------------------------------------------------------------------------------------------------------


def msal_on_behalf_of(assertion: str) -> dict[str, Any]:
    app = msal.ConfidentialClientApplication(
        "mcp-client",
        client_credential=SECRET,
        oidc_authority=WORLD["msal_discovery"] + "/tenant",
        http_client=requests.Session(),
    )
    answer = app.acquire_token_on_behalf_of(assertion, ["tools.call"])
    return {"token": answer["access_token"]} if "access_token" in answer else {"error": json.dumps(answer)}


row("MSAL on behalf of", "ID-JAG as its assertion", lambda: msal_on_behalf_of(id_jag(WORLD["away"], WORLD["mcp"])))
row("MSAL on behalf of", "an access token as its assertion", lambda: msal_on_behalf_of(WORLD["access"]))


# --- Their servers take our ID-JAGs -------------------------------------------------------------------------------


def taken(server: str, audience: str, resource: str) -> dict[str, Any]:
    """Present an ID-JAG for `audience` to a server."""
    assertion = id_jag(WORLD[audience], resource)
    auth = ("mcp-client", SECRET)
    form = {"grant_type": BEARER, "assertion": assertion, "client_id": "mcp-client"}
    answer = requests.post(f"{WORLD[server]}/token", data=form, auth=auth, timeout=20)
    told = answer.json()
    if answer.status_code != 200:
        return {"error": json.dumps(told)}
    return {"seen": json.loads(base64.urlsafe_b64decode(told["access_token"] + "==")), "scope": told.get("scope")}


for name, server in (
    ("Authlib server (IDJAGGrant)", "authlib_server"),
    ("MCP SDK server (Python)", "mcp_server"),
    ("FastMCP's validator", "fastmcp_server"),
):
    resource = f"{WORLD[server]}/mcp"
    row(name, "takes our ID-JAG", partial(taken, server, server, resource))
    row(name, "refuses our ID-JAG for another server", partial(taken, server, "away", WORLD["mcp"]))
