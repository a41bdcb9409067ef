"""Reads the ring from the store over and over: what the store says is what the run is judged by."""

import asyncio
import contextlib

from tests.chaos.ledger import Ledger
from tests.chaos.plan import PREFIX
from tests.chaos.stores import PATIENT, Topology

from tokenmint.base.errors import TokenmintError
from tokenmint.keys.store import RingStore
from tokenmint.storage.redis import Store


async def record(topology: Topology, ledger: Ledger, stop: asyncio.Event) -> None:
    """Read the ring over and over until told to stop."""
    while not stop.is_set():
        store = None
        with contextlib.suppress(TokenmintError):
            store = await Store.open(topology.url, prefix=PREFIX, options=PATIENT)
            while not stop.is_set():
                ring = (await RingStore(store).read())[1]
                if ring is not None:
                    ledger.saw(ring)
                await asyncio.sleep(0.03)
        if store is not None:
            await store.close()
        await asyncio.sleep(0.05)
