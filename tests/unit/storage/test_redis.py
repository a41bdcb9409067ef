"""The store against real servers: confirmed changes, and what each failure is called."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import PATIENT

from tokenmint.base.errors import ConfigurationError, CorruptRecord, OutcomeUnknown, StoreUnavailable
from tokenmint.model.secret import Secret
from tokenmint.storage import urls
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.redis import Store

FAST = StoreOptions(read_timeout=0.3, write_timeout=0.3)


async def test_a_swap_compares_the_whole_value(store: Store) -> None:
    assert await store.get("a") is None
    assert await store.swap("a", None, b"1")
    assert not await store.swap("a", None, b"2")
    assert not await store.swap("a", b"2", b"3")
    assert await store.swap("a", b"1", b"2")
    assert await store.get("a") == b"2"
    with pytest.raises(ValueError, match="absent"):
        await store.swap("a", b"2", b"")


async def test_a_swap_is_not_made_after_its_time_by_the_clock_of_the_server(store: Store) -> None:
    now = await store.clock_of("a")
    assert not await store.swap("a", None, b"1", until=now)
    assert await store.get("a") is None
    assert await store.swap("a", None, b"1", until=now + 60.0)
    assert not await store.swap("a", b"1", b"2", until=now - 60.0)
    assert await store.get("a") == b"1"


async def test_of_many_swaps_one_wins(store: Store) -> None:
    results = await asyncio.gather(*(store.swap("a", None, str(number).encode()) for number in range(20)))
    assert sum(results) == 1


async def test_adding_keeps_what_there_is_and_expires(store: Store) -> None:
    assert await store.add("a", b"1", ttl=100) is None
    assert await store.add("a", b"2", ttl=100) == b"1"
    assert await store.add("short", b"1", ttl=0.001) is None
    async with asyncio.timeout(5):
        while await store.get("short") is not None:  # the server's own clock decides
            pass


async def every_key(store: Store, pattern: str) -> set[str]:
    found: set[str] = set()
    cursor = ""
    while True:
        cursor, keys = await store.scan(pattern, cursor, 10)
        found |= set(keys)
        if not cursor:
            return found


async def test_prefixes_keep_services_apart(store: Store, redis_url: str) -> None:
    other = await Store.open(redis_url, prefix="other-of-" + store.prefix, options=PATIENT)
    await store.swap("a", None, b"1")
    assert await other.get("a") is None
    assert await every_key(other, "*") == set()
    await other.close()


async def test_scanning_sees_every_key_and_takes_prefixes_literally(store: Store, redis_url: str) -> None:
    for number in range(30):
        await store.swap(f"profile:{number}", None, b"x")
    await store.swap("ring", None, b"x")
    assert await every_key(store, "profile:*") == {f"profile:{number}" for number in range(30)}
    starry = await Store.open(redis_url, prefix="*", options=PATIENT)
    assert await every_key(starry, "profile:*") == set()
    await starry.close()


async def test_subscribers_hear_of_a_change_that_was_made_and_of_no_other(store: Store) -> None:
    async with aclosing(store.listen("news")) as notices:
        assert (await anext(notices)).payload is None  # the subscription stands
        await store.swap("a", None, b"1", channel="news", notice="one")
        await store.swap("a", b"wrong", b"2", channel="news", notice="lost")
        await store.swap("a", b"1", b"2", channel="news", notice="two")
        assert [(await anext(notices)).payload for _ in range(2)] == [b"one", b"two"]


async def test_time_and_durability(store: Store) -> None:
    await store.ping()
    assert await store.time() > 1_700_000_000
    assert store.durability == "confirmed as synced to the append-only file"


async def test_a_write_without_enough_replicas_is_not_promised(redis_url: str, redis_prefix: str) -> None:
    options = StoreOptions(min_replicas=1, read_timeout=10.0, write_timeout=2.0)
    store = await Store.open(redis_url, prefix=redis_prefix, options=options)
    assert "1 replica" in store.durability
    with pytest.raises(OutcomeUnknown, match="may have been made or not"):
        await store.swap("a", None, b"1")
    await store.close()


async def test_a_server_that_evicts_is_refused(redis_url: str, redis_prefix: str) -> None:
    store = await Store.open(redis_url, prefix=redis_prefix, options=PATIENT)
    client = store.server.client
    await client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ConfigurationError, match="maxmemory-policy is 'allkeys-lru'"):
            await Store.open(redis_url, options=PATIENT)
    finally:
        await client.config_set("maxmemory-policy", "noeviction")
        await store.close()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"-READONLY You can't write against a read only replica.\r\n", "READONLY|ReadOnly"),
        (b"-LOADING loading the dataset\r\n", "Loading|LOADING"),
        (b"-OOM command not allowed\r\n", "OOM|OutOfMemory"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "CLUSTERDOWN|ClusterDown"),
        (b"-MISCONF errors writing to the AOF\r\n", "MISCONF"),
        (b"-MOVED 1 127.0.0.1:1\r\n", "MOVED|Moved"),
        (b"-NOAUTH Authentication required.\r\n", "credentials"),
        (b"-NOPERM this user has no permissions\r\n", "NOPERM|NoPermission"),
    ],
)
async def test_the_servers_refusals_are_unavailable_and_changed_nothing(reply: bytes, expected: str) -> None:
    with scripted(reply) as port:
        store = Store(urls.parse(f"redis://127.0.0.1:{port}"), "t:", PATIENT)
        with pytest.raises(StoreUnavailable) as error:
            await store.swap("a", None, b"1")
        assert not isinstance(error.value, OutcomeUnknown)
        assert any(word in error.value.detail for word in expected.split("|")), error.value.detail
        for read in (store.get("a"), store.time(), store.members("a"), store.scan("*", "", 10)):
            with pytest.raises(StoreUnavailable):
                await read
        await store.close()


@pytest.mark.parametrize("reply", [b"-NOAUTH Authentication required.\r\n", b"-WRONGPASS invalid password\r\n"])
async def test_refused_credentials_are_a_matter_of_configuration(reply: bytes) -> None:
    with scripted(reply) as port:
        options = StoreOptions(read_timeout=10.0, write_timeout=20.0, password=Secret("canary-4711"))
        with pytest.raises(ConfigurationError, match="credentials") as error:
            await Store.open(f"redis://127.0.0.1:{port}", options=options)
        assert "canary" not in error.value.message
        # To a service that runs it is a store that is away: it comes back when the password is right again.
        store = Store(urls.parse(f"redis://127.0.0.1:{port}"), "t:", options)
        with pytest.raises(StoreUnavailable) as away:
            await store.get("a")
        assert "credentials" in away.value.detail
        assert "canary" not in away.value.detail
        await store.close()


async def test_silence_is_noticed_in_time_and_a_write_is_of_unknown_outcome() -> None:
    with scripted(None) as port:
        store = Store(urls.parse(f"redis://127.0.0.1:{port}"), "t:", FAST)
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable):
                await store.get("a")
            with pytest.raises(StoreUnavailable):
                await store.ping()
        await store.close()


async def test_a_pool_that_is_used_up_is_noticed_in_time() -> None:
    with scripted(None) as port:
        store = Store(urls.parse(f"redis://127.0.0.1:{port}"), "t:", replace(FAST, max_connections=1))
        async with asyncio.timeout(5):
            outcomes = await asyncio.gather(*(store.get("a") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        await store.close()


async def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(StoreUnavailable) as error:
            await Store.open(f"redis://user:secret@127.0.0.1:{unused.getsockname()[1]}", options=FAST)
    assert "secret" not in error.value.detail


async def test_a_cancelled_command_does_not_hand_its_answer_to_the_next(store: Store) -> None:
    """redis-py CVE-2023-28858, -28859."""
    for number in range(20):
        await store.swap(f"k{number}", None, f"v{number}".encode())

    async def read(number: int) -> None:
        assert await store.get(f"k{number}") == f"v{number}".encode()

    for number in range(20):
        victim = asyncio.ensure_future(store.swap("victim", None, b"x"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        victim.cancel()
        await asyncio.gather(victim, return_exceptions=True)
        await read(number)
        await asyncio.gather(*(read(index) for index in range(20)))


@contextmanager
def scripted(reply: bytes | None) -> Iterator[int]:
    """A server that gives the same answer to everything, or none at all."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)
    peers: list[socket.socket] = []

    def serve(peer: socket.socket) -> None:
        try:
            while (data := peer.recv(65536)) != b"":
                if reply is not None:
                    peer.sendall(reply * max(1, data.count(b"*")))
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peer.settimeout(10)
            peers.append(peer)
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(10)
        listener.close()
        for peer in peers:
            peer.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", ("server", False, (("h", 6379),), 0)),
        ("redis://h:7000/3", ("server", False, (("h", 7000),), 3)),
        ("rediss://u:p%40@h/1", ("server", True, (("h", 6379),), 1)),
        ("redis+cluster://a:1,b:2", ("cluster", False, (("a", 1), ("b", 2)), 0)),
        ("rediss+cluster://a", ("cluster", True, (("a", 6379),), 0)),
        ("redis+sentinel://a,b:5/primary/2", ("sentinel", False, (("a", 26379), ("b", 5)), 2)),
        ("redis://[::1]:9", ("server", False, (("::1", 9),), 0)),
    ],
)
def test_urls(url: str, expected: tuple[object, ...]) -> None:
    parsed = urls.parse(url)
    assert (parsed.kind, parsed.tls, parsed.hosts, parsed.database) == expected


