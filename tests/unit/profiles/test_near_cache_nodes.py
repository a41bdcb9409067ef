"""The near cache before a real Cluster, and real Sentinels: each primary reports, or its values are not used."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
from redis.crc import key_slot
from tests.chaos.stores import FAILOVER, PATIENT, running
from tests.polling import pause
from tests.unit.storage.test_topologies import cluster

from tokenmint.base.background import Background
from tokenmint.base.clock import SystemClock
from tokenmint.base.errors import StoreUnavailable, TokenmintError
from tokenmint.profiles.near_cache import PROFILE, PROOF, NearCache
from tokenmint.storage.reading import UNKNOWN
from tokenmint.storage.redis import Store

pytestmark = [pytest.mark.slow, pytest.mark.processes]

KEYS = [f"profile:{number}" for number in range(30)]


async def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await pause()


@pytest.fixture
def clock() -> SystemClock:
    """The clock of the background too: the servers' time can't be moved."""
    return SystemClock()


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    with cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@dataclass
class Cached:
    """A cache before a Cluster, a store that writes past it, and the Cluster's nodes."""

    cache: NearCache
    store: Store
    other: Store
    nodes: dict[str, Any]

    async def fill(self) -> None:
        """Write every key, and read it until it is remembered."""
        for key in KEYS:
            await self.other.swap(key, await self.other.get(key), b"1", durable=False)
        await until(lambda: self.cache.live and len(self.cache._lanes) == len(self.nodes))
        await self.read_all()
        await self.read_all()

    async def read_all(self) -> list[bytes | None]:
        return list(await asyncio.gather(*map(self.cache.get, KEYS)))

    def usable(self) -> set[str]:
        now = time.monotonic()
        return {key for key in KEYS if self.cache.peek(key, now) is not None}

    def node_of(self, key: str) -> str:
        node = self.store.server.client.get_node_from_key(self.store.prefix + key)
        return str(node.name)

    def by_node(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for key in KEYS:
            found[self.node_of(key)].add(key)
        return found


@pytest.fixture
async def cached(ports: list[int], redis_prefix: str, background: Background) -> AsyncIterator[Cached]:
    url = f"redis+cluster://127.0.0.1:{ports[0]}"
    async with AsyncExitStack() as stack:
        stores = [await Store.open(url, prefix=redis_prefix, options=PATIENT) for _ in range(2)]
        for store in stores:
            stack.push_async_callback(store.close)
        cache = NearCache(stores[0], ("profile:",), 1000 * PROFILE, SystemClock(), redis_prefix)
        cache.follow(background)
        nodes: dict[str, Any] = {f"127.0.0.1:{port}": redis.Redis(port=port, socket_timeout=5) for port in ports}
        for node in nodes.values():
            stack.callback(node.close)
        made = Cached(cache, stores[0], stores[1], nodes)
        await made.fill()
        yield made
        await background.close()


async def test_the_values_of_every_primary_are_remembered_and_a_change_on_any_is_told(cached: Cached) -> None:
    assert len(cached.by_node()) == len(cached.nodes) == 3
    await until(lambda: cached.usable() == set(KEYS))
    for key in KEYS:
        await cached.other.swap(key, b"1", b"2", durable=False)
    await until(lambda: not cached.usable())
    assert set(await cached.read_all()) == {b"2"}


async def test_one_primary_is_cut_off_and_the_values_of_the_others_stay_in_use(
    cached: Cached, background: Background
) -> None:
    await until(lambda: cached.usable() == set(KEYS))
    name, theirs = next(iter(cached.by_node().items()))
    node = cached.nodes[name]

    def cut() -> None:
        for client in node.client_list():
            if "t" in client["flags"] or "B" in client["flags"]:
                node.client_kill_filter(_id=client["id"])

    lane = cached.cache._lanes[name]
    cut()
    await until(lambda: cached.cache._lanes.get(name) is not lane)
    assert cached.usable() == set(KEYS) - theirs
    await until(lambda: cached.cache.live and len(cached.cache._lanes) == 3)
    assert not cached.usable() & theirs, "they may have changed meanwhile"
    assert "near cache notices" not in background.failing()
    assert set(await cached.read_all()) == {b"1"}


def moves(cached: Cached, key: str) -> tuple[str, str, Callable[[], None], Callable[[], None]]:
    """Return the node of a key, another one, and the two halves of moving the key's slot there."""
    slot, source = key_slot((cached.store.prefix + key).encode()), cached.node_of(key)
    target = next(name for name in cached.nodes if name != source)
    ids = {name: node.execute_command("CLUSTER MYID").decode() for name, node in cached.nodes.items()}

    def begin() -> None:
        cached.nodes[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
        cached.nodes[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
        for full in cached.nodes[source].execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            host, _, port = target.partition(":")
            cached.nodes[source].execute_command("MIGRATE", host, port, full, 0, 5000)

    def end() -> None:
        for name in (target, source, *cached.nodes):
            cached.nodes[name].execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])

    return source, target, begin, end


async def value(cached: Cached, key: str) -> bytes | None:
    """Read a value. On a busy machine a read fails now and then, and its caller would try again."""
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreUnavailable):
                return await cached.cache.get(key)
            await pause()


