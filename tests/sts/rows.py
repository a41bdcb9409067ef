"""The expected result of each client: the claims of its token, or the documented refusal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.sts.world import ORDERS, TRUST_DOMAIN


@dataclass(frozen=True)
class Row:
    """A client and its flow."""

    client: str
    flow: str
    issuer: str = "home"
    """The service whose key verifies the token; "": the row has no token of ours."""
    claims: Mapping[str, Any] = field(default_factory=dict)
    """Claims of the token. The names of servers stand for their addresses, as `{mcp}`."""
    typ: str = "at+jwt"
    seen: Mapping[str, Any] = field(default_factory=dict)
    """Members that the client reports from a server: of its answers, or of the token that reached a tool."""
    refusal: str = ""
    """A part of the error that the client has to report."""
    bound: bool = False
    """Whether the token is bound to the key that the client reports."""
    remark: str = ""
    """Why the client is refused, or how it was set up. The table shows it."""


def exchanged(client: str, flow: str, **more: Any) -> Row:
    """A token for the audience of token exchange."""
    claims = {"aud": ORDERS, "sub": "ada", "client_id": "web", "scope": "read"}
    return Row(client, flow, claims=claims | more.pop("claims", {}), **more)


def minted(client: str, flow: str = "ID-JAG, leg 1", **more: Any) -> Row:
    """An ID-JAG of home for away."""
    claims = {"aud": "{away}", "sub": "ada", "client_id": "mcp-client", "resource": "{mcp}", "scope": "tools.call"}
    return Row(client, flow, claims=claims | more.pop("claims", {}), typ="oauth-id-jag+jwt", **more)


def granted(client: str, flow: str = "ID-JAG, leg 2", **more: Any) -> Row:
    """An access token of away for the MCP server."""
    claims = {"aud": "{mcp}", "sub": "ada.at.mcp", "client_id": "mcp-client", "scope": "tools.call"}
    return Row(client, flow, issuer="away", claims=claims | more.pop("claims", {}), **more)


def taken(client: str, **more: Any) -> list[Row]:
    """Another project's server that takes our ID-JAGs, and refuses those for another server."""
    name = more.pop("name")
    seen = {
        "sub": "ada",
        "iss": "{home}",
        "aud": f"{{{name}}}",
        "client_id": "mcp-client",
        "resource": f"{{{name}}}/mcp",
    }
    return [
        Row(client, "takes our ID-JAG", issuer="", seen=seen, remark=more.pop("remark", "")),
        Row(client, "refuses our ID-JAG for another server", issuer="", refusal="invalid_grant"),
    ]


TOOL: Final = {"sub": "ada.at.mcp", "aud": "{mcp}", "iss": "{away}", "scope": "tools.call"}
AGENT: Final = {"act": {"sub": "planner"}}
SPRING: Final = "Spring TokenExchangeOAuth2AuthorizedClientProvider"
REVOKED: Final = {"before": True, "after": False}
MSAL: Final = "MSAL wants an authority with a path: a discovery document of the test names our token endpoint"
PYTHON: Final = (
    exchanged("google-auth identity_pool", "token exchange"),
    exchanged("google-auth identity_pool", "token exchange, without scopes", claims={"scope": "read write"}),
    exchanged("Authlib OAuth2Session", "token exchange, introspection, revocation", seen=REVOKED),
    minted("Authlib OAuth2Session"),
    granted("Authlib OAuth2Session"),
    granted("Authlib IDJAGGrant.sign", "its ID-JAG, leg 2", claims={"scope": "tools.list"}),
    Row("Authlib AssertionSession", "its ID-JAG without client authentication", refusal="invalid_client",
        remark="it sends no credential of the client, which the draft wants (section 9.1)"),
    granted("MCP SDK (Python)", "leg 2 with our ID-JAG, and a call of a tool", seen=TOOL),
    granted("MSAL on behalf of", "ID-JAG as its assertion", remark=MSAL),
    Row("MSAL on behalf of", "an access token as its assertion", refusal="invalid_grant",
        remark="Entra's flow: only an ID-JAG is a grant here"),
    *taken("Authlib server (IDJAGGrant)", name="authlib_server"),
    *taken("MCP SDK server (Python)", name="mcp_server", remark="the SDK leaves the checks of the claims to its user"),
    *taken("FastMCP's validator", name="fastmcp_server"),
)  # fmt: skip
NODE: Final = (
    minted("MCP SDK (TypeScript)"),
    granted("MCP SDK (TypeScript)"),
    granted("MCP SDK (TypeScript)", "both legs, and a call of a tool", seen=TOOL),
    exchanged("oauth4webapi", "token exchange"),
    exchanged("oauth4webapi", "token exchange, client_secret_post"),
    exchanged("oauth4webapi", "token exchange, private_key_jwt", claims={"client_id": "keys"}),
    exchanged("oauth4webapi", "token exchange with an actor", claims=AGENT),
    exchanged("oauth4webapi", "token exchange, DPoP", bound=True),
    exchanged("oauth4webapi", "introspection, then revocation", seen={**REVOKED, "sub": "ada"}),
    minted("oauth4webapi"),
    granted("oauth4webapi"),
    granted("oauth4webapi", "ID-JAG, both legs, DPoP", bound=True, seen={"grant": True}),
    Row("oauth4webapi", "a token of another audience is refused", refusal="invalid_target"),
    exchanged("openid-client", "token exchange"),
)
GO: Final = (
    exchanged("x/oauth2 google/externalaccount", "token exchange"),
    exchanged("x/oauth2 clientcredentials", "token exchange", remark="its EndpointParams name the grant"),
    Row(
        "go-spiffe jwtsvid",
        "validates a JWT-SVID by the bundle",
        issuer="",
        seen={"sub": f"spiffe://{TRUST_DOMAIN}/ada", "hint": True, "sequence": True},
    ),
    Row(
        "go-spiffe jwtsvid",
        "refuses an access token of ours",
        issuer="",
        refusal="token header type",
        remark="its typ is at+jwt, which JWT-SVID section 2.3 does not allow",
    ),
    exchanged("ToolHive (gateway)", "token exchange"),
    minted("ToolHive (gateway)"),
    granted("ToolHive (gateway)"),
)
JAVA: Final = (
    exchanged(SPRING, "token exchange, a JWT", remark="it names no target: the client's default audience counts"),
    exchanged(SPRING, "token exchange, an access token"),
    exchanged(SPRING, "token exchange with an actor", claims=AGENT),
    exchanged(SPRING, "token exchange with audience and resource"),
    granted("Spring JwtBearerOAuth2AuthorizedClientProvider"),
)
