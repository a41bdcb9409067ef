"""The stores that a fleet may have, with what can be done to them: real servers on loopback."""

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

from redis.exceptions import RedisError
from tests.chaos.engine import Server, until
from tests.chaos.plan import PREFIX
from tests.ports import own_port

from tokenmint.base.errors import TokenmintError
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.redis import Store

PATIENT = StoreOptions(read_timeout=1.0, write_timeout=3.0)
FAILOVER: Final = "failover"
"""The first word of faults in which two servers may answer as the primary."""
LOG = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
# A primary that was overtaken while it was stopped has no replicas any more, and so takes no writes: without these
# two a replica of the service that is still connected to it would follow an old ring until Sentinel demotes it.
FENCED = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "3", "--repl-diskless-sync-delay", "0")


class Topology:
    """A store of one server, on its append-only file."""

    name = "server"
    min_replicas = 0
    one_server = True
    """Whether proxies can stand before it, and an old file be put back: others tell clients where their servers are."""

    def __init__(self, directory: Path, random: Random) -> None:
        self.directory = directory
        self.random = random
        self.servers: list[Server] = []

    @property
    def url(self) -> str:
        """The URL that the service is given."""
        return f"redis://127.0.0.1:{self.servers[0].port}"

    def faults(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return the faults that the store can have, by name. Each returns once its servers run again."""
        return {"store killed and restarted": self.restart, "store paused": self.pause}

    async def start(self) -> None:
        """Bring it up."""
        self.servers = [Server(self.directory, *LOG)]
        await self._start_all()

    async def _start_all(self) -> None:
        for server in self.servers:
            server.start()
        for server in self.servers:
            await until(server.answers, "a store server answers")

    async def usable(self) -> bool:
        """Whether a client that comes now can write, and is told that it is durable."""
        options = replace(PATIENT, min_replicas=self.min_replicas)
        try:
            store = await Store.open(self.url, prefix=PREFIX, options=options)
        except TokenmintError:
            return False
        try:
            await store.swap("probe", await store.get("probe"), str(time.time()).encode())
        except TokenmintError:
            return False
        else:
            return True
        finally:
            await store.close()

    async def primary(self) -> Server:
        """The server that holds the ring now."""
        return self.servers[0]

    async def restart(self) -> None:
        """Kill -9, and start again on what the file holds."""
        server = await self.primary()
        server.kill()
        await asyncio.sleep(self.random.uniform(0.1, 2.0))
        server.start()
        await until(server.answers, "a store server answers")

    async def copy(self, to: Path) -> None:
        """Copy its append-only file, while it runs."""
        await asyncio.to_thread(shutil.copytree, self.servers[0].directory, to)

    async def go_back(self, to: Path) -> None:
        """Kill it, and start it on a copy of its file."""
        server = self.servers[0]
        server.kill()
        await asyncio.to_thread(shutil.rmtree, server.directory)
        await asyncio.to_thread(shutil.copytree, to, server.directory)
        server.start()
        await until(server.answers, "a store server answers")

    async def flush(self) -> None:
        """Make it forget everything."""
        await self.servers[0].ask("FLUSHALL")

    async def pause(self) -> None:
        """Stop the process for a while: shorter or longer than R."""
        server = await self.primary()
        server.send(signal.SIGSTOP)
        await asyncio.sleep(self.random.uniform(0.2, 2.5))
        server.send(signal.SIGCONT)

    def stop(self) -> None:
        """End every process."""
        for server in self.servers:
            server.kill()


class SentinelTopology(Topology):
    """A primary, two replicas, three sentinels."""

    name = "sentinel"
    one_server = False
    min_replicas = 2
    """Both: with one, Sentinel may promote the other, which has not heard of a write that was confirmed."""

    def __init__(self, directory: Path, random: Random) -> None:
        super().__init__(directory, random)
        self.sentinels: list[Server] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/primary"

    def faults(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            f"{FAILOVER} of a killed primary": self.fail_over,
            f"{FAILOVER} of a stopped primary": self.stop_primary,
            f"{FAILOVER} by command": self.hand_over,
            "store paused": self.pause,
        }

    async def start(self) -> None:
        self.servers = [Server(self.directory, *LOG, *FENCED) for _ in range(3)]
        for server in self.servers[1:]:
            server.arguments += ["--replicaof", f"127.0.0.1 {self.servers[0].port}"]
        await self._start_all()
        del self.servers[1].arguments[-2:], self.servers[2].arguments[-2:]
        for _ in range(3):
            sentinel = Server(self.directory)
            config = sentinel.directory / "sentinel.conf"
            config.write_text(
                f"sentinel monitor primary 127.0.0.1 {self.servers[0].port} 2\n"
                "sentinel down-after-milliseconds primary 800\nsentinel failover-timeout primary 3000\n"
            )
            sentinel.arguments += [str(config), "--sentinel"]
            self.sentinels.append(sentinel)
            sentinel.start()
        for sentinel in self.sentinels:
            await until(sentinel.answers, "a sentinel answers")
        await until(self._watched, "the sentinels know one another and the replicas")
        await until(self.usable, "the store takes writes")

    async def _watched(self) -> bool:
        known = []
        for sentinel in self.sentinels:
            reply = await sentinel.ask("SENTINEL", "MASTER", "primary")
            texts = [_text(item) for item in reply] if isinstance(reply, list | tuple) else []
            facts = dict(zip(texts[::2], texts[1::2], strict=True))
            known.append(facts.get("num-slaves") == facts.get("num-other-sentinels") == "2")
        return all(known)

    async def primary(self) -> Server:
        for sentinel in self.sentinels:
            with contextlib.suppress(RedisError, OSError):
                reply = await sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "primary")
                if isinstance(reply, list | tuple):
                    port = int(reply[1])
                    return next(server for server in self.servers if server.port == port)
        raise RuntimeError("no sentinel knows the primary")

    async def _moved(self, old: Server) -> None:
        async def elsewhere() -> bool:
            return (await self.primary()) is not old

        await until(elsewhere, "the sentinels promote a replica")

    async def fail_over(self) -> None:
        """Kill the primary; bring it back as a replica of whichever was promoted."""
        old = await self.primary()
        old.kill()
        await self._moved(old)
        old.start("--replicaof", f"127.0.0.1 {(await self.primary()).port}")
        await until(old.answers, "the old primary answers")

    async def stop_primary(self) -> None:
        """Stop the primary until another was promoted; then let it go on, believing itself the primary."""
        old = await self.primary()
        old.send(signal.SIGSTOP)
        try:
            await self._moved(old)
            await asyncio.sleep(self.random.uniform(0.0, 1.0))
        finally:
            old.send(signal.SIGCONT)

    async def hand_over(self) -> None:
        """Ask a sentinel for a failover."""
        old = await self.primary()
        try:
            await self.sentinels[0].ask("SENTINEL", "FAILOVER", "primary")
        except RedisError:
            return  # one is under way, or no replica is good enough yet
        await self._moved(old)

    def stop(self) -> None:
        for sentinel in self.sentinels:
            sentinel.kill()
        super().stop()


class ClusterTopology(Topology):
    """Three primaries, a replica for each."""

    name = "cluster"
    one_server = False
    min_replicas = 1

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}"

    def faults(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            f"{FAILOVER} of a killed primary": self.fail_over,
            f"{FAILOVER} by command": self.hand_over,
            "store paused": self.pause,
        }

    async def start(self) -> None:
        cluster = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", *LOG, *FENCED)
        self.servers = [Server(self.directory, *cluster, "--cluster-port", str(own_port())) for _ in range(6)]
        await self._start_all()
        bounds = [(0, 5460), (5461, 10922), (10923, 16383)]
        for server, (low, high) in zip(self.servers, bounds, strict=False):
            await server.ask("CLUSTER", "ADDSLOTSRANGE", low, high)
        for epoch, server in enumerate(self.servers, start=1):
            await server.ask("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for server in self.servers[1:]:
            bus = server.arguments[-1]
            await self.servers[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
        await until(lambda: self._everywhere("cluster_known_nodes:6"), "the nodes know one another")
        for primary, replica in zip(self.servers[:3], self.servers[3:], strict=True):
            name = _text(await primary.ask("CLUSTER", "MYID"))

            async def joined(replica: Server = replica, name: str = name) -> bool:
                try:
                    await replica.ask("CLUSTER", "REPLICATE", name)
                except RedisError:
                    return False
                return True

            await until(joined, "a replica joins")
        await until(lambda: self._everywhere("cluster_state:ok"), "the cluster is whole")
        await until(self.usable, "the store takes writes")

    async def _everywhere(self, fact: str) -> bool:
        for server in self.servers:
            if fact not in await self._info(server):
                return False
        return True

    async def _info(self, server: Server) -> str:
        reply = await server.ask("CLUSTER", "INFO")
        if isinstance(reply, dict):
            return "\n".join(f"{_text(name)}:{_text(value)}" for name, value in reply.items())
        return _text(reply)

    async def primary(self) -> Server:
        slot = None
        for server in self.servers:
            with contextlib.suppress(RedisError, OSError):
                slot = slot if slot is not None else int(str(await server.ask("CLUSTER", "KEYSLOT", "tm:ring")))
                rows = await server.ask("CLUSTER", "SLOTS")
                for low, high, node in _ranges(rows):
                    if low <= slot <= high:
                        return next(one for one in self.servers if one.port == node)
        raise RuntimeError("no node knows who holds the ring")

    async def _replica_of(self, primary: Server) -> Server | None:
        for server in self.servers:
            with contextlib.suppress(RedisError, OSError):
                role = await server.ask("ROLE")
                facts = role if isinstance(role, list | tuple) else ["none"]
                of, state = (int(facts[2]), _text(facts[3])) if _text(facts[0]) == "slave" else (0, "")
                if of == primary.port and state == "connected":
                    return server
        return None

    async def fail_over(self) -> None:
        """Kill the primary that holds the ring; start it again once its replica took over."""
        old = await self.primary()
        if await self._replica_of(old) is None:
            return
        old.kill()

        async def elsewhere() -> bool:
            return (await self.primary()) is not old

        try:
            await until(elsewhere, "the replica takes over")
        finally:
            old.start()
        await until(old.answers, "the old primary answers")

    async def hand_over(self) -> None:
        """Ask the replica to take over, in order."""
        old = await self.primary()
        replica = await self._replica_of(old)
        if replica is None:
            return
        await replica.ask("CLUSTER", "FAILOVER")

        async def elsewhere() -> bool:
            return (await self.primary()) is not old

        await until(elsewhere, "the replica takes over")


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _ranges(reply: object) -> list[tuple[int, int, int]]:
    """Read CLUSTER SLOTS in the forms that the driver gives it: low, high, the primary's port."""
    if isinstance(reply, dict):
        return [(int(low), int(high), int(nodes["primary"][1])) for (low, high), nodes in reply.items()]
    rows = reply if isinstance(reply, list | tuple) else []
    return [(int(row[0]), int(row[1]), int(row[2][1])) for row in rows]


TOPOLOGIES: dict[str, type[Topology]] = {one.name: one for one in (Topology, SentinelTopology, ClusterTopology)}


@contextlib.asynccontextmanager
async def running(name: str, directory: Path, random: Random) -> AsyncIterator[Topology]:
    """Run a store until the end of the block."""
    topology = TOPOLOGIES[name](directory, random)
    try:
        await topology.start()
        yield topology
    finally:
        topology.stop()
