"""With TLS in the settings, nothing of the store is on the wire in plain text: every scheme and topology, recorded.

The packaged engine is built without TLS, so the recorder ends it: what it records is what came before.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import PATIENT
from tests.ports import own_port
from tests.tls import Authority, authority
from tests.unit.storage.test_topologies import use
from tests.wire import HANDSHAKE, Engine, Wire

from tokenmint.base.errors import StoreUnavailable
from tokenmint.model.secret import Secret
from tokenmint.storage import urls
from tokenmint.storage.files import StoreFiles
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

PASSWORD = "canary-of-a-password"
VALUE = b"canary-of-a-value"
LOG = (
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--save",
    "",
    "--requirepass",
    PASSWORD,
    "--primaryauth",
    PASSWORD,
)
PREFIX = "canary-of-a-prefix:"
CLEAR = (PASSWORD.encode(), VALUE, PREFIX.encode(), b"SENTINEL", b"TRACKING", b"SUBSCRIBE")
"""Secrets that no ciphertext holds by chance: eight bytes and more."""


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority()


@pytest.fixture
def tls(tmp_path: Path, ca: Authority) -> ssl.SSLContext:
    return ending_tls(tmp_path, ca, "localhost", "127.0.0.1")


@pytest.fixture
def options(tmp_path: Path, ca: Authority) -> StoreOptions:
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    return replace(PATIENT, ca_file=tmp_path / "ca.crt", password=Secret(PASSWORD))


def ending_tls(directory: Path, ca: Authority, *names: str) -> ssl.SSLContext:
    """Return what ends TLS with a certificate for some names."""
    certificate, key = ca.issue("store", *names)
    (directory / "store.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "store.pem")
    return context


def only_tls(*wires: Wire, least: int = 1) -> None:
    """Raise ``AssertionError`` where a connection was anything but TLS, or there were fewer than ``least``."""
    for wire in wires:
        assert len(wire.first) >= least
        assert set(wire.first) == {HANDSHAKE}, wire.first
        assert not [word for word in CLEAR if word in wire.recorded]


async def use_every_way(store: Store) -> None:
    """Use every kind of connection there is: the pool's, for notices, and for changed keys."""
    await use(store)
    assert await store.swap("canary", None, VALUE)
    assert await store.get("canary") == VALUE
    async with aclosing(store.track(("canary",), 5.0)) as changes:
        await anext(changes)


async def test_a_server(tmp_path: Path, tls: ssl.SSLContext, options: StoreOptions) -> None:
    with Engine(tmp_path / "engine", *LOG, password=PASSWORD) as engine, Wire(engine.port, tls=tls) as wire:
        store = await Store.open(f"rediss://localhost:{wire.port}", prefix=PREFIX, options=options)
        await use_every_way(store)
        assert wire.reset()
        assert await store.get("canary") == VALUE  # a reconnect
        await store.close()
        only_tls(wire, least=3)


async def test_sentinels_and_the_primary_that_they_name_also_after_a_failover_and_a_reconnect(
    tmp_path: Path, tls: ssl.SSLContext, options: StoreOptions
) -> None:
    with ExitStack() as stack:
        old, new = (stack.enter_context(Engine(tmp_path / name, *LOG, password=PASSWORD)) for name in ("old", "new"))
        to_old, to_new = (stack.enter_context(Wire(engine.port, tls=tls)) for engine in (old, new))
        announced = {bulk(engine.port): bulk(wire.port) for engine, wire in ((old, to_old), (new, to_new))}
        watcher = stack.enter_context(sentinel(tmp_path, old.port))
        to_sentinel = stack.enter_context(Wire(watcher.port, tls=tls, replace=announced))
        store = await Store.open(
            f"rediss+sentinel://localhost:{to_sentinel.port}/primary", prefix=PREFIX, options=options
        )
        await use_every_way(store)
        assert to_old.reset()
        assert to_sentinel.reset()
        assert await store.get("canary") == VALUE  # a reconnect
        watcher.client.execute_command("SENTINEL", "REMOVE", "primary")
        watcher.client.execute_command("SENTINEL", "MONITOR", "primary", "127.0.0.1", new.port, 1)
        watcher.client.execute_command("SENTINEL", "SET", "primary", "auth-pass", PASSWORD)
        old.kill()
        for _ in range(3):  # connections to the old primary are found broken, one by one
            try:
                await store.get("canary")
                break
            except StoreUnavailable:
                continue
        await use_every_way(store)
        assert new.client.get(PREFIX + "canary") == VALUE  # a failover
        await store.close()
        only_tls(to_sentinel, to_old, to_new, least=1)


async def test_a_cluster_and_nodes_that_are_found_by_redirection(
    tmp_path: Path, tls: ssl.SSLContext, options: StoreOptions
) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(tls=tls)) for _ in range(3)]
        nodes = list(cluster(stack, tmp_path, wires))
        # The credentials are in the URL: the connection for notices has to bring them, too.
        url = f"rediss+cluster://:{PASSWORD}@localhost:{wires[0].port}"
        store = await Store.open(url, prefix=PREFIX, options=replace(options, password=None))
        await use_every_way(store)
        only_tls(*wires[:2])
        assert not wires[2].first  # it has no slots, so nobody knows of it
        slot = nodes[0].client.execute_command("CLUSTER KEYSLOT", PREFIX + "moved")
        to = nodes[2].client.execute_command("CLUSTER MYID")
        for node in (nodes[2], nodes[0], nodes[1]):
            node.client.execute_command("CLUSTER SETSLOT", slot, "NODE", to)
        assert await store.swap("moved", None, VALUE)
        assert await store.get("moved") == VALUE
        assert nodes[2].client.get(PREFIX + "moved") == VALUE
        for wire in wires:
            wire.reset()
        assert await store.get("moved") == VALUE  # a reconnect
        await store.close()
        only_tls(*wires)


