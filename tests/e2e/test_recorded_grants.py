"""The requests of clients for grants, and with grants, as their code builds them: both drafts are followed.

The bodies follow the clients' published sources, as in ``test_recorded_clients.py``. `{user}` is a user's ID token,
`{access}` a user's access token, `{jag}` an ID-JAG of another server, `{grant}` a plain JWT authorization grant of one.
"""

import base64
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus

import httpx2
import jwt
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.e2e.test_recorded_clients import ACCESS, ID, JB, JWT, SECRET, TE, URL, UTF_8, Recorded
from tests.issuer import Issuer, rsa_key
from tests.rig import Rig, Serve

from tokenmint.model.drafts import IDENTITY_ASSERTION, IDENTITY_CHAINING
from tokenmint.model.tokens import ID_JAG_TYP

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, MCP, CHAT, PLAIN = (
    "https://tokens.example",
    "https://mcp.example",
    "https://as.chat.example",
    "https://as.plain",
)
WORK, PARTNER = (
    Issuer(url="https://work.example", key=rsa_key(3)),
    Issuer(url="https://partner.example", key=rsa_key(4)),
)
JAG, CHAT_URL = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid-jag", "https%3A%2F%2Fas.chat.example"
EXTRA = f"""
[oauth]
enabled = true
drafts = {json.dumps([IDENTITY_ASSERTION, IDENTITY_CHAINING])}

[providers.work]
issuer = "{WORK.url}"
audiences = ["app"]
token_types = ["id_token", "access_token", "id_jag"]
jwks = '''{WORK.jwks().decode()}'''

[providers.partner]
issuer = "{PARTNER.url}"
audiences = ["nobody"]
token_types = ["jwt_grant"]
jwks = '''{PARTNER.jwks().decode()}'''

[audiences."{MCP}"]
clients = ["gateway"]
providers = ["work", "partner"]
resources = ["{MCP}/tools"]
scopes = ["tools.call", "tools.list"]
unknown_scopes = "drop"
on_missing_profile = "without"

[audiences."{CHAT}"]
clients = ["gateway"]
providers = ["work"]
resources = ["https://api.chat.example"]
scopes = ["chat.read", "chat.write"]
on_missing_profile = "without"
[audiences."{CHAT}".id_jag]
clients = {{ gateway = "gateway-at-chat" }}

[audiences."{PLAIN}"]
clients = ["gateway"]
providers = ["work"]
on_missing_profile = "without"
[audiences."{PLAIN}".jwt_grant]

[clients.gateway]
secrets = ["sha256:{sha256(SECRET.encode()).hexdigest()}"]
audience = "{MCP}"
"""
REFUSED = ("invalid_grant", "UNSUPPORTED_TOKEN_TYPE")
REQUESTS = {
    # backendAuth.crossAppAccess: the identity provider, then the resource's server, which gets no requested type
    "agentgateway, crossAppAccess, identity provider": Recorded(
        f"{TE}&subject_token={{user}}&subject_token_type={ID}&requested_token_type={JAG}&audience={CHAT_URL}"
        "&scope=chat.read&resource=https%3A%2F%2Fapi.chat.example",
        "gateway", scope="chat.read", issued="id-jag",
    ),
    "agentgateway, crossAppAccess, an access token": Recorded(
        f"{TE}&subject_token={{access}}&subject_token_type={ACCESS}&requested_token_type={JAG}&audience={CHAT_URL}",
        "gateway", scope="chat.read chat.write", issued="id-jag",
    ),
    "agentgateway, crossAppAccess, resource server": Recorded(
        f"{JB}&assertion={{jag}}&scope=tools.call", "gateway", scope="tools.call"
    ),
    "agentgateway, crossAppAccess, more scopes": Recorded(
        f"{JB}&assertion={{jag}}&scope=tools.call+tools.list", "gateway", 400, ("invalid_scope", "SCOPE_DENIED")
    ),
    # backendAuth.oauth with grantType jwtBearer: what the user's request has is the assertion
    "agentgateway, jwtBearer, a grant": Recorded(f"{JB}&assertion={{grant}}&audience={URL}", "gateway"),
    "agentgateway, jwtBearer, resources": Recorded(
        f"{JB}&assertion={{grant}}&scope=tools.call&resource={URL}%2Ftools", "gateway", scope="tools.call"
    ),
    "agentgateway, jwtBearer, a user's ID token": Recorded(
        f"{JB}&assertion={{user}}&audience={URL}", "gateway", 400, REFUSED
    ),
    "Spring Security, jwt-bearer": Recorded(
        f"{JB}&scope=tools.call&assertion={{grant}}", "gateway", scope="tools.call", content_type=UTF_8
    ),
    "Spring Security, jwt-bearer, an access token": Recorded(
        f"{JB}&scope=tools.call&assertion={{access}}", "gateway", 400, REFUSED, content_type=UTF_8
    ),
    # acquire_token_on_behalf_of: the assertion is an access token, which is no grant here
    "MSAL, on behalf of": Recorded(
        "client_id=gateway&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&client_info=1"
        "&client_secret={secret}&requested_token_use=on_behalf_of"
        "&scope=api%3A%2F%2Fmcp%2F.default+offline_access+openid+profile&assertion={access}",
        "", 400, ("invalid_scope", "SCOPE_DENIED"),
    ),
    "MSAL, on behalf of, a scope of ours": Recorded(
        "client_id=gateway&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&client_info=1"
        "&client_secret={secret}&requested_token_use=on_behalf_of"
        "&scope=tools.call+offline_access+openid+profile&assertion={access}",
        "", 400, REFUSED,
    ),
    # AssertionClient (rfc7521/client.py): no client authentication, only a name
    "authlib, AssertionClient": Recorded(
        f"assertion={{grant}}&{JB}&scope=tools.call&client_id=gateway", "", 401,
        ("invalid_client", "CALLER_UNAUTHENTICATED"),
    ),
    "authlib, fetch_token": Recorded(f"{JB}&assertion={{jag}}", "gateway", scope="tools.call"),
    "oauth4webapi, a grant": Recorded(f"assertion={{grant}}&{JB}", "gateway", content_type=UTF_8),
    "oauth4webapi, a grant for another server": Recorded(
        f"subject_token={{user}}&subject_token_type={ID}&audience=https%3A%2F%2Fas.plain&requested_token_type={JWT}&{TE}",
        "gateway", scope=None, issued="jwt", content_type=UTF_8,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def start() -> Start:
    def started(serve: Serve) -> Any:
        return serve(EXTRA)

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_with_a_grant_has_its_answer(rig: Rig, http: httpx2.AsyncClient, name: str) -> None:
    sent, now = REQUESTS[name], rig.clock.now()
    body = sent.body
    asserted: dict[str, Any] = {"aud": ISSUER, "jti": name, "email": None}
    for place, value in {
        "user": WORK.token(now),
        "access": WORK.token(now, headers={"typ": "at+jwt"}),
        "jag": WORK.token(now, headers={"typ": ID_JAG_TYP}, client_id="gateway", scope="tools.call", **asserted),
        "grant": PARTNER.token(now, **asserted),
        "secret": SECRET,
    }.items():
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
        assert told.get("scope") == sent.scope == claims.get("scope")
        abroad = sent.issued != "access_token"
        assert told["issued_token_type"] == f"urn:ietf:params:oauth:token-type:{sent.issued}"
        assert (told["token_type"], claims["aud"] == MCP) == (("N_A", False) if abroad else ("Bearer", True))
