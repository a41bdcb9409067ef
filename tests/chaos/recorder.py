"""Reads the ring from the store over and over, since a run is judged by that; and notes when the lane stands still."""

import asyncio
import contextlib
import time
from typing import Final

from tests.chaos.ledger import Ledger
from tests.chaos.plan import PREFIX
from tests.chaos.stores import PATIENT

from tokenmint.base.errors import TokenmintError
from tokenmint.keys.store import RingStore
from tokenmint.storage.redis import Store

TICK: Final = 0.05  # seconds
STALL: Final = 0.2  # seconds that a tick may be late before the lane counts as having stood still


async def note_stalls(ledger: Ledger, over: asyncio.Event) -> None:
    """Note when the lane's event loop stands still: on a busy machine, what it measures is late by as much."""
    while not over.is_set():
        began = time.time()
        await asyncio.sleep(TICK)
        if (now := time.time()) - began > TICK + STALL:
            ledger.stalls.append((began + TICK, now))


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
