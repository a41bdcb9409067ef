"""Identity chaining across domains with plain JWTs: draft-ietf-oauth-identity-chaining-17, both servers."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx2
import jwt
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, ec_key, rsa_key
from tests.rig import Rig, Serve, person, refusal
from tests.unit.verification.test_dpop import proof as dpop_proof

from tokenmint.base.errors import ConfigurationError
from tokenmint.model.drafts import IDENTITY_CHAINING
from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, ID_JAG_TYP, ID_TOKEN, JWT, JWT_GRANT, JWT_GRANT_TYP
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.verification.dpop import check_proof

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, API, OTHER, SVIDS, AS_B = (
    "https://tokens.example", "https://api.example", "https://other-api.example", "https://svids.example",
    "https://as.b.example/auth",
)  # fmt: skip
EXCHANGE, BEARER = (f"urn:ietf:params:oauth:grant-type:{name}" for name in ("token-exchange", "jwt-bearer"))
A, APPS = Issuer(url="https://as.a.example/auth", key=rsa_key(3)), Issuer(url="https://apps.example", key=rsa_key(4))
NUMBERS = count()
OPTIONS = f'[oauth]\nenabled = true\ndrafts = ["{IDENTITY_CHAINING}"]\n'
ABROAD = f"""
[audiences."{AS_B}"]
clients = ["web", "batch"]
providers = ["idp"]
resources = ["https://api.b.example"]
scopes = ["b.read", "b.write"]
[audiences."{AS_B}".jwt_grant]
clients = {{ web = "web-at-b" }}
[audiences."{AS_B}".claims]
email = "assertion.email"
"""
EXTRA = f"""
{OPTIONS}
[spiffe]
trust_domain = "tokens.example"

[providers.a]
issuer = "{A.url}"
audiences = ["nobody"]
token_types = ["jwt_grant"]
jwks = '''{A.jwks().decode()}'''

[providers.apps]
issuer = "{APPS.url}"
audiences = ["app"]
token_types = ["id_token", "access_token", "jwt"]
untyped_access_tokens = true
jwks = '''{APPS.jwks().decode()}'''

[audiences."{API}"]
clients = ["web", "spa"]
providers = ["a", "apps"]
resources = ["https://api.example/v1"]
scopes = ["read", "write"]
public_clients = true

[audiences."{OTHER}"]
clients = ["web"]
providers = ["a"]
[audiences."{OTHER}".actors]
providers = ["a"]