@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster"])
async def test_without_tls_the_recorder_sees_everything(tmp_path: Path, options: StoreOptions, scheme: str) -> None:
    """The recorder is not blind."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire()) for _ in range(3)]
        if scheme == "redis+cluster":
            list(cluster(stack, tmp_path, wires))
            place = f"localhost:{wires[0].port}"
        else:
            engine = stack.enter_context(Engine(tmp_path / "engine", *LOG, password=PASSWORD))
            wires[0].upstream = engine.port
            place = f"localhost:{wires[0].port}"
            if scheme == "redis+sentinel":
                watcher = stack.enter_context(sentinel(tmp_path, engine.port))
                wires[1].upstream = watcher.port
                wires[1].replace = {bulk(engine.port): bulk(wires[0].port)}
                place = f"localhost:{wires[1].port}/primary"
        store = await Store.open(f"{scheme}://{place}", prefix=PREFIX, options=replace(options, ca_file=None))
        await use_every_way(store)
        await store.close()
        seen = b"".join(bytes(wire.recorded) for wire in wires)
        assert not [word for word in (VALUE, PASSWORD.encode(), PREFIX.encode()) if word not in seen]


@pytest.mark.parametrize("names", [("localhost",), ("redis.example",)])
async def test_a_certificate_has_to_name_the_primary_as_the_sentinels_announce_it(
    tmp_path: Path, ca: Authority, tls: ssl.SSLContext, options: StoreOptions, names: tuple[str, ...]
) -> None:
    """RFC 9525 section 6: they announce 127.0.0.1, and a DNS name is none."""
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(tmp_path / "engine", *LOG, password=PASSWORD))
        to_primary = stack.enter_context(Wire(engine.port, tls=ending_tls(tmp_path, ca, *names)))
        watcher = stack.enter_context(sentinel(tmp_path, engine.port))
        announced = {bulk(engine.port): bulk(to_primary.port)}
        to_sentinel = stack.enter_context(Wire(watcher.port, tls=tls, replace=announced))
        with pytest.raises(StoreUnavailable):
            await Store.open(f"rediss+sentinel://localhost:{to_sentinel.port}/primary", options=options)
        only_tls(to_sentinel, to_primary)


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel", "rediss+cluster"])
@pytest.mark.parametrize("fault", ["a server without TLS", "another authority", "no authority", "another name"])
async def test_what_is_not_proved_to_be_the_store_gets_nothing(
    tmp_path: Path, ca: Authority, tls: ssl.SSLContext, options: StoreOptions, scheme: str, fault: str
) -> None:
    with Engine(tmp_path / "engine", *LOG, password=PASSWORD) as engine:
        if fault == "another authority":
            (tmp_path / "ca.crt").write_bytes(authority().pem)
        elif fault == "no authority":
            options = replace(options, ca_file=None)
        elif fault == "a server without TLS":
            options = replace(options, read_timeout=1.0)  # it waits for the rest of a command, and answers nothing
        elif fault == "another name":
            tls = ending_tls(tmp_path, ca, "redis.example")
        with Wire(engine.port, tls=None if fault == "a server without TLS" else tls) as wire:
            path = "/primary" if "sentinel" in scheme else ""
            with pytest.raises(StoreUnavailable):
                await Store.open(f"{scheme}://localhost:{wire.port}{path}", prefix=PREFIX, options=options)
            only_tls(wire)


def test_tls_is_version_1_2_at_least_with_a_certificate_that_is_checked() -> None:
    """RFC 9325 section 3.1.1."""
    tls = StoreFiles(urls.parse("rediss://redis.example"), StoreOptions()).tls
    assert tls is not None
    context = tls.value
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def bulk(port: int) -> bytes:
    """Return a port as a reply announces it: all of the machine's own choice have five digits."""
    assert port >= 10_000
    return b"$5\r\n%d\r\n" % port


def sentinel(directory: Path, primary: int) -> Engine:
    """Return a sentinel that watches a primary."""
    config = directory / "sentinel.conf"
    config.write_text(f"sentinel monitor primary 127.0.0.1 {primary} 1\nsentinel auth-pass primary {PASSWORD}\n")
    return Engine(directory / "sentinel", str(config), "--sentinel")


def cluster(stack: ExitStack, directory: Path, wires: list[Wire]) -> Iterator[Engine]:
    """Run three nodes that announce the ports of ``wires``; the last one has no slots."""
    buses = [own_port() for _ in wires]
    nodes = []
    for number, (wire, bus) in enumerate(zip(wires, buses, strict=True)):
        arguments = ("--cluster-enabled", "yes", "--cluster-announce-port", str(wire.port), "--cluster-port", str(bus))
        nodes.append(stack.enter_context(Engine(directory / str(number), *LOG, *arguments, password=PASSWORD)))
        wire.upstream = nodes[-1].port
    for node, bounds in zip(nodes, [(0, 8191), (8192, 16383)], strict=False):
        node.client.execute_command("CLUSTER ADDSLOTSRANGE", *bounds)
    for number, node in enumerate(nodes[1:], start=2):
        node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number)
    for node, bus in zip(nodes[1:], buses[1:], strict=True):
        nodes[0].client.execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
    pause = threading.Event()
    for _ in range(1000):
        told = [node.client.execute_command("CLUSTER INFO") for node in nodes]
        if all(one["cluster_state"] == "ok" and one["cluster_known_nodes"] == "3" for one in told):
            break
        pause.wait(0.02)
    yield from nodes
