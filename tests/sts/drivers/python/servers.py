"""Servers made of other projects' packages: an MCP server with tokenmint's tokens, and three that take our ID-JAGs.

Each of the three answers with the claims that it found in the ID-JAG, as its access token in base64url.
"""

import base64
import json
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import jwt
import uvicorn
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.drafts.id_jag import IDJAGGrant
from fastmcp.server.auth.identity_assertion import IdentityAssertion, IdentityAssertionError, IdentityAssertionValidator
from flask import Flask
from joserfc.jwk import KeySet
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, IdentityAssertionParams, TokenError, TokenVerifier
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import AuthSettings
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from werkzeug.serving import make_server

WORLD: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
SECRET = WORLD["secret"]


def port(name: str) -> int:
    return int(WORLD[name].removesuffix("/mcp").rpartition(":")[2])


def shown(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def keys_of(server: str) -> jwt.PyJWKClient:
    return jwt.PyJWKClient(f"{WORLD[server]}/.well-known/jwks.json")


# --- an MCP server ------------------------------------------------------------------------------------------------


class Verifier(TokenVerifier):
    """Verifies away's access tokens with PyJWT."""

    def __init__(self) -> None:
        self._keys = keys_of("away")

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(token, key, algorithms=["ES256"], audience=WORLD["mcp"], issuer=WORLD["away"])
        except jwt.PyJWTError:
            return None
        scopes = claims.get("scope", "").split()
        return AccessToken(
            token=token, client_id=claims["client_id"], scopes=scopes, resource=claims["aud"], claims=claims
        )


mcp = MCPServer(
    "tools", token_verifier=Verifier(),
    auth=AuthSettings(
        issuer_url=AnyHttpUrl(WORLD["away"]), resource_server_url=AnyHttpUrl(WORLD["mcp"]),
        required_scopes=["tools.call"], validate_token_resource=True,
    ),
)  # fmt: skip


@mcp.tool()
def whoami() -> str:
    """Return the claims of the caller's token."""
    found = get_access_token()
    assert found is not None
    return json.dumps(found.claims)


# --- the MCP SDK's authorization server ---------------------------------------------------------------------------


class McpProvider:
    """Validates ID-JAGs as the SDK's documentation asks of its user; all else is the SDK."""

    def __init__(self) -> None:
        self._keys = keys_of("home")

    async def get_client(self, client_id: str) -> OAuthClientInformationFull:
        return OAuthClientInformationFull(
            client_id=client_id, client_secret=SECRET, redirect_uris=None, grant_types=[IDJAGGrant.GRANT_TYPE],
            token_endpoint_auth_method="client_secret_basic",
        )  # fmt: skip

    async def exchange_identity_assertion(
        self, client: OAuthClientInformationFull, params: IdentityAssertionParams
    ) -> OAuthToken:
        token = params.assertion
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token, key, algorithms=["ES256"], audience=WORLD["mcp_server"], issuer=WORLD["home"],
                options={"require": ["exp", "iat", "jti", "sub", "client_id"]},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise TokenError("invalid_grant", str(error)) from error
        if jwt.get_unverified_header(token)["typ"] != "oauth-id-jag+jwt" or claims["client_id"] != client.client_id:
            raise TokenError("invalid_grant", "another type, or another client")
        return OAuthToken(access_token=shown(claims), scope=claims["scope"])


mcp_provider: Any = McpProvider()  # the SDK calls no other method of its protocol here
mcp_server = Starlette(
    routes=create_auth_routes(mcp_provider, AnyHttpUrl(WORLD["mcp_server"]), identity_assertion_enabled=True)
)


# --- FastMCP's validator ------------------------------------------------------------------------------------------

validator = IdentityAssertionValidator(
    IdentityAssertion(trusted_issuers=[WORLD["home"]], algorithm="ES256"), WORLD["fastmcp_server"]
)


async def fastmcp_token(request: Request) -> JSONResponse:
    form = await request.form()
    try:
        claims = await validator.validate(
            str(form["assertion"]), client_id="mcp-client", resource_url=WORLD["fastmcp_server"] + "/mcp"
        )
    except IdentityAssertionError as error:
        return JSONResponse({"error": "invalid_grant", "error_description": str(error)}, 400)
    return JSONResponse({"access_token": shown(claims), "token_type": "Bearer", "scope": claims["scope"]})


fastmcp_server = Starlette(routes=[Route("/token", fastmcp_token, methods=["POST"])])


# --- MSAL's discovery document -------------------------------------------------------------------------------------


async def msal_document(request: Request) -> JSONResponse:
    authority = f"{WORLD['msal_discovery']}/tenant"
    return JSONResponse(
        {
            "issuer": authority, "authorization_endpoint": f"{authority}/authorize",
            "token_endpoint": f"{WORLD['away']}/oauth2/token",
        }
    )  # fmt: skip


msal_discovery = Starlette(routes=[Route("/tenant/.well-known/openid-configuration", msal_document)])


# --- Authlib's authorization server -------------------------------------------------------------------------------


class AuthlibClient:
    """The one client."""

    client_id = "mcp-client"

    def get_client_id(self) -> str:
        return self.client_id

    def check_client_secret(self, secret: str) -> bool:
        return bool(secret == SECRET)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method, endpoint) == ("client_secret_basic", "token")

    def check_grant_type(self, grant_type: str) -> bool:
        return bool(grant_type == IDJAGGrant.GRANT_TYPE)

    def get_allowed_scope(self, scope: str) -> str:
        return scope


