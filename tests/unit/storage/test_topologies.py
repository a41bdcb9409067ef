"""The store on Sentinel and Cluster, with real servers of the packaged engine."""

import asyncio
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.conftest import PATIENT
from tests.ports import own_port
from tests.tls import certificate

from tokenmint.base.errors import StoreUnavailable
from tokenmint.revocation.entries import Kind, parse
from tokenmint.revocation.log import Reach, RevocationLog
from tokenmint.storage import streams, urls
from tokenmint.storage.embedded import find_engine
from tokenmint.storage.redis import Store

pytestmark = [pytest.mark.slow, pytest.mark.processes]

APPENDING = ("--appendonly", "yes", "--save", "")


async def test_a_server_that_is_still_loading_is_not_taken_for_one_that_confirms_nothing(tmp_path: Path) -> None:
    """While it loads its append-only file, the engine says that it has none."""
    port = own_port()
    url = f"redis://127.0.0.1:{port}"
    with engine(tmp_path, *APPENDING, port=port) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(5000):  # while it loads, it answers after every 1,024th
            pipeline.set(f"a{number}", "x")
        pipeline.execute()
    slowly = ("--key-load-delay", "300")  # microseconds: a second and a half in all
    command = [
        find_engine().path,
        *APPENDING,
        *slowly,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(tmp_path),
    ]
    told: list[str] = []
    server = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.wait)
        stack.callback(server.terminate)
        async with asyncio.timeout(60):
            while True:
                try:
                    store = await Store.open(url, options=PATIENT)
                    break
                except StoreUnavailable as error:
                    told.append(error.detail)
        assert "append-only file" in store.durability
        await store.close()
    assert any("is loading its data" in detail for detail in told), told[-1:]


