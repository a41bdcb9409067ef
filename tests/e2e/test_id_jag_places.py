"""ID-JAGs in the places of other tokens, and other tokens in the place of ID-JAGs (RFC 8725 section 3.11)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import grpc
import httpx2
import pytest
import pytest_asyncio
from tests import plain_http
from tests.e2e.sharing import Start
from tests.issuer import Issuer, rsa_key
from tests.rig import Rig, Serve, refusal

from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.model.drafts import IDENTITY_ASSERTION
from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, ID_JAG_TYP, ID_TOKEN, JWT
from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, MCP, AS = "https://tokens.example", "https://mcp.example", "https://as.example"
EXCHANGE, BEARER = (f"urn:ietf:params:oauth:grant-type:{name}" for name in ("token-exchange", "jwt-bearer"))
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
WORK = Issuer(url="https://work.example", key=rsa_key(3))
NUMBERS = count()
EXTRA = f"""
[oauth]
enabled = true
drafts = ["{IDENTITY_ASSERTION}"]

[envoy]
enabled = true
audience = "{MCP}"

[providers.work]
issuer = "{WORK.url}"
audiences = ["app", "{ISSUER}"]
token_types = ["id_token", "access_token", "jwt", "id_jag"]
untyped_access_tokens = true
jwks = '''{WORK.jwks().decode()}'''

[audiences."{MCP}"]
clients = ["web", "robot"]
providers = ["work"]
reexchange_from = ["{MCP}"]
scopes = ["read"]
on_missing_profile = "without"
[audiences."{MCP}".actors]
providers = ["work"]
audiences = ["{MCP}"]
without_may_act = true

