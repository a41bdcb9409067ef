"""An audience with a reuse window, over gRPC: the same token within it, and a new one from the first change on."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import jwt
import pytest
from tests import plain_http
from tests.fakes import FakeClock
from tests.rig import AUDIENCE, Rig, Serve, person

from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Profile

REUSED = "https://reused.example"
WINDOW = 30
EXTRA = f"""
[audiences."{REUSED}"]
clients = ["web", "batch"]
providers = ["idp"]
scopes = ["read", "write"]
claims = {{ roles = "profile.roles" }}
reuse_window = "{WINDOW}s"
"""


@pytest.fixture
async def rig(serve: Serve, transport: str) -> AsyncIterator[Rig]:
    clock = FakeClock(float(int(time.time())))  # the store stamps revocations by its own
    async with serve(EXTRA, transport=transport, clock=clock) as service:
        await service.create(person("ada", "1842", "clerk"), person("bob", "b", "clerk"))
        yield service


async def ask(rig: Rig, client: str = "web", subject: str = "1842", audience: str = REUSED, **fields: Any) -> str:
    """Exchange a new token of the provider."""
    subject_token = rig.issuer.token(rig.clock.now(), sub=subject)
    request = pb.ExchangeTokenRequest(subject_token=subject_token, audience=audience, **fields)
    return (await rig.exchange.ExchangeToken(request, **rig.auth(client))).token


async def test_the_same_grant_gets_the_same_token_until_the_window_ends(rig: Rig) -> None:
    first = await ask(rig)
    clock: Any = rig.clock
    await rig.set_time(clock.now() + WINDOW - 1)
    assert await ask(rig) == first
    await rig.set_time(clock.now() + 1)
    assert await ask(rig) != first


async def test_without_a_window_each_answer_is_a_token_of_its_own(rig: Rig) -> None:
    assert await ask(rig, audience=AUDIENCE) != await ask(rig, audience=AUDIENCE)


async def test_what_differs_in_client_subject_scope_or_bound_key_is_not_shared(rig: Rig) -> None:
    tokens = [
        await ask(rig),
        await ask(rig, client="batch"),
        await ask(rig, subject="b"),
        await ask(rig, scopes=["read"]),
        await ask(rig, dpop_jkt="A" * 43),
        await ask(rig, dpop_jkt="B" * 42 + "A"),
    ]
    assert len(set(tokens)) == len(tokens)


async def change_roles(rig: Rig, _: str) -> None:
    changed = profiles_pb.UpdateProfileRequest(profile=Profile(principal="ada", roles=["auditor"]))
    changed.update_mask.paths.append("roles")
    await rig.profiles.UpdateProfile(changed, **rig.auth("root"))


async def revoke_it(rig: Rig, token: str) -> None:
    await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=token), **rig.auth("web"))


async def revoke_all(rig: Rig, _: str) -> None:
    told = profiles_pb.RevokePrincipalTokensRequest(principal="ada")
    await rig.profiles.RevokePrincipalTokens(told, **rig.auth("root"))
    clock: Any = rig.clock
    await rig.set_time(clock.now() + 5)  # signs in again; the first token is within its window still


async def rotate(rig: Rig, _: str) -> None:
    request = keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True)
    await rig.keys.RotateSigningKey(request, **rig.auth("root"))


async def revoke_the_key(rig: Rig, token: str) -> None:
    request = keys_pb.RevokeSigningKeyRequest(key_id=jwt.get_unverified_header(token)["kid"], reason="drill")
    await rig.keys.RevokeSigningKey(request, **rig.auth("root"))


@pytest.mark.parametrize("change", [change_roles, revoke_it, revoke_all, rotate, revoke_the_key])
async def test_a_change_ends_it_at_once(rig: Rig, change: Callable[[Rig, str], Awaitable[None]]) -> None:
    first = await ask(rig)
    assert await ask(rig) == first
    await change(rig, first)
    second = await ask(rig)
    assert second != first
    assert await ask(rig) == second


async def test_the_audit_says_that_it_was_given_out_again_and_the_metrics_count_it_once(rig: Rig) -> None:
    await ask(rig)
    await ask(rig)
    await rig.parts.audit.flush()
    store = rig.parts.store
    entries = await store.server.client.xrange(f"{store.prefix}audit")
    events = [json.loads(fields[b"event"]) for _, fields in entries]
    first, second = (event["minted"] for event in events if event["kind"] == "exchange")
    assert second == [first[0] | {"reused": True}]
    async with plain_http.client(timeout=20) as http:
        metrics = (await http.get(rig.url("ops", "/metrics"))).text
    assert f'tokenmint_tokens_minted_total{{audience="{REUSED}"}} 1.0' in metrics
