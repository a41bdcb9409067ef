"""Targets and types over gRPC, and in the records: the same code as over HTTP (RFC 8693 section 2.1, RFC 8707)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import grpc
import jwt
import pytest
from tests import plain_http
from tests.e2e.sharing import Start
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, Rig, Serve, person, refusal

from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

MCP, NEXT, HANDLE = "https://mcp.example", "https://next.example", "https://handle.example"
EXTRA = f"""
[oauth]
enabled = true
[audiences."{MCP}"]
clients = ["web"]
providers = ["idp"]
resources = ["api://mcp/tools"]
[audiences."{HANDLE}"]
clients = ["web"]
providers = ["idp"]
[audiences."{HANDLE}".reference]
[audiences."{NEXT}"]
clients = ["web"]
reexchange_from = ["{MCP}", "{HANDLE}"]
on_missing_profile = "without"
"""


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(EXTRA, transport=transport) as service:
            await service.create(person())
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


async def mint(rig: Rig, request: pb.ExchangeTokenRequest) -> str:
    return (await rig.exchange.ExchangeToken(request, **rig.auth("web"))).token


def audience_of(token: str) -> str:
    audience: str = jwt.decode(token, options={"verify_signature": False})["aud"]
    return audience


async def test_resources_name_the_audience_over_grpc_as_well(rig: Rig) -> None:
    for audience, resources in (
        ("", ["api://MCP/tools"]), (MCP, ["api://mcp/x/../tools"]), ("", ["HTTPS://mcp.example:443/", "api://mcp/tools"]),
    ):  # fmt: skip
        assert audience_of(await mint(rig, rig.request(audience=audience, resources=resources))) == MCP
    for audience, resources, code, reason in (
        (AUDIENCE, ["api://mcp/tools"], grpc.StatusCode.PERMISSION_DENIED, "AUDIENCE_DENIED"),
        ("", ["api://mcp/tool"], grpc.StatusCode.PERMISSION_DENIED, "AUDIENCE_DENIED"),
        ("", ["api://mcp/tools#x"], grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ("", [f"api://mcp/{number}" for number in range(17)], grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ("", [], grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ):
        told = await refusal(mint(rig, rig.request(audience=audience, resources=resources)))
        assert (told.code, told.reason) == (code, reason), resources


async def test_every_combination_of_names_has_one_answer_over_both_transports(rig: Rig) -> None:
    """All names lead to one audience, or the request is refused: in any order, once or twice, whether they exist."""
    tools, none = "api://mcp/tools", "https://no.example"
    leads = {MCP: MCP, tools: MCP, LEGACY_AUDIENCE: LEGACY_AUDIENCE}
    auth = {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}
    usual = auth | {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token_type": ID_TOKEN}
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        for audiences, one, two in product(
            ((), (MCP,), (MCP, MCP), (MCP, LEGACY_AUDIENCE), (tools,), (none,)),
            ("", MCP, tools, LEGACY_AUDIENCE, none),
            ("", tools, none),
        ):  # fmt: skip
            resources, token = [name for name in (one, two) if name], rig.issuer.token(rig.clock.now())
            found = {leads.get(name, "") if name != tools else "" for name in audiences}
            found |= {leads.get(name, "") for name in resources}
            expected = "invalid_target" if found else "invalid_request"
            if len(found) == 1 and "" not in found:
                expected = found.pop()
            form = usual | {"subject_token": token, "audience": list(audiences), "resource": resources}
            body = (await http.post("/oauth2/token", data=form)).json()
            told = audience_of(body["access_token"]) if "access_token" in body else body["error"]
            assert told == expected, (audiences, resources)
            if len(audiences) > 1:
                continue  # over gRPC it is one field
            request = rig.request(token, "".join(audiences), resources=resources)
            if expected in leads:
                assert audience_of(await mint(rig, request)) == expected
            else:
                reason = (await refusal(mint(rig, request))).reason
                assert reason == {"invalid_target": "AUDIENCE_DENIED", "invalid_request": "INVALID_REQUEST"}[expected]


async def test_a_target_of_a_batch_names_its_audience_by_itself(rig: Rig) -> None:
    targets = [
        pb.BatchExchangeTarget(resources=["api://mcp/tools"]),
        pb.BatchExchangeTarget(audience=AUDIENCE, resources=["api://mcp/tools"]),
        pb.BatchExchangeTarget(audience=LEGACY_AUDIENCE),
    ]
    batch = pb.BatchExchangeTokensRequest(subject_token=rig.issuer.token(rig.clock.now()), targets=targets)
    results = (await rig.exchange.BatchExchangeTokens(batch, **rig.auth("web"))).results
    assert [audience_of(one.token.token) if one.HasField("token") else "" for one in results] == [
        MCP, "", LEGACY_AUDIENCE,
    ]  # fmt: skip
    batch.targets.append(pb.BatchExchangeTarget())
    told = await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.alone
async def test_the_record_has_the_audience_that_was_found_and_else_the_names(rig: Rig) -> None:
    await mint(rig, rig.request(audience="", resources=["api://MCP/tools"]))
    await refusal(mint(rig, rig.request(audience=AUDIENCE, resources=["api://mcp/tools"])))
    await rig.parts.audit.flush()
    store = rig.parts.store
    raw = await store.server.client.xrange(f"{store.prefix}audit")
    events = [json.loads(fields[b"event"]) for _, fields in raw]
    assert [event["audience"] for event in events] == [MCP, f"{AUDIENCE} api://mcp/tools"]


async def test_an_explanation_finds_the_audience_too(rig: Rig) -> None:
    stub: Any = TokenExchangeServiceStub(rig.admin)
    for resources, last in ((["api://mcp/tools"], "replay.unclaimed"), (["api://mcp"], "policy.client")):
        asked = rig.request(audience="", resources=resources)
        explained = pb.ExplainExchangeRequest(exchange=asked, client_id="web")
        steps = (await stub.ExplainExchange(explained, **rig.auth("root"))).steps
        assert steps[-1].name == last


async def test_rfc_8693_section_3_a_token_of_ours_may_be_sent_as_the_jwt_that_it_is(rig: Rig) -> None:
    token = await mint(rig, rig.request(audience=MCP))
    for kind in (ACCESS_TOKEN, JWT):
        again = await mint(rig, rig.request(token, NEXT, subject_token_type=kind))
        assert audience_of(again) == NEXT
    told = await refusal(mint(rig, rig.request(token, NEXT, subject_token_type=ID_TOKEN)))
    assert told.reason == "UNKNOWN_ISSUER"
    handle = await mint(rig, rig.request(audience=HANDLE))
    assert audience_of(await mint(rig, rig.request(handle, NEXT, subject_token_type=ACCESS_TOKEN))) == NEXT
    told = await refusal(mint(rig, rig.request(handle, NEXT, subject_token_type=JWT)))
    assert told.reason == "MALFORMED"