class AuthlibGrant(IDJAGGrant):
    """Authlib's grant with the hooks that it asks of its user."""

    used: ClassVar[set[str]] = set()

    def get_audiences(self) -> list[str]:
        return [WORLD["authlib_server"]]

    def resolve_issuer_key(self, issuer: str, headers: dict[str, Any]) -> Any:
        assert issuer == WORLD["home"]
        return KeySet.import_key_set(keys_of("home").fetch_data())

    def authenticate_user(self, subject: str) -> Any:
        return dict(self.request.id_jag_claims)

    def check_jti(self, claims: dict[str, Any], jti: str) -> bool:
        fresh = jti not in self.used
        self.used.add(jti)
        return fresh

    def check_id_jag_permission(self, client: Any, user: Any, scopes: list[str]) -> bool:
        return user.get("resource") in (None, WORLD["authlib_server"] + "/mcp")


def authlib_token(client: Any, grant_type: str, user: Any, scope: str) -> str:
    return shown(user)


flask = Flask("authlib_server")
authorization = AuthorizationServer(flask, lambda _: AuthlibClient(), lambda *_: None)
generate = authorization.create_bearer_token_generator({})
generate.access_token_generator = authlib_token
authorization.register_token_generator("default", generate)
authorization.register_grant(AuthlibGrant)
flask.add_url_rule("/token", "token", lambda: authorization.create_token_response(), methods=["POST"])


def serve() -> None:
    certificate, key = WORLD["certificate"], WORLD["certificate_key"]
    running = []
    apps: dict[str, Any] = {
        "mcp": mcp.streamable_http_app(), "mcp_server": mcp_server, "fastmcp_server": fastmcp_server,
        "msal_discovery": msal_discovery,
    }  # fmt: skip
    for name, app in apps.items():
        config = uvicorn.Config(
            app, "127.0.0.1", port(name), ssl_certfile=certificate, ssl_keyfile=key, log_level="warning"
        )
        running.append(uvicorn.Server(config))
        threading.Thread(target=running[-1].run, daemon=True).start()
    server = make_server("127.0.0.1", port("authlib_server"), flask, threaded=True, ssl_context=(certificate, key))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pause = threading.Event()
    while not all(one.started for one in running):
        pause.wait(0.02)
    print("ready", flush=True)
    sys.stdin.read()


serve()
