"""The record that judges a run is complete: no key signs after the last look at the store."""

import asyncio
from dataclasses import replace

from tests.chaos.ledger import Ledger
from tests.chaos.recorder import record
from tests.unit.chaos.waiting import LIMIT, until

from tokenmint.keys.store import RingStore
from tokenmint.keys.types import KeyRing, KeyState, SigningKey
from tokenmint.storage.redis import Store


async def test_a_key_that_begins_to_sign_in_the_last_moment_is_seen_to_be_active(
    store: Store, redis_url: str, redis_prefix: str
) -> None:
    prepared = SigningKey("k", "ES256", KeyState.PREPARED, {"kty": "EC"}, 1.0, 1.0)
    ring, rings, ledger, unused = KeyRing("line", 1, keys=(prepared,)), RingStore(store), Ledger(), asyncio.Event()
    assert await rings.swap(None, ring)
    recording = asyncio.ensure_future(record(redis_url, ledger, unused, redis_prefix))
    await until(lambda: "k" in ledger.keys)
    raw, _ = await rings.read()
    active = replace(prepared, state=KeyState.ACTIVE, activate_time=2.0)
    assert await rings.swap(raw, replace(ring, generation=2, keys=(active,)))
    unused.set()
    await asyncio.wait_for(recording, LIMIT)
    assert ledger.keys["k"].activated == 2.0