[audiences."{AS}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
condition = "client.id == 'web' && assertion.aud == 'app'"
[audiences."{AS}".id_jag]
clients = {{ web = "client-1" }}

[clients.robot]
workloads = [{{ provider = "work", subject = "w1" }}]
"""
TYPES = (ID_JAG_TYP, "application/" + ID_JAG_TYP, ID_JAG_TYP.upper())


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA, transport=transport) as service:
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


def signed(rig: Rig, typ: str | None = ID_JAG_TYP, **changes: Any) -> str:
    """A token of the identity provider: an ID-JAG, or another one with the same claims."""
    claims = {
        "sub": "w1",
        "aud": ISSUER,
        "client_id": "web",
        "jti": f"j{next(NUMBERS)}",
        "resource": MCP,
        "email": None,
    }
    return WORK.token(rig.clock.now(), headers={"typ": typ}, **(claims | {"scope": "read"} | changes))


async def post(rig: Rig, http: httpx2.AsyncClient, path: str = "token", **form: Any) -> tuple[int, Mapping[str, Any]]:
    auth = {} if "client_assertion" in form else {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}
    answer = await http.post(f"/oauth2/{path}", data=auth | form)
    return answer.status_code, answer.json() if answer.content else {}


def exchange(token: str, kind: str = ID_TOKEN, **fields: Any) -> dict[str, Any]:
    usual = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": kind, "audience": MCP}
    return usual | fields


async def ours(rig: Rig, http: httpx2.AsyncClient) -> str:
    """An ID-JAG that tokenmint minted for another server."""
    status, body = await post(rig, http, **exchange(signed(rig, "JWT", aud="app"), audience=AS))
    assert (status, body.get("issued_token_type")) == (200, ID_JAG), body
    token: str = body["access_token"]
    return token


async def test_an_id_jag_is_no_other_token(rig: Rig, http: httpx2.AsyncClient) -> None:
    """Everything but its `typ` would be right for the other places."""
    own = await ours(rig, http)
    user = signed(rig, "JWT", aud="app")
    for token in (own, *(signed(rig, typ) for typ in TYPES)):
        for kind in (ID_TOKEN, ACCESS_TOKEN, JWT):
            assert (await post(rig, http, **exchange(token, kind)))[0] == 400, kind
            acting = exchange(user, actor_token=token, actor_token_type=kind)
            assert (await post(rig, http, **acting))[0] == 400, kind
            request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=kind, audience=MCP)
            await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
        for kind in (ID_JAG, "id_jag", ID_JAG_TYP):
            acting = exchange(user, actor_token=token, actor_token_type=kind)
            assert (await post(rig, http, **acting))[0] == 400, kind
            request = pb.ExchangeTokenRequest(
                subject_token=user, audience=MCP, actor_token=token, actor_token_type=kind
            )
            await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
        status, body = await post(rig, http, **exchange(user), client_assertion=token, client_assertion_type=ASSERTION)
        assert (status, body["error"]) == (401, "invalid_client")
        workload = {"metadata": (("tokenmint-workload-token", token),), "timeout": 20}
        request = pb.ExchangeTokenRequest(subject_token=user, audience=MCP)
        await refusal(rig.exchange.ExchangeToken(request, **workload))  # type: ignore[arg-type]  # as auth's
        assert (await post(rig, http, "introspect", token=token))[1] == {"active": False}
        assert (await post(rig, http, "revoke", token=token))[0] == 200
        assert await checked(rig, token) == 401
    assert (await post(rig, http, **exchange(user)))[0] == 200, "the others are"
    assert await checked(rig, signed(rig, "JWT", aud="app")) == 200
    workload_of = {"client_assertion": signed(rig, "JWT"), "client_assertion_type": ASSERTION}
    assert (await post(rig, http, **exchange(user), **workload_of))[0] == 200


async def checked(rig: Rig, token: str) -> int:
    """Ask as a gateway does. Return the status for its client."""
    request = envoy.CheckRequest()
    request.attributes.request.http.host = "mcp.example"
    request.attributes.request.http.headers["authorization"] = f"Bearer {token}"
    call = rig.data.unary_unary(
        "/envoy.service.auth.v3.Authorization/Check",
        request_serializer=envoy.CheckRequest.SerializeToString,
        response_deserializer=envoy.CheckResponse.FromString,
    )
    told = await call(request, **rig.auth("web"))
    return 200 if told.HasField("allowed") else int(told.denied.status.code)


async def test_no_other_token_is_an_id_jag(rig: Rig, http: httpx2.AsyncClient) -> None:
    issued = (await post(rig, http, **exchange(signed(rig, "JWT", aud="app"))))[1]["access_token"]
    others = [
        signed(rig, typ)
        for typ in (
            None, "", "JWT", "at+jwt", "jwt", "logout+jwt", "oauth-id-jag", "id-jag+jwt", "oauth-id-jag+jwt+jwt",
            "application/application/oauth-id-jag+jwt", "application/x/oauth-id-jag+jwt", " oauth-id-jag+jwt",
        )
    ]  # fmt: skip
    for token in (issued, await ours(rig, http), "x", "tmr_x", *others):
        status, body = await post(rig, http, grant_type=BEARER, assertion=token, audience=MCP)
        assert (status, body["error"]) == (400, "invalid_grant"), body
    for typ in TYPES:  # RFC 7515 section 4.1.9
        assert (await post(rig, http, grant_type=BEARER, assertion=signed(rig, typ)))[0] == 200, typ


async def test_section_4_3_3_a_condition_keeps_one_app_s_token_from_another_client(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    assert (await post(rig, http, **exchange(signed(rig, "JWT", aud="app"), audience=AS)))[0] == 200
    status, body = await post(rig, http, **exchange(signed(rig, "JWT"), audience=AS))
    assert (status, body["reason"]) == (400, "CONDITION_DENIED")


async def test_without_the_switch_everything_of_the_draft_is_refused(serve: Serve) -> None:
    off = EXTRA.replace(f'drafts = ["{IDENTITY_ASSERTION}"]\n', "").replace(', "id_jag"]', "]")
    off = off.replace(f'[audiences."{AS}".id_jag]\nclients = {{ web = "client-1" }}\n', "")
    async with serve(off) as rig, plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        for typ in TYPES:
            token = signed(rig, typ)
            status, body = await post(rig, http, grant_type=BEARER, assertion=token)
            assert (status, body["error"]) == (400, "unsupported_grant_type")
            status, body = await post(rig, http, **exchange(token, ID_JAG))
            assert (status, body["error"]) == (400, "invalid_request")
            request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=ID_JAG, audience=MCP)
            told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
            assert told.reason == "UNSUPPORTED_TOKEN_TYPE"
        user = signed(rig, "JWT", aud="app")
        for audience in (MCP, AS):
            status, body = await post(rig, http, **exchange(user, audience=audience, requested_token_type=ID_JAG))
            assert (status, body["reason"]) == (400, "FORMAT_DENIED")
        for page in ("oauth-authorization-server", "openid-configuration"):
            answer = await http.get(f"/.well-known/{page}")
            assert "jag" not in answer.text
            assert "jwt-bearer" not in answer.text


async def test_an_id_jag_is_used_once_by_calls_that_arrive_together(rig: Rig, http: httpx2.AsyncClient) -> None:
    for _ in range(3):
        token = signed(rig)
        request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=ID_JAG)

        async def over_grpc(request: pb.ExchangeTokenRequest = request) -> int:
            try:
                return 200 if (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token else 0
            except grpc.aio.AioRpcError:
                return 400

        async def over_http(token: str = token) -> int:
            return (await post(rig, http, grant_type=BEARER, assertion=token))[0]

        ends = await asyncio.gather(*(one() for one in (over_grpc, over_http) * 3))
        assert sorted(ends) == [200, 400, 400, 400, 400, 400]


async def test_an_id_jag_is_used_once_on_all_replicas_and_each_issuer_has_ids_of_its_own(
    rig: Rig, serve: Serve
) -> None:
    twin = Issuer(url="https://twin.example", key=rsa_key(4))
    more = f"""
[providers.twin]
issuer = "{twin.url}"
audiences = ["app"]
token_types = ["id_jag"]
jwks = '''{twin.jwks().decode()}'''
"""
    text = (EXTRA + more).replace('providers = ["work"]\nreexchange', 'providers = ["work", "twin"]\nreexchange')

    async def used(replica: Rig, token: str) -> str:
        request = pb.ExchangeTokenRequest(subject_token=token, subject_token_type=ID_JAG)
        try:
            return "used" if (await replica.exchange.ExchangeToken(request, **replica.auth("web"))).token else ""
        except grpc.aio.AioRpcError as error:
            return error.details() or ""

    async with serve(text) as one, serve(text) as other:
        for _ in range(3):
            token = signed(one)
            ends = await asyncio.gather(*(used(replica, token) for replica in (one, other) * 3))
            assert ends.count("used") == 1
        token = signed(one, jti="of-both", sub="w1")
        assert (await used(one, token), await used(other, signed(one, jti="of-both", sub="w2"))) != ("used", "used")
        claims = {"aud": ISSUER, "client_id": "web", "jti": "of-both", "resource": MCP, "email": None}
        foreign = twin.token(one.clock.now(), headers={"typ": ID_JAG_TYP}, **claims)
        assert (await used(other, foreign), await used(one, foreign) == "used") == ("used", False)
