"""A service that has not read the log of revocations yet knows of no revoked provider, so it exchanges nothing."""

import grpc
import pytest
from tests.rig import Serve, person, refusal

from tokenmint.base.errors import TokenmintError
from tokenmint.revocation.log import KEY
from tokenmint.storage.redis import Store


async def test_nothing_is_exchanged_before_the_log_was_read(serve: Serve, transport: str, store: Store) -> None:
    await store.server.client.set(store.prefix + KEY, "not a stream")
    async with serve(transport=transport) as rig:
        await rig.create(person())
        refused = await refusal(rig.exchange.ExchangeToken(rig.request(), **rig.auth("web")))
        assert refused.code is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(TokenmintError, match="can't follow revocations"):
            rig.parts.exchange.serving()
        await store.server.client.delete(store.prefix + KEY)
        await rig.parts.revoking.following.refresh()
        await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))
