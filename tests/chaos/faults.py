"""What is done to the fleet and its store, at random."""

import asyncio
import contextlib
import os
import signal
import time
from random import Random
from typing import Final

from redis.exceptions import RedisError
from tests.chaos.ledger import Fault, Ledger
from tests.chaos.plan import PREFIX
from tests.chaos.replicas import Replica
from tests.chaos.stores import PATIENT, Topology, until

from tokenmint.errors import TokenmintError
from tokenmint.keys.store import LEASE, RingStore
from tokenmint.storage.redis import Store

QUIET: Final = (1.5, 4.0)  # seconds between two faults
AFTER_STORE: Final = 3.0  # seconds more after the store was touched: R and the way back


class Faults:
    """Chooses and does."""

    def __init__(self, fleet: list[Replica], topology: Topology, ledger: Ledger, random: Random) -> None:
        self._fleet = fleet
        self._topology = topology
        self._ledger = ledger
        self._random = random

    async def run(self, stop: asyncio.Event) -> None:
        """Do one thing after another until told to stop. Every kind has its turn before one comes again."""
        kinds: list[str] = []
        while not stop.is_set():
            await asyncio.sleep(self._random.uniform(*QUIET))
            if not kinds:
                kinds = ["worker killed"] * 2 + ["lease holder killed"] * 2 + ["replica killed"]
                kinds += self._topology.faults()
                self._random.shuffle(kinds)
            if not stop.is_set():
                await self._do(kinds.pop())

    async def _do(self, kind: str) -> None:
        if kind == "worker killed":
            await self._kill(kind, self._random.choice(self._fleet))
        elif kind == "replica killed":
            replica = self._random.choice(self._fleet)
            self._ledger.faults.append(Fault(kind, time.time(), time.time(), replica.number))
            replica.kill()  # for how long it is gone its outages say
        elif kind == "lease holder killed":
            pid = await self._lease_holder()
            for replica in self._fleet:
                if pid in replica.workers():
                    await self._kill(kind, replica, pid)
        else:
            fault = Fault(kind, time.time())
            self._ledger.faults.append(fault)
            try:
                await self._topology.faults()[kind]()
                await until(self._topology.usable, "the store takes writes again")
            except (TimeoutError, RuntimeError, RedisError, OSError) as error:
                self._ledger.problems.append(f"{kind}: {error}")
            fault.ended = time.time()
            await asyncio.sleep(AFTER_STORE)

    async def _kill(self, kind: str, replica: Replica, pid: int | None = None) -> None:
        workers = replica.workers()
        if not workers:
            return
        fault = Fault(kind, time.time(), replica=replica.number)
        self._ledger.faults.append(fault)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid or self._random.choice(workers), signal.SIGKILL)
        await asyncio.sleep(0.05)  # what it listened with goes with it
        try:
            await until(
                replica.listens, "a worker of the replica listens"
            )  # at once, unless the other is being started
        except TimeoutError as error:
            self._ledger.problems.append(f"{kind}: {error}")
        fault.ended = time.time()

    async def _lease_holder(self) -> int | None:
        """The process that advances the ring now, by the store and by what that process said when it began."""
        try:
            store = await Store.open(self._topology.url, prefix=PREFIX, options=PATIENT)
        except TokenmintError:
            return None
        try:
            raw = await store.get(LEASE)
        except TokenmintError:
            return None
        finally:
            await store.close()
        holder = (raw or b"").decode().rpartition(" ")[2]
        found = (replica.process_of(holder) for replica in self._fleet) if holder else iter(())
        return next((pid for pid in found if pid is not None), None)


async def record(topology: Topology, ledger: Ledger, stop: asyncio.Event) -> None:
    """Read the ring over and over until told to stop: what the store says is what the run is judged by."""
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