@contextmanager
def engine(directory: Path, *arguments: str, port: int, program: str = "") -> Iterator[Any]:
    """Run a server of the engine until the end of the block."""
    directory.mkdir(exist_ok=True)
    command = [
        program or find_engine().path,
        *arguments,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(directory),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = redis.Redis(port=port, socket_timeout=2)
    pause = threading.Event()
    try:
        for _ in range(500):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                pause.wait(0.02)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(timeout=20)


async def use(store: Store) -> None:
    assert await store.swap("a", None, b"1", channel="news", notice="n")
    assert not await store.swap("a", None, b"2")
    assert await store.get("a") == b"1"
    assert await store.add("b", b"1", ttl=60) is None
    for number in range(20):
        await store.swap(f"profile:{number}", None, b"x")
    found: set[str] = set()
    cursor = ""
    while True:
        cursor, keys = await store.scan("profile:*", cursor, 7)
        found |= set(keys)
        if not cursor:
            break
    assert len(found) == 20
    assert await store.time() > 1_700_000_000
    async with aclosing(store.listen("news")) as notices:
        assert (await anext(notices)).payload is None
        await store.swap("a", b"1", b"2", channel="news", notice="two")
        assert (await anext(notices)).payload == b"two"


LOG = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


@contextmanager
def cluster(directory: Path) -> Iterator[list[int]]:
    """Run a Cluster of three nodes until the end of the block; yield their ports."""
    ports = [own_port() for _ in range(3)]
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                engine(
                    directory / str(port),
                    "--cluster-enabled",
                    "yes",
                    *LOG,
                    "--cluster-port",
                    str(own_port()),
                    port=port,
                )
            )
            for port in ports
        ]
        bounds = [(0, 5460), (5461, 10922), (10923, 16383)]
        for node, (low, high) in zip(nodes, bounds, strict=True):
            node.execute_command("CLUSTER ADDSLOTSRANGE", low, high)
        for index, node in enumerate(nodes[1:], start=2):
            node.execute_command("CLUSTER SET-CONFIG-EPOCH", index)
        buses = [node.config_get("cluster-port")["cluster-port"] for node in nodes]
        for port, bus in zip(ports[1:], buses[1:], strict=True):
            nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
        pause = threading.Event()
        for _ in range(1000):
            infos = [node.execute_command("CLUSTER INFO") for node in nodes]
            if all(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3" for info in infos):
                break
            pause.wait(0.02)
        yield ports


async def test_cluster(tmp_path: Path) -> None:
    with cluster(tmp_path) as ports:
        store = await Store.open(f"redis+cluster://127.0.0.1:{ports[0]}", prefix="t:", options=PATIENT)
        await use(store)
        await use_log(store)
        await store.close()


async def test_a_stream_whose_slot_has_moved_to_another_node_is_written_there(tmp_path: Path) -> None:
    with cluster(tmp_path) as ports, ExitStack() as stack:
        store = await Store.open(f"redis+cluster://127.0.0.1:{ports[0]}", prefix="t:", options=PATIENT)
        await store.append("audit", [], most_entries=9, most_bytes=999, durable=False)  # it knows the slot's node
        nodes = [stack.enter_context(redis.Redis(port=port)) for port in ports]
        slot: Any = nodes[0].execute_command("CLUSTER KEYSLOT", "t:audit")
        target = nodes[0] if slot > 5460 else nodes[1]
        name: Any = target.execute_command("CLUSTER MYID")
        for node in (target, *(node for node in nodes if node is not target)):
            node.execute_command("CLUSTER SETSLOT", slot, "NODE", name)
        target.xadd("t:audit", {"event": b"one", "sum": b"67"})
        await store.append("audit", [b"two"], most_entries=9, most_bytes=999, durable=True)
        page = await streams.after(store, "audit", streams.BEGINNING, most_entries=9, most_bytes=999)
        assert [raw for _, raw in page.entries] == [b"one", b"two"]
        await store.close()


async def use_log(store: Store) -> None:
    """Append revocations and read them: all keys of the log are on one node."""
    log = RevocationLog(store, Reach(time.time, lambda: 600.0), most=100)
    now = int(time.time())
    revocations = [log.of_token("a", now + 60), log.of(Kind.CLIENT, "web", now), log.ended("ada")]
    assert await log.append(*revocations)
    assert await log.append(*revocations)
    page = await log.after(streams.BEGINNING)
    assert [parse(raw) for _, raw in page.entries] == revocations


async def test_sentinel(tmp_path: Path) -> None:
    primary, sentinel = own_port(), own_port()
    with engine(tmp_path / "primary", *LOG, port=primary):
        config = tmp_path / "sentinel.conf"
        config.write_text(f"sentinel monitor primary 127.0.0.1 {primary} 1\n")
        with engine(tmp_path / "sentinel", str(config), "--sentinel", port=sentinel):
            store = await Store.open(f"redis+sentinel://127.0.0.1:{sentinel}/primary", prefix="t:", options=PATIENT)
            await use(store)
            await store.close()


async def test_a_primary_that_was_overtaken_is_left_as_soon_as_it_says_that_it_has_no_replicas(tmp_path: Path) -> None:
    """Sentinel demotes it ten seconds later or more: until then it would answer with what it knew."""
    old, new, sentinel = own_port(), own_port(), own_port()
    with engine(tmp_path / "old", *LOG, port=old) as overtaken, engine(tmp_path / "new", *LOG, port=new):
        config = tmp_path / "sentinel.conf"
        config.write_text(f"sentinel monitor primary 127.0.0.1 {old} 1\n")
        with engine(tmp_path / "sentinel", str(config), "--sentinel", port=sentinel) as watcher:
            store = await Store.open(f"redis+sentinel://127.0.0.1:{sentinel}/primary", prefix="t:", options=PATIENT)
            await store.join("group", "one", "1", ttl=60)
            overtaken.config_set("min-replicas-to-write", 1)
            watcher.execute_command("SENTINEL", "REMOVE", "primary")
            watcher.execute_command("SENTINEL", "MONITOR", "primary", "127.0.0.1", new, 1)
            with pytest.raises(StoreUnavailable):
                await store.join("group", "two", "2", ttl=60)
            await store.join("group", "two", "2", ttl=60)
            assert await store.members("group") == {"two": "2"}, "what the new primary knows"
            overtaken.config_set("min-replicas-to-write", 0)
            await store.close()


async def test_tls(tmp_path: Path) -> None:
    server = shutil.which("redis-server")
    if server is None:
        if os.environ.get("TOKENMINT_REQUIRE_LANES"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed; the packaged engine is built without TLS")
    cert, key = certificate(tmp_path)
    port = own_port()
    arguments = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    arguments += ["--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no", *LOG]
    with engine(tmp_path / "tls", *arguments, port=own_port(), program=server):
        store = await Store.open(f"rediss://localhost:{port}", prefix="t:", options=replace(PATIENT, ca_file=cert))
        await use(store)
        await store.close()
        with pytest.raises(StoreUnavailable):  # a certificate of nobody known
            await Store.open(f"rediss://localhost:{port}", prefix="t:", options=PATIENT)


async def test_no_sentinel_is_forgotten_where_several_calls_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver puts the sentinel that answered first; of two that do so at once, one would displace another."""
    store = Store(urls.parse("redis+sentinel://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/primary"), "t:", PATIENT)
    pool: Any = store.server.pool
    first, second, third = known = list(pool.sentinel_manager.sentinels)
    gate, asked = asyncio.Event(), list[Any]()

    def answering(sentinel: Any, *, works: bool) -> Any:
        async def masters() -> dict[str, dict[str, object]]:
            asked.append(sentinel)
            if not works:
                raise redis.ConnectionError
            await gate.wait()
            healthy = {"is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 2}
            return {"primary": {**healthy, "ip": "127.0.0.1", "port": 9}}

        return masters

    for sentinel in known:
        monkeypatch.setattr(sentinel, "sentinel_masters", answering(sentinel, works=sentinel is second))
    calls = [asyncio.ensure_future(pool.get_master_address()) for _ in range(3)]
    while len(asked) < 6:  # noqa: ASYNC110  # no time passes
        await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*calls) == [("127.0.0.1", 9)] * 3
    assert pool.sentinel_manager.sentinels == [second, first, third]
    await store.close()
