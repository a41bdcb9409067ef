"""The requests of RFC 8693's clients, byte by byte as their code builds them, each with its answer.

The bodies follow the clients' published sources. `{user}`, `{access}` and `{agent}` stand for tokens: a user's ID
token, a user's access token, and the token of an agent's platform.
"""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus

import httpx2
import jwt
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, ec_key, jwk, rsa_key
from tests.rig import Rig, Serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "tms_recorded"
MCP, OPEN = "https://mcp.example", "https://open-mcp.example"
CLUSTER = Issuer(url="https://cluster.example", key=rsa_key(3))
KEYS = json.dumps({"keys": [jwk(ec_key(5), kid="c")]})
EXTRA = f"""
[oauth]
enabled = true

[providers.cluster]
issuer = "{CLUSTER.url}"
audiences = ["https://tokens.example"]
jwks = '''{CLUSTER.jwks().decode()}'''

[providers.apis]
issuer = "https://apis.example"
audiences = ["app"]
token_types = ["access_token"]
jwks = '''{CLUSTER.jwks().decode()}'''

[audiences."{MCP}"]
clients = ["gateway", "spring", "signer"]
providers = ["idp", "apis"]
resources = ["https://mcp.example/tools", "https://MCP.example:443/prompts"]
scopes = ["tools.call", "tools.list"]
unknown_scopes = "drop"
on_missing_profile = "without"
[audiences."{MCP}".actors]
providers = ["cluster"]
without_may_act = true

[audiences."{OPEN}"]
clients = ["kagent"]
providers = ["idp"]
public_clients = true
on_missing_profile = "without"
[audiences."{OPEN}".actors]
providers = ["cluster"]
without_may_act = true

[clients.gateway]
secrets = ["sha256:{sha256(SECRET.encode()).hexdigest()}"]

[clients.spring]
secrets = ["sha256:{sha256(SECRET.encode()).hexdigest()}"]
audience = "{MCP}"
subject_token_type = "jwt"

[clients.signer]
jwks = '''{KEYS}'''

[clients.kagent]
public = true
"""
TE = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
ACCESS, ID, JWT = (
    f"urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3A{name}" for name in ("access_token", "id_token", "jwt")
)  # fmt: skip
JB = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
BEARER = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
URL = "https%3A%2F%2Fmcp.example"
UTF_8 = "application/x-www-form-urlencoded;charset=UTF-8"


@dataclass(frozen=True)
class Recorded:
    """A request of a client, and the answer to it."""

    body: str
    client: str = ""
    """The client of the Basic header; empty: the request has no header."""
    status: int = 200
    told: tuple[str, str] = ("", "")
    """`error` and `reason` of a refusal."""
    scope: str | None = "tools.call tools.list"
    act: bool = False
    content_type: str = "application/x-www-form-urlencoded"
    issued: str = "access_token"