def test_urls_do_not_show_their_password() -> None:
    parsed = urls.parse("rediss://u:p%40ss@h/1")
    assert (parsed.username, parsed.password) == ("u", "p@ss")
    assert "p@ss" not in repr(parsed) + parsed.describe()
    assert urls.parse("unix:///run/r.sock?db=2").socket_path == "/run/r.sock"
    assert urls.parse("redis+sentinel://a/primary").service == "primary"


@pytest.mark.parametrize(
    "url", ["", "h:6379", "http://h", "redis://", "redis://a,b", "redis://h/x", "redis+cluster://a/1", "redis+x://a",
            "redis+sentinel://a", "redis://h:port", "rediss://h?ssl_cert_reqs=none", "rediss://h/1?db=2",
            "rediss+sentinel://h/primary?ssl=false", "unix:///s?tls=1", "redis://h#1"],
)  # fmt: skip
def test_what_is_no_store_url_is_told_the_forms(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not a store URL; expected redis://"):
        urls.parse(url)


async def test_a_value_of_another_type_is_no_absence(store: Store) -> None:
    await store.server.client.hset(store.prefix + "foreign", "a", "b")
    await store.swap("here", None, b"1", durable=False)
    value, refused, absent = await store.get_many(["here", "foreign", "none"])
    assert (value, absent) == (b"1", None)
    assert isinstance(refused, CorruptRecord)
    assert f"{store.prefix}foreign: a value of another type" in refused.detail
    assert isinstance((await store.get_many(["foreign"]))[0], CorruptRecord)
    assert await store.get_many(["none"]) == [None]
    for operation in (
        store.get("foreign"), store.current("foreign"), store.swap("foreign", None, b"1"),
        store.swap("foreign", b"0", b"1", until=2e9), store.add("foreign", b"1", ttl=60),
        store.append("foreign", [b"1"], most_entries=1, most_bytes=1, durable=True),
    ):  # fmt: skip
        with pytest.raises(CorruptRecord) as told:
            await operation
        assert f"{store.prefix}foreign: a value of another type" in told.value.detail


async def test_a_fence_of_another_type_proves_nothing_and_is_not_taken_for_the_key(store: Store) -> None:
    noticed: list[bool] = []
    store.expect("fence", range(5, 10), lambda: noticed.append(True))
    await store.server.client.hset(store.prefix + "fence", "a", "b")
    for operation in (store.current("absent"), store.get_many(["absent"])):
        with pytest.raises(StoreUnavailable, match="can't be reached") as told:
            await operation
        assert "lost changes" in told.value.detail
    with pytest.raises(OutcomeUnknown):
        await store.add("absent", b"1", ttl=60)
    assert len(noticed) == 3


@pytest.mark.parametrize("foreign", [b"", b"garbage", b"1.5", b"9" * 5000, b"9" * 18 + b"999", b"9223372036854775807"])
async def test_a_counter_that_is_no_number_is_told_by_its_key(store: Store, foreign: bytes) -> None:
    await store.server.client.set(store.prefix + "count", foreign)
    with pytest.raises(CorruptRecord) as told:
        await store.count("count", 1)
    assert f"{store.prefix}count: not a number" in told.value.detail


async def test_a_counter_of_another_type_is_told_by_its_key(store: Store) -> None:
    await store.server.client.hset(store.prefix + "count", "a", "b")
    with pytest.raises(CorruptRecord):
        await store.count("count", 1)
    assert await store.count("another", 2) == 2
    assert await store.count("another", 3) == 5


@pytest.mark.parametrize("foreign", [b"", b"garbage", b"9" * 5000])
async def test_a_fence_that_is_no_number_proves_nothing(store: Store, foreign: bytes) -> None:
    noticed: list[bool] = []
    store.expect("fence", range(5, 10), lambda: noticed.append(True))
    await store.server.client.set(store.prefix + "fence", foreign)
    with pytest.raises(StoreUnavailable):
        await store.current("absent")
    assert noticed


async def test_many_changes_are_made_each_by_itself(store: Store) -> None:
    await store.swap("a", None, b"1")
    await store.swap("b", None, b"1")
    await store.server.client.hset(store.prefix + "h", "x", "y")
    changes = [("a", b"1", b"2"), ("b", b"0", b"2"), ("c", None, b"2"), ("h", None, b"2"), ("d", None, None)]
    assert await store.swap_many(changes) == [True, False, True, False, True]
    assert [await store.get(key) for key in "abcd"] == [b"2", b"1", b"2", None]
    assert await store.swap_many([("a", b"2", None)], durable=False) == [True]
    assert await store.get("a") is None
    assert await store.swap_many([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("appendfsync", ["everysec", "no"])
async def test_when_the_server_syncs_is_looked_at_at_the_start(tmp_path: Path, appendfsync: str) -> None:
    server = EmbeddedServer(tmp_path)
    url = server.start()
    try:
        usual = await Store.open(url, options=PATIENT)
        assert (usual.server.appendfsync, usual.weakness) == ("always", "")
        await usual.server.client.config_set("appendfsync", appendfsync)
        await usual.close()
        if appendfsync == "no":
            with pytest.raises(ConfigurationError, match="never confirms"):
                await Store.open(url, options=PATIENT)
            return
        slow = await Store.open(url, options=PATIENT)
        assert "everysec" in slow.durability
        assert "0.1 s" in slow.weakness
        await slow.close()
    finally:
        server.stop()
