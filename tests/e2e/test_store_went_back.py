"""A store that went back, as callers see it: what is refused, what goes on, and that accepting it ends that."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests import plain_http
from tests.forked import run_forked
from tests.json_documents import described, differences
from tests.polling import pause
from tests.rig import AUDIENCE, OPEN_AUDIENCE, Rig, Serve, person, refusal

from tokenmint.process.state import watch_state
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import profile_pb2
from tokenmint.v1 import token_exchange_service_pb2 as pb

pytestmark = pytest.mark.processes

OAUTH = """
[oauth]
enabled = true
"""
PATIENCE = 30.0


@pytest.fixture
async def rig(serve: Serve) -> AsyncIterator[Rig]:
    listen = "plaintext = true\n"
    async with serve(OAUTH, listen=listen) as running_rig:
        yield running_rig


def store_of(rig: Rig) -> Any:
    return rig.parts.store


async def copy(rig: Rig) -> dict[bytes, bytes]:
    client, prefix = store_of(rig).server.client, store_of(rig).prefix
    return {name: await client.dump(name) async for name in client.scan_iter(match=f"{prefix}*")}


async def put_back(rig: Rig, values: dict[bytes, bytes]) -> None:
    client, prefix = store_of(rig).server.client, store_of(rig).prefix
    for name in [name async for name in client.scan_iter(match=f"{prefix}*")]:
        await client.delete(name)
    for name, value in values.items():
        await client.restore(name, 0, value, replace=True)


async def look(rig: Rig, *, lost: bool) -> None:
    """Have the service look at the ring until it has noticed."""
    async with asyncio.timeout(PATIENCE):
        while bool(rig.parts.signing_keys.loss()) != lost:
            await rig.parts.signing_keys.refresh()
            await pause()


async def exchange(rig: Rig, audience: str = AUDIENCE, subject: str = "1842") -> Any:
    request = pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now(), sub=subject), audience=audience)
    return await rig.exchange.ExchangeToken(request, **rig.auth("web"))


async def look_over_http(rig: Rig) -> None:
    """Check that HTTP refuses exchanges, says why in readiness and metrics, and goes on serving the key set."""
    async with plain_http.client() as http:
        fields = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": rig.issuer.token(rig.clock.now()),
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "audience": AUDIENCE,
        }
        secret = rig.secrets["web"].reveal()
        answer = await http.post(rig.url("http", "/oauth2/token"), data=fields, auth=("web", secret))
        assert (answer.status_code, answer.json()["reason"]) == (503, "STORE_WENT_BACK")
        assert "retry-after" not in answer.headers
        ready = await http.get(rig.url("ops", "/readyz"))
        assert (ready.status_code, list(ready.json()["problems"])) == (503, ["store"])
        watch_state(rig.parts)
        assert "tokenmint_store_went_back 1.0" in (await http.get(rig.url("ops", "/metrics"))).text
        assert (await http.get(rig.url("http", "/.well-known/jwks.json"))).status_code == 200


async def test_a_store_that_went_back_exchanges_nothing_until_an_operator_accepts_it(rig: Rig, redis_url: str) -> None:
    await rig.create(person())
    minted = await exchange(rig)
    before, beat = await copy(rig), await rig.parts.signing_keys.store.last_beat()
    disabled = profiles_pb.UpdateProfileRequest(
        profile=profile_pb2.Profile(principal="ada", disabled=True), update_mask=FieldMask(paths=["disabled"])
    )
    await rig.profiles.UpdateProfile(disabled, **rig.auth("root"))
    await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=minted.token), **rig.auth("web"))
    await look(rig, lost=False)
    async with asyncio.timeout(PATIENCE):  # a beat that was confirmed after the copy
        while rig.parts.signing_keys._losses._beat <= beat:
            await rig.parts.signing_keys.refresh()
            await pause()
    await put_back(rig, before)
    await look(rig, lost=True)

    for call in (exchange(rig), exchange(rig, OPEN_AUDIENCE, "stranger")):
        told = await refusal(call)
        assert (told.code.name, told.reason, told.details) == ("FAILED_PRECONDITION", "STORE_WENT_BACK", ())
    batch = pb.BatchExchangeTokensRequest(
        subject_token=rig.issuer.token(rig.clock.now()),
        targets=[pb.BatchExchangeTarget(audience=AUDIENCE)],
    )
    assert (await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))).reason == "STORE_WENT_BACK"
    asked = pb.IntrospectTokenRequest(token=minted.token)
    told = await refusal(rig.exchange.IntrospectToken(asked, **rig.auth("web")))
    assert told.reason == "STORE_WENT_BACK", "or a revoked token would be called active"
    await look_over_http(rig)

    # What an operator and a caller need to put things right goes on.
    await rig.profiles.UpdateProfile(disabled, **rig.auth("root"))
    await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token=minted.token), **rig.auth("web"))
    done = await asyncio.to_thread(
        run_forked, "keys", "accept-store", "--yes", "-o", "json", "--config", str(rig.config),
        directory=rig.config.parent, TOKENMINT_REDIS__URL=redis_url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert differences(described()["keys accept-store"], json.loads(done.stdout)) == []
    await look(rig, lost=False)
    async with asyncio.timeout(PATIENCE):  # reads are believed again with the next beat, a moment later
        while (told := await refusal(exchange(rig))).reason == "STORE_UNAVAILABLE":
            await pause()
    assert told.reason == "PRINCIPAL_DISABLED"
    assert not (await rig.exchange.IntrospectToken(asked, **rig.auth("web"))).active
    assert (await exchange(rig, OPEN_AUDIENCE, "stranger")).token
