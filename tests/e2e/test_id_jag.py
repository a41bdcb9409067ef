"""Identity assertions: draft-ietf-oauth-identity-assertion-authz-grant, minted (leg 1) and accepted (leg 2)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import grpc
import httpx2
import jwt
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, rsa_key
from tests.rig import Rig, Serve, person, refusal

from tokenmint.base.errors import ConfigurationError
from tokenmint.model.drafts import IDENTITY_ASSERTION
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_JAG, ID_JAG_TYP, ID_TOKEN
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub
from tokenmint.verification.jwk import read_jwk
from tokenmint.verification.jws import parse_compact

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, MCP, CHAT, AS = "https://tokens.example", "https://mcp.example", "https://chat.example", "https://as.example"
EXCHANGE, BEARER = (f"urn:ietf:params:oauth:grant-type:{name}" for name in ("token-exchange", "jwt-bearer"))
WORK = Issuer(url="https://work.example", key=rsa_key(3))
NUMBERS = count()
OPTIONS = f'[oauth]\nenabled = true\ndrafts = ["{IDENTITY_ASSERTION}"]\n'
EXTRA = f"""
{OPTIONS}
[providers.work]
issuer = "{WORK.url}"
audiences = ["somebody-else"]
token_types = ["id_token", "id_jag"]
iat_required = false
token_lifetime = "5m"
jwks = '''{WORK.jwks().decode()}'''

[audiences."{MCP}"]
clients = ["web", "spa"]
providers = ["work"]
resources = ["https://mcp.example/tools"]
scopes = ["read", "write"]
public_clients = true

[audiences."{CHAT}"]
clients = ["web", "batch"]
providers = ["work"]
scopes = ["read"]

[audiences."{AS}"]
clients = ["web", "batch"]
providers = ["idp"]
resources = ["https://chat.as.example/api"]
scopes = ["chat.read", "chat.write"]
[audiences."{AS}".id_jag]
clients = {{ web = "client-1", batch = "client-2" }}
[audiences."{AS}".claims]
email = "assertion.email"