REQUESTS = {
    # backendAuth.oauth (transport.rs): one parameter for each audience and resource; the credential comes last
    "agentgateway": Recorded(
        f"{TE}&subject_token={{access}}&subject_token_type={ACCESS}&audience={URL}&scope=tools.call"
        f"&resource={URL}%2Ftools&resource={URL}%2Fprompts",
        "gateway", scope="tools.call",
    ),
    "agentgateway, defaults": Recorded(
        f"{TE}&subject_token={{access}}&subject_token_type={ACCESS}&audience={URL}", "gateway"
    ),
    "agentgateway, clientSecretPost": Recorded(
        f"{TE}&subject_token={{access}}&subject_token_type={ACCESS}&audience={URL}"
        "&client_id=gateway&client_secret={secret}"
    ),
    "agentgateway, privateKeyJwt": Recorded(
        f"{TE}&subject_token={{access}}&subject_token_type={ACCESS}&audience={URL}&client_id=signer"
        f"&client_assertion_type={BEARER}&client_assertion={{assertion}}"
    ),
    "agentgateway, delegation": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type={JWT}&actor_token={{agent}}&actor_token_type={JWT}"
        f"&requested_token_type={ACCESS}&audience={URL}",
        "gateway", act=True,
    ),
    "agentgateway, requested as a JWT": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type={ID}&requested_token_type={JWT}&audience={URL}",
        "gateway", issued="jwt",
    ),
    "agentgateway, an MCP server's own resource": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type={JWT}&resource={URL}%3A443%2Ftools", "gateway"
    ),
    "agentgateway, a custom type": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type=urn%3Aacme%3Asession&audience={URL}",
        "gateway", 400, ("invalid_request", "INVALID_REQUEST"),
    ),
    "agentgateway, two servers": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type={JWT}&audience={URL}&audience=https%3A%2F%2Fopen-mcp.example",
        "gateway", 400, ("invalid_target", "AUDIENCE_DENIED"),
    ),
    "agentgateway, jwtBearer": Recorded(
        f"{JB}&assertion={{user}}&audience={URL}",
        "gateway", 400, ("unsupported_grant_type", "UNSUPPORTED_GRANT_TYPE"),
    ),
    # gcp_oidc_token_rotator.go: Google's own client, whose JSON has the members in the order of their names
    "Envoy AI Gateway, GCP": Recorded(
        '{"audience":"//iam.googleapis.com/projects/p/locations/global/workloadIdentityPools/w/providers/i",'
        '"grantType":"urn:ietf:params:oauth:grant-type:token-exchange",'
        '"requestedTokenType":"urn:ietf:params:oauth:token-type:access_token",'
        '"scope":"https://www.googleapis.com/auth/cloud-platform","subjectToken":"{user}",'
        '"subjectTokenType":"urn:ietf:params:oauth:token-type:jwt"}',
        "gateway", 400, ("invalid_request", "INVALID_REQUEST"), content_type="application/json",
    ),
    # rotators of an OIDC provider: golang.org/x/oauth2's client credentials
    "Envoy AI Gateway, OIDC": Recorded(
        "grant_type=client_credentials&scope=openid", "gateway", 400,
        ("unsupported_grant_type", "UNSUPPORTED_GRANT_TYPE"),
    ),
    # proposal 010: the parameters that the gateway is going to send for an MCP backend
    "Envoy AI Gateway, MCP backend": Recorded(
        f"{TE}&subject_token={{access}}&subject_token_type={ACCESS}&actor_token={{agent}}&actor_token_type={JWT}"
        f"&audience={URL}&resource={URL}%2Ftools&scope=tools.call",
        "gateway", scope="tools.call", act=True,
    ),
    # call credentials sts_service of Envoy and gRPC: RFC 8693 without client authentication
    "Envoy, sts_service": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type={JWT}&audience={URL}", status=401,
        told=("invalid_client", "CALLER_UNAUTHENTICATED"),
    ),
    # agentsts (Python): a form of a dict, without client authentication unless additional_parameters have it
    "kagent": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type={JWT}&actor_token={{agent}}&actor_token_type={JWT}",
        status=401, told=("invalid_client", "CALLER_UNAUTHENTICATED"),
    ),
    "kagent, with a client id": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type={JWT}&actor_token={{agent}}&actor_token_type={JWT}"
        "&audience=https%3A%2F%2Fopen-mcp.example&client_id=kagent",
        scope=None, act=True,
    ),
    # go/adk/pkg/sts: url.Values, which are sorted by name
    "kagent, Go": Recorded(
        f"actor_token={{agent}}&actor_token_type={JWT}&audience=https%3A%2F%2Fopen-mcp.example&client_id=kagent&{TE}"
        f"&resource=https%3A%2F%2Fopen-mcp.example&subject_token={{user}}&subject_token_type={JWT}",
        scope=None, act=True,
    ),
    "kagent, Go, without a client id": Recorded(
        f"{TE}&resource={URL}%2Ftools&subject_token={{user}}&subject_token_type={JWT}",
        status=401, told=("invalid_client", "CALLER_UNAUTHENTICATED"),
    ),
    # TokenExchangeGrantRequest: no audience and no resource; the type follows from the token's class
    "Spring Security": Recorded(
        f"{TE}&scope=tools.call+openid&requested_token_type={ACCESS}&subject_token={{user}}&subject_token_type={JWT}",
        "spring", scope="tools.call", content_type=UTF_8,
    ),
    "Spring Security, actor": Recorded(
        f"{TE}&requested_token_type={ACCESS}&subject_token={{access}}&subject_token_type={ACCESS}"
        f"&actor_token={{agent}}&actor_token_type={JWT}",
        "spring", act=True, content_type=UTF_8,
    ),
    "Spring Security, client_secret_post": Recorded(
        f"{TE}&client_id=spring&client_secret={{secret}}&requested_token_type={ACCESS}&subject_token={{user}}"
        f"&subject_token_type={JWT}", content_type=UTF_8,
    ),
    "Spring Security, a client without a default": Recorded(
        f"{TE}&requested_token_type={ACCESS}&subject_token={{user}}&subject_token_type={JWT}",
        "gateway", 400, ("invalid_request", "INVALID_REQUEST"), content_type=UTF_8,
    ),
    "Spring Security, jwt-bearer": Recorded(
        f"{JB}&scope=tools.call&assertion={{user}}", "spring", 400,
        ("unsupported_grant_type", "UNSUPPORTED_GRANT_TYPE"), content_type=UTF_8,
    ),
    # acquire_token_on_behalf_of: not RFC 8693, as its source says
    "MSAL, on behalf of": Recorded(
        "client_id=gateway&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&client_info=1"
        "&client_secret={secret}&requested_token_use=on_behalf_of"
        "&scope=api%3A%2F%2Fmcp%2F.default+offline_access+openid+profile&assertion={user}",
        "", 400, ("unsupported_grant_type", "UNSUPPORTED_GRANT_TYPE"),
    ),
    # google.oauth2.sts: empty values are left out; `options` is JSON, quoted twice
    "google-auth": Recorded(
        f"{TE}&audience={URL}&scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform+tools.call"
        f"&requested_token_type={ACCESS}&subject_token={{user}}&subject_token_type={ID}",
        "gateway", scope="tools.call",
    ),
    "google-auth, its own scope alone": Recorded(
        f"{TE}&audience={URL}&scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform"
        f"&requested_token_type={ACCESS}&subject_token={{user}}&subject_token_type={ID}",
        "gateway", 400, ("invalid_scope", "SCOPE_DENIED"),
    ),
    "google-auth, options": Recorded(
        f"{TE}&audience={URL}&requested_token_type={ACCESS}&subject_token={{user}}&subject_token_type={JWT}"
        "&options=%257B%2522userProject%2522%253A%2520%25221%2522%257D",
        "gateway",
    ),
    # OAuth2Client.fetch_token(grant_type=..., **kwargs): the arguments in their order
    "authlib": Recorded(
        f"{TE}&scope=tools.list&subject_token={{access}}&subject_token_type={ACCESS}&audience={URL}",
        "gateway", scope="tools.list",
    ),
    # RFC 6749 section 3.1: a parameter without a value is one that was left out
    "any client, empty values": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type=&audience=&resource=&scope=&actor_token=&actor_token_type="
        "&requested_token_type=", "spring",
    ),
    "any client, an empty type without a default": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type=&audience={URL}", "gateway", 400,
        ("invalid_request", "INVALID_REQUEST"),
    ),
    "authlib, without a type": Recorded(f"{TE}&subject_token={{user}}", "spring"),
    # genericTokenEndpointRequest: the grant type comes last, with a charset
    "oauth4webapi": Recorded(
        f"subject_token={{user}}&subject_token_type={ID}&audience={URL}&resource={URL}%2F&{TE}",
        "gateway", content_type=UTF_8,
    ),
    "oauth4webapi, None()": Recorded(
        f"subject_token={{user}}&subject_token_type={ID}&audience=https%3A%2F%2Fopen-mcp.example&{TE}&client_id=kagent",
        scope=None, content_type=UTF_8,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def start() -> Start:
    def started(serve: Serve) -> Any:
        return serve(EXTRA)

    return started


def client_assertion(now: float, token_id: str) -> str:
    """Return the assertion of the client ``signer``."""
    claims: dict[str, Any] = {"iss": "signer", "sub": "signer", "aud": "https://tokens.example", "jti": token_id}
    claims |= {"nbf": int(now), "iat": int(now), "exp": int(now) + 60}
    return jwt.encode(claims, ec_key(5), algorithm="ES256", headers={"kid": "c", "x5t#S256": "A" * 43})


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_client_s_request_has_its_answer(rig: Rig, http: httpx2.AsyncClient, name: str) -> None:
    sent, now = REQUESTS[name], rig.clock.now()
    user = rig.issuer.token(now)
    access = CLUSTER.token(now, iss="https://apis.example", sub="1842", headers={"typ": "at+jwt"})
    agent = CLUSTER.token(now, sub="system:serviceaccount:agents:planner", aud="https://tokens.example")
    assertion = client_assertion(now, name)
    tokens = {"user": user, "access": access, "agent": agent, "secret": SECRET, "assertion": assertion}
    body = sent.body
    for place, value in tokens.items():
        body = body.replace(f"{{{place}}}", value)
    headers = {"Content-Type": sent.content_type}
    if sent.client:
        pair = f"{quote_plus(sent.client)}:{quote_plus(SECRET)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    answer = await http.post("/oauth2/token", content=body.encode(), headers=headers)
    told = answer.json()
    assert (answer.status_code, told.get("error", ""), told.get("reason", "")) == (sent.status, *sent.told), told
    if sent.status == 200:
        claims = jwt.decode(told["access_token"], options={"verify_signature": False})
        assert claims["aud"] in (MCP, OPEN)
        assert claims["client_id"] == (sent.client or claims["client_id"])
        assert told.get("scope") == sent.scope == claims.get("scope")
        issued = f"urn:ietf:params:oauth:token-type:{sent.issued}"
        assert (told["issued_token_type"], told["token_type"]) == (issued, "Bearer")
        assert ("act" in claims) is sent.act
        assert json.dumps(claims).count("mcp.example") == 1  # no name of the request has become a claim