async def test_a_slot_moves_and_the_values_in_it_are_read_from_its_new_primary(cached: Cached) -> None:
    key, absent = KEYS[0], "profile:absent{" + cached.store.prefix + KEYS[0] + "}"
    assert await cached.cache.get(absent) is None
    await until(lambda: key in cached.usable())
    source, target, begin, end = moves(cached, key)
    begin()
    await until(lambda: key not in cached.usable())
    assert await value(cached, key) == b"1"  # by the redirection
    assert key not in cached.usable()
    end()
    async with asyncio.timeout(60):
        while not (cached.node_of(key) == target and cached.cache.live):  # which a read finds out
            assert await cached.cache.get(key) == b"1"
            await pause()
    assert await cached.other.swap(key, b"1", b"2", durable=False)
    await cached.cache.get(key)
    await until(lambda: (slots := cached.cache._lanes[target].slots) is not None and slots.serve(key))
    while key not in cached.usable():
        assert await cached.cache.get(key) == b"2"
        await pause()
    assert cached.cache._entries[key].reading.lane is cached.cache._lanes[target]
    assert await cached.other.swap(key, b"2", b"3", durable=False)
    await until(lambda: key not in cached.usable())
    assert await cached.cache.get(key) == b"3"
    assert source in cached.cache._lanes


async def test_a_key_that_was_absent_when_its_slot_moved_is_found_where_it_was_created(cached: Cached) -> None:
    """No node reports that an absent key left."""
    absent = "profile:nobody"
    source, target, begin, end = moves(cached, absent)
    while cached.cache.peek(absent, time.monotonic()) is None:
        assert await cached.cache.get(absent) is None
    entry = cached.cache._entries[absent]
    assert entry.reading.lane is cached.cache._lanes[source]
    begin()
    end()
    await until(lambda: cached.cache._lanes.get(source) is not entry.reading.lane)
    assert cached.cache._entries.get(absent) is not entry or cached.cache.peek(absent, time.monotonic()) is None
    assert await cached.other.swap(absent, None, b"1", durable=False)
    await until(lambda: cached.cache.live)
    assert await cached.cache.get(absent) == b"1"
    assert target in cached.cache._lanes


async def test_many_keys_are_read_where_the_driver_knows_old_slots_only(cached: Cached) -> None:
    key = KEYS[1]
    *_, begin, end = moves(cached, key)
    begin()
    end()
    reading = await cached.other.read_many([*KEYS, "profile:none"])
    assert reading.values == [b"1"] * len(KEYS) + [None]
    assert reading.nodes[1] == UNKNOWN, "it took another way than to its node"
    assert UNKNOWN not in reading.nodes[2:5] or reading.nodes.count(UNKNOWN) < 5
    await cached.other.server.client.hset(cached.store.prefix + "profile:foreign", "a", "b")
    value, refused = (await cached.other.read_many([KEYS[2], "profile:foreign"])).values
    assert value == b"1"
    assert isinstance(refused, TokenmintError)


@dataclass
class Attack:
    """Changes keys while servers fail, and reads them through a cache, which must never be older than it promises."""

    cache: NearCache
    other: Store
    confirmed: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    used: int = 0
    over: bool = False

    async def write(self, key: str) -> None:
        """Count a key up, and note when each number was confirmed."""
        number = 0
        while not self.over:
            number += 1
            with suppress(TokenmintError):  # those of a server that fails over
                held = await self.other.get(key)
                number = max(int(held or b"0") + 1, number)
                if await self.other.swap(key, held, str(number).encode()):
                    self.confirmed[key].append((time.monotonic(), number))
            await pause()

    async def read(self) -> None:
        """Use the values of the cache, and compare them with what was confirmed before."""
        while not self.over:
            for key in KEYS[:6]:
                now = time.monotonic()
                entry = self.cache.peek(key, now)
                if entry is not None:
                    self.used += 1
                    least = max((number for then, number in self.confirmed[key] if then < now - PROOF), default=0)
                    assert int(entry.raw or b"0") >= least, (key, entry.raw, least)
                    continue
                try:
                    await self.cache.get(key)
                except TokenmintError:
                    continue
            await pause()


FAULTS = {
    "cluster": (f"{FAILOVER} of a killed primary", f"{FAILOVER} by command", "store paused"),
    "sentinel": (f"{FAILOVER} of a stopped primary", f"{FAILOVER} by command", f"{FAILOVER} of a killed primary"),
}


@pytest.mark.drill
@pytest.mark.parametrize("name", FAULTS)
async def test_no_value_is_used_5_s_after_its_change_was_confirmed_whatever_fails_over(
    name: str, tmp_path: Path, background: Background
) -> None:
    async with running(name, tmp_path, Random(1)) as topology, AsyncExitStack() as stack:
        options = replace(PATIENT, min_replicas=topology.min_replicas)
        stores = [await Store.open(topology.url, prefix="tm:", options=options) for _ in range(2)]
        for store in stores:
            stack.push_async_callback(store.close)
        cache = NearCache(stores[0], ("profile:",), 1000 * PROFILE, SystemClock(), "attacked")
        cache.follow(background)
        attack = Attack(cache, stores[1])
        tasks = [asyncio.ensure_future(attack.read()), *(asyncio.ensure_future(attack.write(key)) for key in KEYS[:6])]
        try:
            for fault in FAULTS[name]:
                await recovered(attack, tasks)
                await topology.faults()[fault]()
            await recovered(attack, tasks)
        finally:
            attack.over = True
            await asyncio.gather(*tasks)
            await background.close()


async def recovered(attack: Attack, tasks: Sequence["asyncio.Future[None]"]) -> None:
    """Wait until values are used, and changes confirmed, again."""
    used, written = attack.used, sum(map(len, attack.confirmed.values()))
    await until(
        lambda: (
            any(task.done() for task in tasks)
            or (
                attack.cache.live
                and attack.used > used + 100
                and sum(map(len, attack.confirmed.values())) > written + 20
            )
        )
    )
    assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