[clients.spa]
public = true
"""


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA) as service:
            ada = person("ada", "1842")
            ada.identities.append(Identity(provider="work", subject="w1"))
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


def grant(rig: Rig, typ: str = ID_JAG_TYP, **changes: Any) -> str:
    """An ID-JAG of another identity provider."""
    claims: dict[str, Any] = {
        "sub": "w1", "aud": ISSUER, "client_id": "web", "jti": f"j{next(NUMBERS)}", "resource": MCP,
        "scope": "read write", "email": None, **changes,
    }  # fmt: skip
    return WORK.token(rig.clock.now(), headers={"typ": typ}, **claims)


async def post(rig: Rig, http: httpx2.AsyncClient, client: str = "web", **form: Any) -> tuple[int, Mapping[str, Any]]:
    auth = {"client_id": client} | ({} if client == "spa" else {"client_secret": rig.secrets[client].reveal()})
    answer = await http.post("/oauth2/token", data=auth | {name: value for name, value in form.items() if value})
    return answer.status_code, answer.json()


async def granted(rig: Rig, http: httpx2.AsyncClient, assertion: str, **form: Any) -> tuple[int, Mapping[str, Any]]:
    return await post(rig, http, grant_type=BEARER, assertion=assertion, **form)


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


# --- leg 2: an ID-JAG as a grant ----------------------------------------------------------------------------------


async def test_section_4_4_an_id_jag_is_a_grant_for_the_audience_that_its_resource_names(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    for resource in (MCP, "https://MCP.example:443/tools", [MCP, "https://mcp.example/tools"]):
        status, body = await granted(rig, http, grant(rig, resource=resource))
        assert (status, body.get("token_type")) == (200, "Bearer"), body
        claims = claims_of(body["access_token"])
        assert (claims["aud"], claims["sub"], claims["client_id"]) == (MCP, "ada", "web")
        assert set(claims["scope"].split()) == {"read", "write"}
    status, body = await granted(rig, http, grant(rig, resource=None), audience=MCP)
    assert (status, claims_of(body["access_token"])["aud"]) == (200, MCP)


@pytest.mark.parametrize(
    ("case", "changes", "code", "reason"),
    [
        ("RFC 7523bis: the token endpoint", {"aud": f"{ISSUER}/oauth2/token"}, "invalid_grant", "WRONG_AUDIENCE"),
        ("for another server", {"aud": "https://other.example"}, "invalid_grant", "WRONG_AUDIENCE"),
        ("for another server, too", {"aud": [ISSUER, "https://other.example"]}, "invalid_grant", "WRONG_AUDIENCE"),
        ("with a slash", {"aud": ISSUER + "/"}, "invalid_grant", "WRONG_AUDIENCE"),
        ("the client's own audience", {"aud": "somebody-else"}, "invalid_grant", "WRONG_AUDIENCE"),
        ("section 3.1: no client", {"client_id": None}, "invalid_grant", "CLAIM_REJECTED"),
        ("section 4.4.1: another client", {"client_id": "batch"}, "invalid_grant", "TOKEN_DENIED"),
        ("section 3.1: no jti", {"jti": None}, "invalid_grant", "CLAIM_REJECTED"),
        ("another header", {"typ": "JWT"}, "invalid_grant", "UNSUPPORTED_TOKEN_TYPE"),
        ("an access token", {"typ": "at+jwt"}, "invalid_grant", "UNSUPPORTED_TOKEN_TYPE"),
        ("over", {"exp": 1_799_999_000, "iat": 1_799_998_000}, "invalid_grant", "EXPIRED"),
        ("long-lived", {"exp": 1_800_100_000}, "invalid_grant", "CLAIM_REJECTED"),
        ("of nobody known", {"iss": "https://evil.example"}, "invalid_grant", "UNKNOWN_ISSUER"),
        ("of us", {"iss": ISSUER}, "invalid_grant", "UNKNOWN_ISSUER"),
        ("section 3.1: no iat", {"iat": None, "nbf": 1_800_000_000}, "invalid_grant", "CLAIM_REJECTED"),
        ("section 3.1: no iat, for ever", {"iat": None, "exp": 4_000_000_000}, "invalid_grant", "CLAIM_REJECTED"),
        ("section 6.3: another tenant's user", {"tenant": "evil"}, "invalid_grant", "CLAIM_REJECTED"),
        ("section 3.1: a tenant of ours", {"aud_tenant": "evil"}, "invalid_grant", "CLAIM_REJECTED"),
        ("a stranger", {"sub": "w9"}, "invalid_grant", "PRINCIPAL_UNKNOWN"),
        ("a scope that is no text", {"scope": ["read"]}, "invalid_grant", "CLAIM_REJECTED"),
        ("bound to a key", {"cnf": {"jkt": "A" * 43}}, "invalid_grant", "POSSESSION_NOT_PROVED"),
        ("delegated", {"act": {"sub": "agent"}}, "invalid_grant", "ACTOR_DENIED"),
        ("another resource", {"resource": "https://mcp.example/other"}, "invalid_grant", "WRONG_AUDIENCE"),
        ("two audiences", {"resource": [MCP, CHAT]}, "invalid_grant", "WRONG_AUDIENCE"),
        (
            "section 3.1: one resource too many",
            {"resource": [f"{MCP}:443"] + [MCP + "/x/.." * n for n in range(16)] + [CHAT]},
            "invalid_grant",
            "WRONG_AUDIENCE",
        ),
        ("a resource that is no text", {"resource": [MCP, 5]}, "invalid_grant", "WRONG_AUDIENCE"),
        ("no resource, and nothing else", {"resource": None}, "invalid_request", "INVALID_REQUEST"),
    ],
)
async def test_section_4_4_1_what_is_no_grant(
    rig: Rig, http: httpx2.AsyncClient, case: str, changes: dict[str, Any], code: str, reason: str
) -> None:
    status, body = await granted(rig, http, grant(rig, **changes))
    assert (status, body["error"], body["reason"]) == (400, code, reason), case


async def test_rfc_8693_section_2_2_2_an_id_jag_tells_nothing_about_other_audiences(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    """Its resource counts before its signature. So the answer is the same whether the resource exists or not."""
    answers = [
        await post(rig, http, "batch", grant_type=BEARER, assertion=grant(rig, resource=one, client_id="batch"))
        for one in (
            MCP,
            "https://mcp.example/tools",
            "https://nowhere.example",
            [CHAT, MCP],
            [CHAT, "https://no.example"],
        )
    ]
    assert {(status, body["error"], body["reason"]) for status, body in answers} == {
        (400, "invalid_grant", "WRONG_AUDIENCE")
    }
    assert len({body["error_description"] for _, body in answers}) == 1


async def test_a_resource_of_the_request_has_to_lead_to_the_same_audience(rig: Rig, http: httpx2.AsyncClient) -> None:
    """An audience can't be injected beside the one that the identity provider has named."""
    for form in ({"audience": CHAT}, {"resource": CHAT}, {"audience": MCP, "resource": CHAT}):
        status, body = await granted(rig, http, grant(rig), **form)
        assert (status, body["error"]) == (400, "invalid_target")


