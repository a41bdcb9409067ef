"""Replacements of transaction tokens: draft-ietf-oauth-transaction-tokens-10 section 13.15. They never widen."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from tests import plain_http, transactions
from tests.e2e.sharing import Start
from tests.rig import Rig
from tests.transactions import (
    AGENTS,
    API,
    ISSUER,
    OTHER,
    access_token,
    claims_of,
    form,
    minted,
    over_grpc,
    post,
    reason_over_grpc,
    replacing,
)  # fmt: skip

from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1.profile_pb2 import Profile as ProfileMessage

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def start() -> Start:
    return transactions.starting()


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as client:
        yield client


async def replaced(rig: Rig, http: httpx2.AsyncClient, token: str, **changes: Any) -> dict[str, Any]:
    status, body = await post(rig, http, "pay", **replacing(rig, token, **changes))
    assert status == 200, body
    return claims_of(body["access_token"])


async def refused(rig: Rig, http: httpx2.AsyncClient, token: str, client: str = "pay", **changes: Any) -> str:
    """The reason of a refusal, which is the same over both transports."""
    status, body = await post(rig, http, client, **replacing(rig, token, **changes))
    assert status == 400, body
    assert await reason_over_grpc(rig, client, **replacing(rig, token, **changes)) == body["reason"]
    reason: str = body["reason"]
    return reason


async def test_section_13_15_a_replacement_keeps_txn_sub_aud_and_both_contexts(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    first = await minted(rig, http, scope="trade.stocks read")
    before = claims_of(first)
    after = await replaced(rig, http, first, scope="read")
    for name in ("iss", "txn", "sub", "aud", "tctx", "rctx"):
        assert after[name] == before[name], name
    assert (after["scope"], after["jti"] != before["jti"]) == ("read", True)
    assert claims_of((await over_grpc(rig, "pay", **replacing(rig, first, scope="read"))).token)["txn"] == before["txn"]


async def test_section_13_15_the_call_chain_of_workloads_is_maintained(rig: Rig, http: httpx2.AsyncClient) -> None:
    first = await minted(rig, http)
    second = (await post(rig, http, "pay", **replacing(rig, first)))[1]["access_token"]
    third = await replaced(rig, http, second)
    assert [claims_of(first)["req_wl"], "tm_call_chain" in claims_of(first)] == ["web", False]
    assert [claims_of(second)[name] for name in ("req_wl", "tm_call_chain")] == ["pay", ["web"]]
    assert [third[name] for name in ("req_wl", "tm_call_chain")] == ["pay", ["web", "pay"]]


async def test_section_13_15_a_replacement_never_has_more_scopes(rig: Rig, http: httpx2.AsyncClient) -> None:
    first = await minted(rig, http, scope="read")
    for scope in ("trade.stocks", "read trade.stocks", "admin"):
        assert await refused(rig, http, first, scope=scope) == "SCOPE_DENIED"
    assert await refused(rig, http, first, scope=None) == "SCOPE_DENIED", "named, also for a replacement"


async def test_section_13_15_nothing_is_added_to_the_contexts(rig: Rig, http: httpx2.AsyncClient) -> None:
    """The draft lets a service add values; here a workload of the chain can't: it could add what permits more."""
    first = await minted(rig, http, request_details=json.dumps({}))
    assert "action" not in claims_of(first)["tctx"]
    for name in ("request_details", "request_context"):
        for text in ('{"action":"SELL"}', "{}"):
            assert await refused(rig, http, first, **{name: text}) == "FORMAT_DENIED"
    agent = AGENTS.token(rig.clock.now(), sub="a1", aud=ISSUER, email=None)
    assert await refused(rig, http, first, actor_token=agent, actor_token_type=ID_TOKEN) == "ACTOR_DENIED"


