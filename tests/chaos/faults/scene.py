"""The fleet that a fault works on, and the parts that faults share."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from redis.exceptions import RedisError
from tests.chaos.denied import Denials
from tests.chaos.engine import until
from tests.chaos.ledger import Effect, Fault, Ledger
from tests.chaos.plan import PREFIX
from tests.chaos.proxy import Proxies
from tests.chaos.quiet import Quiet
from tests.chaos.replicas import Replica
from tests.chaos.stores import PATIENT, Topology
from tests.chaos.versions.version import THIS, Version
from tests.issuer import Issuer

from tokenmint.base.errors import TokenmintError
from tokenmint.keys.store import LEASE
from tokenmint.storage.redis import Store

COMPLETE_LIMIT: Final = 120.0  # seconds for every worker to take connections again


@dataclass
class Scene:
    """Everything that can be broken, and where it is written down."""

    fleet: list[Replica]
    topology: Topology
    proxies: Proxies
    ledger: Ledger
    denials: Denials
    quiet: Quiet
    random: Random
    directory: Path
    config: Path
    issuer: Issuer
    versions: tuple[Version, ...] = (THIS,)
    """The versions that replicas may run."""
    taken: set[int] = field(default_factory=set)
    """Replicas to which something is being done that another fault would spoil."""

    def choose(self) -> Replica | None:
        """Return a replica that is there and that nothing is done to; None where there is none."""
        there = [one for one in self.fleet if one.down_since is None and one.number not in self.taken]
        return self.random.choice(there) if there else None

    def proxied(self) -> list[Replica]:
        """The replicas that reach the store through a proxy, and are there."""
        there = (one for one in self.fleet if one.down_since is None)
        return [one for one in there if _port(one) in self.proxies.ports]

    async def reset(self, replica: Replica, which: str) -> int:
        """Reset connections of a replica to its store. Returns how many."""
        return await self.proxies.reset(_port(replica), which)

    @asynccontextmanager
    async def fault(self, kind: str, effect: Effect, replica: Replica | None = None) -> AsyncIterator[Fault]:
        """Write down a fault that lasts as long as the block, and until every worker is there again."""
        fault = Fault(kind, time.time(), replica=replica.number if replica else None, effect=effect)
        self.ledger.faults.append(fault)
        try:
            yield fault
            await self.complete()
        except (TimeoutError, RuntimeError, RedisError, OSError) as error:
            self.ledger.problems.append(f"{kind}: {error}")
        fault.ended = time.time()

    async def complete(self) -> None:
        """Wait until every worker that may be there takes connections. Raises ``TimeoutError``."""
        deadline = time.monotonic() + COMPLETE_LIMIT
        for replica in self.fleet:
            while replica.number not in self.taken and not await replica.complete():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"replica {replica.number}: not all workers within {COMPLETE_LIMIT:.0f} s")
                await asyncio.sleep(0.1)

    async def usable(self) -> None:
        """Wait until the store takes writes. Raises ``TimeoutError``."""
        await until(self.topology.usable, "the store takes writes again")

    async def lease_holder(self) -> tuple[Replica, int] | None:
        """Return the replica and the process that advance the ring, by the store and by that process's log."""
        try:
            store = await Store.open(self.topology.url, prefix=PREFIX, options=PATIENT)
        except TokenmintError:
            return None
        try:
            raw = await store.get(LEASE)
        except TokenmintError:
            return None
        finally:
            await store.close()
        holder = (raw or b"").decode().rpartition(" ")[2]
        for replica in self.fleet if holder else ():
            pid = replica.process_of(holder)
            if pid is not None and pid in replica.workers() and replica.number not in self.taken:
                return replica, pid
        return None


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    name: str
    do: Callable[[Scene], Coroutine[Any, Any, None]]
    """Does it once, and returns when everything is there again."""
    on_store: bool = False
    """Whether the store is touched: a worker that is started meanwhile would have every reason not to start."""


def _port(replica: Replica) -> int:
    return int(replica.store_url.rpartition(":")[2]) if replica.store_url.startswith("redis://") else 0