async def test_an_id_jag_is_used_once(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = grant(rig)
    assert (await granted(rig, http, token))[0] == 200
    status, body = await granted(rig, http, token)
    assert (status, body["error"], body["reason"]) == (400, "invalid_grant", "REPLAYED")
    told = await refusal(over_grpc(rig, token))
    assert told.reason == "REPLAYED"
    refused = grant(rig)
    assert (await granted(rig, http, refused, scope="admin"))[0] == 400
    assert (await granted(rig, http, refused))[0] == 200, "a refusal uses nothing up"


async def test_scopes_are_narrowed_and_never_widened(rig: Rig, http: httpx2.AsyncClient) -> None:
    for claim, asked, expected in (
        ("read write", "", "read write"), ("read write", "read", "read"), ("read", "", "read"),
        ("read chat", "", "read"), ("", "", None), (None, "", None),
    ):  # fmt: skip
        status, body = await granted(rig, http, grant(rig, scope=claim), scope=asked)
        assert (status, body.get("scope")) == (200, expected), claim
    for claim, asked in (("read", "write"), ("read", "read write"), (None, "read")):
        status, body = await granted(rig, http, grant(rig, scope=claim), scope=asked)
        assert (status, body["error"]) == (400, "invalid_scope"), (claim, asked)


async def test_mcp_section_7_6_2_an_id_jag_whose_scopes_are_all_foreign_is_no_grant(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    """A token without scopes would be one that no identity provider has asked for: some services take it for all."""
    for resource, scope, asked in (
        (MCP, "other", ""), (MCP, "chat more", ""), (MCP, "other", "read"), (CHAT, "write", ""), (MCP, "READ", ""),
    ):  # fmt: skip
        token = grant(rig, scope=scope, resource=resource)
        status, body = await granted(rig, http, token, scope=asked)
        assert (status, body["error"], body["reason"]) == (400, "invalid_grant", "SCOPE_DENIED"), (scope, asked)
        told = await refusal(over_grpc(rig, token, scopes=[asked] if asked else []))
        assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_DENIED")


async def test_a_client_that_proves_only_its_name_has_no_grant(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await post(rig, http, "spa", grant_type=BEARER, assertion=grant(rig, client_id="spa"))
    assert (status, body["error"], body["reason"]) == (400, "invalid_grant", "TOKEN_DENIED")
    status, body = await post(rig, http, "batch", grant_type=BEARER, assertion=grant(rig))
    assert body["reason"] == "WRONG_AUDIENCE"
    other = grant(rig, resource=CHAT)
    status, body = await post(rig, http, "batch", grant_type=BEARER, assertion=other)
    assert (status, body["error"], body["reason"]) == (400, "invalid_grant", "TOKEN_DENIED")


async def test_the_parameters_of_token_exchange_are_none_of_this_grants(rig: Rig, http: httpx2.AsyncClient) -> None:
    for name in ("subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type"):
        status, body = await granted(rig, http, grant(rig), **{name: "x"})
        assert (status, body["error"]) == (400, "invalid_request"), name
    status, body = await granted(rig, http, "")
    assert (status, body["error"]) == (400, "invalid_request")
    form = {"grant_type": EXCHANGE, "subject_token": grant(rig), "subject_token_type": ID_JAG, "audience": MCP}
    status, body = await post(rig, http, **form)
    assert (status, body["error"]) == (400, "invalid_request")


async def over_grpc(rig: Rig, token: str, **fields: Any) -> str:
    request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=ID_JAG, **fields)
    return (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token


async def test_an_id_jag_is_exchanged_over_grpc_by_the_same_rules(rig: Rig) -> None:
    assert claims_of(await over_grpc(rig, grant(rig)))["aud"] == MCP
    for changes, reason in (({"client_id": "batch"}, "TOKEN_DENIED"), ({"aud": "x"}, "WRONG_AUDIENCE")):
        assert (await refusal(over_grpc(rig, grant(rig, **changes)))).reason == reason
    assert (await refusal(over_grpc(rig, grant(rig), audience=CHAT))).reason == "AUDIENCE_DENIED"
    told = await refusal(over_grpc(rig, grant(rig), actor_token=grant(rig), actor_token_type=ID_TOKEN))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    batch = pb.BatchExchangeTokensRequest(
        subject_token=grant(rig), subject_token_type=ID_JAG, targets=[pb.BatchExchangeTarget(audience=MCP)]
    )
    told = await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_explanation_tells_of_resources_that_lead_elsewhere(rig: Rig) -> None:
    """The operator that asks is authenticated: the refused token is the subject of the explanation."""
    stub: Any = TokenExchangeServiceStub(rig.admin)
    for resource in ("https://nowhere.example", [CHAT, MCP]):
        exchange = pb.ExchangeTokenRequest(subject_token=grant(rig, resource=resource), subject_token_type=ID_JAG)
        request = pb.ExplainExchangeRequest(exchange=exchange, client_id="web")
        answer = await stub.ExplainExchange(request, **rig.auth("root"))
        [step] = answer.steps
        assert (step.name, step.reason) == ("policy.target", "WRONG_AUDIENCE")
        assert not answer.HasField("planned_token")
        assert [key.key for key in answer.deciding_keys] == ["audiences"]


@pytest.mark.alone
async def test_a_disabled_user_has_no_grant(rig: Rig, http: httpx2.AsyncClient) -> None:
    profile = Profile(principal="ada", disabled=True)
    update = profiles_pb.UpdateProfileRequest(profile=profile, update_mask=FieldMask(paths=["disabled"]))
    await rig.profiles.UpdateProfile(update, **rig.auth("root"))
    status, body = await granted(rig, http, grant(rig))
    assert (status, body["error"], body["reason"]) == (400, "invalid_grant", "PRINCIPAL_DISABLED")
    status, body = await post(rig, http, **leg_one(rig))
    assert (status, body["reason"]) == (400, "PRINCIPAL_DISABLED")


# --- leg 1: an ID-JAG for another server --------------------------------------------------------------------------


def leg_one(rig: Rig, **changes: Any) -> dict[str, Any]:
    return {
        "grant_type": EXCHANGE, "subject_token": rig.issuer.token(rig.clock.now(), email="ada@example.com"),
        "subject_token_type": ID_TOKEN, "requested_token_type": ID_JAG, "audience": AS, **changes,
    }  # fmt: skip


async def test_section_4_3_a_users_token_is_exchanged_for_an_id_jag(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await post(rig, http, **leg_one(rig, resource="https://chat.as.example/api", scope="chat.read"))
    assert status == 200, body
    assert (body["issued_token_type"], body["token_type"], body["expires_in"]) == (ID_JAG, "N_A", 300)
    assert body["scope"] == "chat.read"
    header, claims = jwt.get_unverified_header(body["access_token"]), claims_of(body["access_token"])
    assert header["typ"] == ID_JAG_TYP
    expected = {"iss": ISSUER, "sub": "ada", "aud": AS, "client_id": "client-1", "scope": "chat.read",
                "resource": "https://chat.as.example/api", "email": "ada@example.com"}  # fmt: skip
    assert {name: claims[name] for name in expected} == expected
    assert claims["exp"] - claims["iat"] == 300
    keys = (await http.get("/.well-known/jwks.json")).json()["keys"]
    [published] = [key for key in keys if key["kid"] == header["kid"]]
    signed = parse_compact(Secret(body["access_token"]), 65536)
    assert read_jwk(published).verify("ES256", signed.signing_input, signed.signature)


async def test_only_id_jags_are_minted_for_another_server(rig: Rig, http: httpx2.AsyncClient) -> None:
    status, body = await post(rig, http, **leg_one(rig, requested_token_type=None))
    assert (status, body["issued_token_type"]) == (200, ID_JAG)
    for changes, reason in (
        ({"requested_token_type": ID_TOKEN}, "FORMAT_DENIED"), ({"audience": MCP}, "FORMAT_DENIED"),
        ({"scope": "admin"}, "SCOPE_DENIED"), ({"resource": "https://other.example"}, "AUDIENCE_DENIED"),
    ):  # fmt: skip
        assert (await post(rig, http, **leg_one(rig, **changes)))[1]["reason"] == reason, changes


async def test_an_id_jag_of_ours_is_of_no_use_here(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = (await post(rig, http, **leg_one(rig)))[1]["access_token"]
    auth = {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}
    assert (await http.post("/oauth2/introspect", data=auth | {"token": token})).json() == {"active": False}
    assert (await granted(rig, http, token, audience=MCP))[1]["reason"] == "UNKNOWN_ISSUER"


# --- the switch ---------------------------------------------------------------------------------------------------


async def test_the_metadata_say_that_the_grant_is_served(http: httpx2.AsyncClient) -> None:
    document = (await http.get("/.well-known/oauth-authorization-server")).json()
    assert document["grant_types_supported"] == [EXCHANGE, BEARER]
    assert document["authorization_grant_profiles_supported"] == ["urn:ietf:params:oauth:grant-profile:id-jag"]
    assert document["identity_chaining_requested_token_types_supported"] == [ID_JAG]  # section 7.1


@pytest.mark.parametrize("grant_type", [None, "password"])
async def test_rfc_6749_section_5_2_a_refused_grant_type_names_all_that_are_served(
    rig: Rig, http: httpx2.AsyncClient, grant_type: str | None
) -> None:
    given = {"grant_type": grant_type} if grant_type is not None else {}
    status, body = await post(rig, http, **given)
    assert status == 400
    assert f"{EXCHANGE} or {BEARER}" in body["error_description"]


async def test_without_the_draft_nothing_of_it_is_configured(serve: Serve) -> None:
    with pytest.raises(ConfigurationError) as refused:
        async with serve(EXTRA.replace(OPTIONS, "[oauth]\nenabled = true\n")):
            pass
    problems = refused.value.message
    assert f"providers.work.token_types: id_jag needs oauth.drafts to have {IDENTITY_ASSERTION}" in problems
    assert f'audiences."{AS}".id_jag: needs oauth.drafts to have {IDENTITY_ASSERTION}' in problems


async def test_a_draft_that_a_reload_switches_on_needs_a_restart(serve: Serve) -> None:
    """Until then no provider's ID-JAG is accepted, and none is minted: not over gRPC either."""
    provider = EXTRA[EXTRA.index("[providers.work]") : EXTRA.index(f'[audiences."{MCP}"]')]
    minting = EXTRA[EXTRA.index(f'[audiences."{AS}"]') : EXTRA.index("[clients.spa]")]
    plain = provider.replace(', "id_jag"', "") + EXTRA[EXTRA.index(f'[audiences."{MCP}"]') : EXTRA.index(minting)]
    off = "[oauth]\nenabled = true\n"
    async with serve(off + plain + "[clients.spa]\npublic = true\n") as rig:
        before = rig.config.read_text()
        for old, new in ((plain, plain.replace('["id_token"]', '["id_token", "id_jag"]')), (plain, plain + minting)):
            rig.config.write_text(before.replace(off, OPTIONS).replace(old, new))
            with pytest.raises(ConfigurationError, match=r"oauth\.drafts: .* restart the service"):
                await rig.app.reload(rig.settings())
            assert (await refusal(over_grpc(rig, grant(rig)))).reason == "UNSUPPORTED_TOKEN_TYPE"
        rig.config.write_text(before.replace(off, OPTIONS))
        await rig.app.reload(rig.settings())  # prepared: nothing depends on it yet
        rig.config.write_text(before)
        await rig.app.reload(rig.settings())
