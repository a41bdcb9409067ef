"""Reads the ring from the store over and over: what the store says is what the run is judged by."""

import asyncio
import contextlib

from tests.chaos.ledger import Ledger
from tests.chaos.plan import PREFIX
from tests.chaos.stores import PATIENT

from tokenmint.base.errors import TokenmintError
from tokenmint.keys.store import RingStore
from tokenmint.storage.redis import Store


async def record(url: str, ledger: Ledger, unused: asyncio.Event, prefix: str = PREFIX) -> None:
    """Read the ring over and over, and once more after nobody uses the fleet any more.

    Else a key that begins to sign in the last moment would never have been active, by what the run is judged by.
    """
    complete = False
    while not complete:
        store = None
        with contextlib.suppress(TokenmintError):
            store = await Store.open(url, prefix=prefix, options=PATIENT)
            while not complete:
                last = unused.is_set()
                ring = (await RingStore(store).read())[1]
                if ring is not None:
                    ledger.saw(ring)
                complete = last
                await asyncio.sleep(0 if complete else 0.03)
        if store is not None:
            await store.close()
        await asyncio.sleep(0 if complete else 0.05)
