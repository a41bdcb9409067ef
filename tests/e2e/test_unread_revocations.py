"""A service that has not read the log of revocations, or not for 30 s, exchanges nothing: a provider may be revoked."""

import grpc
import pytest
from tests.rig import Rig, Serve, person, refusal

from tokenmint.base.errors import TokenmintError
from tokenmint.revocation.follower import STALE
from tokenmint.revocation.log import KEY
from tokenmint.storage.redis import Store
from tokenmint.v1 import token_exchange_service_pb2 as pb


async def test_nothing_is_exchanged_before_the_log_was_read(serve: Serve, transport: str, store: Store) -> None:
    await store.server.client.set(store.prefix + KEY, "not a stream")
    async with serve(transport=transport) as rig:
        await rig.create(person())
        await _is_refused(rig)
        await store.server.client.delete(store.prefix + KEY)
        await rig.parts.revoking.following.refresh()
        await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))


async def test_nothing_is_exchanged_by_a_copy_of_the_log_that_is_too_old(
    serve: Serve, transport: str, store: Store
) -> None:
    async with serve(transport=transport) as rig:
        await rig.create(person())
        token = (await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))).token
        key, following = store.prefix + KEY, rig.parts.revoking.following
        await store.server.client.set(key, "not a stream")
        await rig.until(lambda: following.confirmed_ago() > STALE)
        await rig.until(lambda: rig.parts.signing.signing_keys.confirmed_ago() < 1)
        await _is_refused(rig)
        asked = pb.IntrospectTokenRequest(token=token)
        answer = await rig.exchange.IntrospectToken(asked, **rig.auth("web"))
        assert answer.active, "introspection reads the records of revocations, not the copy of the log"
        await store.server.client.delete(key)
        await following.refresh()
        await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))


async def _is_refused(rig: Rig) -> None:
    refused = await refusal(rig.exchange.ExchangeToken(rig.request(), **rig.auth("web")))
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(TokenmintError, match="can't follow revocations"):
        rig.parts.exchange.require_revocations()
    misdirected = rig.issuer.token(rig.clock.now(), aud="x")
    refused = await refusal(rig.exchange.ExchangeToken(rig.request(misdirected), **rig.auth("web")))
    assert refused.reason == "WRONG_AUDIENCE", "a bad token is refused as such"