@pytest.mark.alone
async def test_section_13_15_a_replacement_does_not_follow_a_changed_profile(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    first = await minted(rig, http)
    profile = ProfileMessage(principal="ada")
    profile.claims.update({"level": 9})
    update = profiles_pb.UpdateProfileRequest(profile=profile, update_mask=FieldMask(paths=["claims"]))
    await rig.profiles.UpdateProfile(update, **rig.auth("root"))
    assert (await replaced(rig, http, first))["tctx"]["level"] == 7
    assert claims_of(await minted(rig, http))["tctx"]["level"] == 9
    profile.claims.update({"level": 7})
    await rig.profiles.UpdateProfile(update, **rig.auth("root"))


@pytest.mark.alone
async def test_section_13_15_a_token_that_has_expired_is_not_replaced_and_none_outlives_it(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    first = await minted(rig, http)
    await rig.set_time(claims_of(first)["exp"] - 1)
    after = await replaced(rig, http, first)
    assert after["exp"] == claims_of(first)["exp"]
    await rig.set_time(claims_of(first)["exp"] + 1)
    assert await refused(rig, http, first) == "EXPIRED"


async def test_section_13_15_a_transaction_is_replaced_four_times_at_most(rig: Rig, http: httpx2.AsyncClient) -> None:
    token = await minted(rig, http)
    for _ in range(4):
        token = (await post(rig, http, "pay", **replacing(rig, token)))[1]["access_token"]
    assert await refused(rig, http, token) == "REEXCHANGE_DENIED"


async def test_only_workloads_of_the_trust_domain_replace_a_token(rig: Rig, http: httpx2.AsyncClient) -> None:
    first = await minted(rig, http)
    assert await refused(rig, http, first, "batch") == "AUDIENCE_DENIED"
    own = (await post(rig, http, "pay", **replacing(rig, first)))[1]["access_token"]
    assert await refused(rig, http, own, "web") == "REEXCHANGE_DENIED", "web is no audience of it"


async def test_a_transaction_does_not_leave_its_trust_domain(rig: Rig, http: httpx2.AsyncClient) -> None:
    first = await minted(rig, http, scope="read")
    changes: dict[str, Any] = {"audience": OTHER, "scope": "read"}
    assert await refused(rig, http, first, "web", **changes) == "REEXCHANGE_DENIED"
    changes = {"audience": API, "scope": "read", "requested_token_type": None}
    assert await refused(rig, http, first, "web", **changes) == "REEXCHANGE_DENIED"
    assert await refused(rig, http, first, subject_token_type=ACCESS_TOKEN) == "UNSUPPORTED_TOKEN_TYPE"
    assert await refused(rig, http, access_token(rig), "web") == "UNSUPPORTED_TOKEN_TYPE"


async def test_a_revoked_token_is_not_replaced_and_its_replacements_end_with_it(
    rig: Rig, http: httpx2.AsyncClient
) -> None:
    first = await minted(rig, http)
    second = (await post(rig, http, "pay", **replacing(rig, first)))[1]["access_token"]
    auth = {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}
    assert (await http.post("/oauth2/revoke", data=auth | {"token": first})).status_code == 200
    assert await refused(rig, http, first) == "REVOKED"
    assert await refused(rig, http, second) == "REVOKED"
    auth = {"client_id": "pay", "client_secret": rig.secrets["pay"].reveal()}
    assert (await http.post("/oauth2/introspect", data=auth | {"token": second})).json() == {"active": False}


@pytest.mark.alone
async def test_a_transaction_of_an_agent_ends_with_the_agent(rig: Rig, http: httpx2.AsyncClient) -> None:
    agent = AGENTS.token(rig.clock.now(), sub="a1", aud=ISSUER, email=None)
    plain = {"requested_token_type": None, "audience": API, "request_context": None, "request_details": None}
    body = (await post(rig, http, **form(rig, **plain, actor_token=agent, actor_token_type=ID_TOKEN)))[1]
    first = await minted(rig, http, subject_token=body["access_token"])
    assert claims_of(first)["act"] == {"sub": "agent"}
    profile = ProfileMessage(principal="agent", disabled=True)
    update = profiles_pb.UpdateProfileRequest(profile=profile, update_mask=FieldMask(paths=["disabled"]))
    await rig.profiles.UpdateProfile(update, **rig.auth("root"))
    auth = {"client_id": "pay", "client_secret": rig.secrets["pay"].reveal()}
    assert (await http.post("/oauth2/introspect", data=auth | {"token": first})).json() == {"active": False}
    assert await refused(rig, http, first) == "PRINCIPAL_DISABLED"
    profile.disabled = False
    await rig.profiles.UpdateProfile(update, **rig.auth("root"))


async def test_a_token_that_no_verifier_of_ours_could_read_is_not_minted(rig: Rig, http: httpx2.AsyncClient) -> None:
    """Within `tctx` a value is one level deeper than in its own token."""
    deep: Any = 1
    for _ in range(15):
        deep = [deep]
    for value, status in ((deep[0], 200), (deep, 400)):
        token = access_token(rig, deep=value)
        answer = await post(rig, http, **form(rig, subject_token=token))
        assert answer[0] == status, answer
        if status == 200:
            auth = {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}
            told = await http.post("/oauth2/introspect", data=auth | {"token": answer[1]["access_token"]})
            assert told.json()["active"] is True
        else:
            assert answer[1]["reason"] == "CLAIMS_TOO_LARGE"