[audiences."{SVIDS}"]
clients = ["web"]
providers = ["a"]
[audiences."{SVIDS}".spiffe]
{ABROAD}
[clients.spa]
public = true
"""


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA) as service:
            ada = person("ada", "1842")
            ada.identities.extend(Identity(provider=name, subject="johndoe@a.example") for name in ("a", "apps"))
            await service.create(ada)
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


def grant(rig: Rig, typ: Any = JWT_GRANT_TYP, issuer: Any = A, **changes: Any) -> str:
    """A grant of domain A's server: the claims of the draft's example, and a `jti`."""
    claims: dict[str, Any] = {
        "sub": "johndoe@a.example",
        "aud": ISSUER,
        "jti": f"j{next(NUMBERS)}",
        "email": None,
        **changes,
    }
    token: str = issuer.token(rig.clock.now(), headers={"typ": typ}, **claims)
    return token


async def post(
    rig: Rig, http: httpx2.AsyncClient, client: str = "web", key: Any = None, **form: Any
) -> tuple[int, Mapping[str, Any]]:
    auth = {"client_id": client} | ({} if client == "spa" else {"client_secret": rig.secrets[client].reveal()})
    headers = {}
    if key is not None:
        at: dict[str, Any] = {"htu": f"{ISSUER}/oauth2/token", "iat": int(rig.clock.now()), "jti": f"p{next(NUMBERS)}"}
        headers["DPoP"] = dpop_proof(key=ec_key(key), **at).reveal()
    sent = auth | {name: value for name, value in form.items() if value}
    answer = await http.post("/oauth2/token", data=sent, headers=headers)
    return answer.status_code, answer.json()


async def granted(rig: Rig, http: httpx2.AsyncClient, assertion: str, **form: Any) -> tuple[int, Mapping[str, Any]]:
    return await post(rig, http, grant_type=BEARER, assertion=assertion, **({"resource": API} | form))


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def thumbprint(key: int) -> str:
    return check_proof(dpop_proof(key=ec_key(key)), method="POST", url=f"{ISSUER}/oauth2/token", now=1.8e9).thumbprint


# --- section 2.4: the server of domain B --------------------------------------------------------------------------


async def test_section_2_4_a_plain_jwt_of_another_domain_is_a_grant(rig: Rig, http: httpx2.AsyncClient) -> None:
    for typ in (JWT_GRANT_TYP, "JWT", None, "application/authorization-grant+jwt"):
        status, body = await granted(rig, http, grant(rig, typ))
        assert (status, body.get("token_type")) == (200, "Bearer"), body
        claims = claims_of(body["access_token"])
        assert (claims["aud"], claims["sub"], claims["client_id"]) == (API, "ada", "web")
    status, body = await granted(rig, http, grant(rig, jti=None, aud=[ISSUER]))
    assert status == 200, "section 2.4.4: the example has no jti"
    for target in ({"resource": None, "audience": API}, {"resource": "https://API.example:443/v1"}):
        assert (await granted(rig, http, grant(rig), **target))[0] == 200


@pytest.mark.parametrize(
    ("case", "changes", "reason"),
    [
        ("the token endpoint, which rfc7523bis refuses", {"aud": f"{ISSUER}/oauth2/token"}, "WRONG_AUDIENCE"),
        ("another server", {"aud": "https://as.c.example"}, "WRONG_AUDIENCE"),
        ("another server, too", {"aud": [ISSUER, "https://as.c.example"]}, "WRONG_AUDIENCE"),
        ("the provider's own audience", {"aud": "nobody"}, "WRONG_AUDIENCE"),
        ("no audience", {"aud": None}, "WRONG_AUDIENCE"),
        ("an access token", {"typ": "at+jwt"}, "UNSUPPORTED_TOKEN_TYPE"),
        ("an ID-JAG", {"typ": ID_JAG_TYP, "client_id": "web"}, "UNSUPPORTED_TOKEN_TYPE"),
        ("a client's assertion", {"typ": "client-authentication+jwt"}, "UNSUPPORTED_TOKEN_TYPE"),
        ("a logout token", {"events": {}}, "UNSUPPORTED_TOKEN_TYPE"),
        ("an ID token, by its nonce", {"nonce": "n"}, "CLAIM_REJECTED"),
        ("an ID token, by its at_hash", {"at_hash": "h"}, "CLAIM_REJECTED"),
        ("of another client", {"client_id": "batch"}, "TOKEN_DENIED"),
        ("of no client", {"client_id": 5}, "CLAIM_REJECTED"),
        ("an id that is no text", {"jti": 5}, "CLAIM_REJECTED"),
        ("no time", {"iat": None}, "CLAIM_REJECTED"),
        ("over", {"exp": 1_799_999_000, "iat": 1_799_998_000}, "EXPIRED"),
        ("long-lived", {"exp": 1_800_100_000}, "CLAIM_REJECTED"),
        ("a scope that is no text", {"scope": ["read"]}, "CLAIM_REJECTED"),
        ("another tenant's user", {"tenant": "evil"}, "CLAIM_REJECTED"),
        ("section 2.4.2: a subject that nobody knows", {"sub": "stranger"}, "PRINCIPAL_UNKNOWN"),
        ("no subject", {"sub": None}, "CLAIM_REJECTED"),
        ("of nobody known", {"iss": "https://evil.example"}, "UNKNOWN_ISSUER"),
        ("of us", {"iss": ISSUER}, "UNKNOWN_ISSUER"),
        ("of a provider without grants", {"issuer": APPS}, "UNSUPPORTED_TOKEN_TYPE"),
        ("MSAL's: an access token on behalf of its user", {"issuer": APPS, "aud": "app"}, "UNSUPPORTED_TOKEN_TYPE"),
        ("delegated, where no actor is accepted", {"act": {"sub": "agent"}}, "ACTOR_DENIED"),
        ("a resource that leads elsewhere", {"resource": "https://no.example"}, "WRONG_AUDIENCE"),
        ("bound to a key", {"cnf": {"jkt": "A" * 43}}, "POSSESSION_NOT_PROVED"),
    ],
)
async def test_section_2_4_2_what_is_no_grant(
    rig: Rig, http: httpx2.AsyncClient, case: str, changes: dict[str, Any], reason: str
) -> None:
    status, body = await granted(rig, http, grant(rig, **changes))
    assert (status, body["error"], body["reason"]) == (400, "invalid_grant", reason), case


async def test_section_5_5_a_grant_is_used_once_with_an_id_and_without(rig: Rig, http: httpx2.AsyncClient) -> None:
    for token in (grant(rig), grant(rig, jti=None, email="once@example.com")):
        assert (await granted(rig, http, token))[0] == 200
        assert (await granted(rig, http, token))[1]["reason"] == "REPLAYED"
        assert (await refusal(over_grpc(rig, token))).reason == "REPLAYED"
    token = grant(rig)
    assert (await granted(rig, http, token, scope="admin"))[0] == 400
    assert (await granted(rig, http, token))[0] == 200, "a refusal uses nothing up"


async def test_section_5_1_a_client_that_proves_only_its_name_has_no_grant(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await post(rig, http, "spa", grant_type=BEARER, assertion=grant(rig), resource=API)
    assert (status, body["error"], body["reason"]) == (400, "invalid_grant", "TOKEN_DENIED")
    status, body = await post(rig, http, "batch", grant_type=BEARER, assertion=grant(rig), resource=API)
    assert (status, body["error"]) == (400, "invalid_target")


async def test_section_2_5_scopes_are_at_most_those_of_the_grant(rig: Rig, http: httpx2.AsyncClient) -> None:
    for claim, asked, expected in (
        ("read", "", "read"), ("read write", "write", "write"), ("read other", "", "read"), (None, "", "read write"),
        (None, "read", "read"), ("", "", None),
    ):  # fmt: skip
        status, body = await granted(rig, http, grant(rig, scope=claim), scope=asked)
        assert (status, body.get("scope")) == (200, expected), claim
    for claim, asked in (("read", "write"), ("", "read"), (None, "admin")):
        status, body = await granted(rig, http, grant(rig, scope=claim), scope=asked)
        assert (status, body["error"]) == (400, "invalid_scope"), (claim, asked)


async def test_section_2_5_a_grant_whose_scopes_are_all_foreign_is_refused(rig: Rig, http: httpx2.AsyncClient) -> None:
    for audience, scope, asked in ((API, "other", ""), (API, "other", "read"), (OTHER, "read", "")):
        token = grant(rig, scope=scope)
        status, body = await granted(rig, http, token, resource=audience, scope=asked)
        assert (status, body["error"], body["reason"]) == (400, "invalid_grant", "SCOPE_DENIED"), (audience, asked)
        told = await refusal(over_grpc(rig, token, audience, scopes=[asked] if asked else []))
        assert (told.code, told.reason) == (StatusCode.PERMISSION_DENIED, "SCOPE_DENIED")


async def test_a_resource_of_the_grant_and_of_the_request_lead_to_one_audience(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    for resource in (API, ["https://api.example/v1", API]):
        assert (await granted(rig, http, grant(rig, resource=resource), resource=None))[0] == 200
    for form in ({"resource": OTHER}, {"resource": None, "audience": OTHER}):
        status, body = await granted(rig, http, grant(rig, resource=API), **form)
        assert (status, body["error"]) == (400, "invalid_target")


async def test_a_grant_that_is_bound_needs_its_key(rig: Rig, http: httpx2.AsyncClient) -> None:
    bound = {"cnf": {"jkt": thumbprint(1)}}
    assert (await granted(rig, http, grant(rig, **bound), key=2))[1]["reason"] == "POSSESSION_NOT_PROVED"
    status, body = await granted(rig, http, grant(rig, **bound), key=1)
    assert (status, body["token_type"]) == (200, "DPoP")
    assert claims_of(body["access_token"])["cnf"] == bound["cnf"]


async def test_the_actors_of_a_grant_stay_named(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await granted(rig, http, grant(rig, act={"sub": "agent"}), resource=OTHER)
    assert status == 200, body
    assert claims_of(body["access_token"])["act"] == {"iss": A.url, "sub": "agent"}


async def over_grpc(rig: Rig, token: str, audience: str = API, kind: str = JWT_GRANT, **fields: Any) -> str:
    request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=kind, audience=audience, **fields)
    return (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token


async def test_a_grant_is_exchanged_over_grpc_by_the_same_rules(rig: Rig) -> None:
    assert claims_of(await over_grpc(rig, grant(rig)))["aud"] == API
    for changes, reason in (({"client_id": "batch"}, "TOKEN_DENIED"), ({"aud": "x"}, "WRONG_AUDIENCE")):
        assert (await refusal(over_grpc(rig, grant(rig, **changes)))).reason == reason
    told = await refusal(over_grpc(rig, grant(rig), actor_token=grant(rig), actor_token_type=ID_TOKEN))
    assert told.reason == "INVALID_REQUEST"
    batch = pb.BatchExchangeTokensRequest(
        subject_token=grant(rig), subject_token_type=JWT_GRANT, targets=[pb.BatchExchangeTarget(audience=API)]
    )
    assert (await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))).reason == "INVALID_REQUEST"


async def test_rfc_8725_section_3_11_a_grant_is_no_other_token(rig: Rig, http: httpx2.AsyncClient) -> None:
    own = (await post(rig, http, **abroad(rig)))[1]["access_token"]
    for token in (own, grant(rig), grant(rig, "JWT")):
        for kind in (ID_TOKEN, ACCESS_TOKEN, JWT, ID_JAG):
            form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": kind, "audience": API}
            assert (await post(rig, http, **form))[0] == 400, kind
            await refusal(over_grpc(rig, token, kind=kind))
        for audience in (AS_B, SVIDS):  # a grant is for access tokens alone
            assert (await refusal(over_grpc(rig, token, audience))).reason == "FORMAT_DENIED"
        auth = {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}
        assert (await http.post("/oauth2/introspect", data=auth | {"token": token})).json() == {"active": False}
    assert (await granted(rig, http, own))[1]["reason"] == "UNKNOWN_ISSUER"


@pytest.mark.alone
async def test_a_disabled_user_and_a_provider_that_is_gone_give_no_grant(rig: Rig, http: httpx2.AsyncClient) -> None:
    before = rig.config.read_text()
    removed = before.replace('providers = ["a", "apps"]', 'providers = ["apps"]').replace(
        'providers = ["a"]\n', 'providers = ["apps"]\n'
    )
    start, end = removed.index("[providers.a]"), removed.index("[providers.apps]")
    rig.config.write_text(removed[:start] + removed[end:])
    await rig.app.reload(rig.settings())
    assert (await granted(rig, http, grant(rig)))[1]["reason"] == "UNKNOWN_ISSUER"
    rig.config.write_text(before)
    await rig.app.reload(rig.settings())
    assert (await granted(rig, http, grant(rig)))[0] == 200
    profile = Profile(principal="ada", disabled=True)
    update = profiles_pb.UpdateProfileRequest(profile=profile, update_mask=FieldMask(paths=["disabled"]))
    await rig.profiles.UpdateProfile(update, **rig.auth("root"))
    assert (await granted(rig, http, grant(rig)))[1]["reason"] == "PRINCIPAL_DISABLED"


# --- section 2.3: the server of domain A --------------------------------------------------------------------------


def abroad(rig: Rig, **changes: Any) -> dict[str, Any]:
    """The request of section 2.3.4."""
    return {
        "grant_type": EXCHANGE, "resource": AS_B, "subject_token_type": ID_TOKEN,
        "subject_token": rig.issuer.token(rig.clock.now(), email="ada@example.com"), **changes,
    }  # fmt: skip


async def test_section_2_3_a_users_token_is_exchanged_for_a_grant(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await post(rig, http, **abroad(rig))
    assert status == 200, body
    assert (body["issued_token_type"], body["token_type"], body["expires_in"]) == (JWT, "N_A", 300)
    assert jwt.get_unverified_header(body["access_token"])["typ"] == JWT_GRANT_TYP
    claims = claims_of(body["access_token"])
    expected = {"iss": ISSUER, "sub": "ada", "aud": AS_B, "client_id": "web-at-b", "email": "ada@example.com",
                "scope": "b.read b.write"}  # fmt: skip
    assert claims.keys() == expected.keys() | {"exp", "iat", "nbf", "jti"}
    assert {name: claims[name] for name in expected} == expected
    form = {"resource": ["https://api.b.example", AS_B], "scope": "b.read", "requested_token_type": JWT}
    claims = claims_of((await post(rig, http, **abroad(rig, **form)))[1]["access_token"])
    assert (claims["resource"], claims["scope"]) == ("https://api.b.example", "b.read")
    body = (await post(rig, http, "batch", **abroad(rig, resource=None, audience=AS_B)))[1]
    assert "client_id" not in claims_of(body["access_token"]), "it has no id there"


async def test_section_2_3_2_what_policy_does_not_accept_is_refused(rig: Rig, http: httpx2.AsyncClient) -> None:
    for changes, error in (
        ({"resource": "https://as.c.example"}, "invalid_target"), ({"scope": "admin"}, "invalid_scope"),
        ({"requested_token_type": ID_JAG}, "invalid_request"), ({"subject_token": "x"}, "invalid_request"),
        ({"requested_token_type": ACCESS_TOKEN}, "invalid_request"),
    ):  # fmt: skip
        status, body = await post(rig, http, **abroad(rig, **changes))
        assert (status, body["error"]) == (400, error), changes


async def test_a_grant_is_bound_to_the_key_of_the_proof(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await post(rig, http, key=1, **abroad(rig))
    assert (status, body["token_type"]) == (200, "N_A")
    assert claims_of(body["access_token"])["cnf"] == {"jkt": thumbprint(1)}


async def test_the_grant_that_we_mint_is_one_that_we_accept(rig: Rig, http: httpx2.AsyncClient) -> None:
    """The same claims, of another issuer, for us: both sides agree on the form."""
    claims = claims_of((await post(rig, http, **abroad(rig)))[1]["access_token"])
    changed = {"aud": ISSUER, "sub": "johndoe@a.example", "client_id": "web", "scope": "read", "iss": A.url}
    status, body = await granted(rig, http, grant(rig, **(claims | changed)))
    assert (status, body["scope"]) == (200, "read")


# --- the switch ---------------------------------------------------------------------------------------------------


async def test_section_3_the_metadata_name_the_grant_and_the_types(http: httpx2.AsyncClient) -> None:
    document = (await http.get("/.well-known/oauth-authorization-server")).json()
    assert document["grant_types_supported"] == [EXCHANGE, BEARER]
    assert document["identity_chaining_requested_token_types_supported"] == [JWT]
    assert "authorization_grant_profiles_supported" not in document  # those are of ID-JAGs


async def test_without_the_draft_nothing_of_it_is_configured_or_served(serve: Serve) -> None:
    off = "[oauth]\nenabled = true\n"
    with pytest.raises(ConfigurationError) as refused:
        async with serve(EXTRA.replace(OPTIONS, off)):
            pass
    assert f"providers.a.token_types: jwt_grant needs oauth.drafts to have {IDENTITY_CHAINING}" in refused.value.message
    assert f'audiences."{AS_B}".jwt_grant: needs oauth.drafts to have {IDENTITY_CHAINING}' in refused.value.message
    plain = EXTRA.replace(OPTIONS, off).replace(ABROAD, "").replace('["jwt_grant"]', '["jwt"]')
    async with serve(plain) as rig, plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        status, body = await granted(rig, http, grant(rig))
        assert (status, body["error"]) == (400, "unsupported_grant_type")
        assert IDENTITY_CHAINING in body["error_description"]
        told = await refusal(over_grpc(rig, grant(rig)))
        assert told.reason == "UNSUPPORTED_TOKEN_TYPE"
        assert "chaining" not in json.dumps((await http.get("/.well-known/oauth-authorization-server")).json())
        rig.config.write_text(rig.config.read_text().replace(off, OPTIONS) + ABROAD)
        with pytest.raises(ConfigurationError, match=r"oauth\.drafts: .* restart the service"):
            await rig.app.reload(rig.settings())
