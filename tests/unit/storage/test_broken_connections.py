"""Each error of the driver or the loop is an outage of the store, and the service works again after it."""

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as driver
import uvloop
from redis.exceptions import RedisClusterException
from structlog.testing import capture_logs
from tests.conftest import PATIENT
from tests.ports import own_port
from tests.unit.storage.test_redis import scripted
from tests.wire import Engine, Wire

from tokenmint.base.errors import OutcomeUnknown, StoreUnavailable
from tokenmint.storage import connections
from tokenmint.storage.redis import Store

pytestmark = pytest.mark.slow

LOG = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
RAISED: list[BaseException] = [
    RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ValueError("a secret"),
    AttributeError("a secret"),
    IndexError("a secret"),
    KeyError("a secret"),
    asyncio.InvalidStateError("a secret"),
    asyncio.IncompleteReadError(b"a secret", 9),
    ssl.SSLError("a secret"),
    RedisClusterException("a secret"),
]


def operations(store: Store) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Every operation of the store."""
    return {
        "get": lambda: store.get("a"),
        "get_many": lambda: store.get_many(["a", "b"]),
        "scan": lambda: store.scan("*", "", 10),
        "time": store.time,
        "clock_of": lambda: store.clock_of("a"),
        "swap": lambda: store.swap("a", None, b"1"),
        "swap_many": lambda: store.swap_many([("g", None, b"1"), ("h", None, b"1")]),
        "add": lambda: store.add("b", b"1", ttl=60),
        "append": lambda: store.append("c", [b"1"], most_entries=10, most_bytes=1000, durable=True),
        "take": lambda: store.take("d", rate=1.0, burst=1, least=1, most=1),
        "join": lambda: store.join("e", "m", "1", ttl=60),
        "members": lambda: store.members("e"),
        "lease": lambda: store.lease("f", "h", ttl=60, above=0),
    }


WRITES = {"swap", "swap_many", "add", "append"}
OPERATIONS = sorted(operations(Store.__new__(Store)))


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["_send_packed_command", "_read_response_from_parser", "can_read"])
async def test_whatever_a_connection_raises_is_an_outage_and_a_read_is_tried_once_more(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, method: str
) -> None:
    await store.swap("a", None, b"1")
    real = getattr(connections._SocketConnection, method)

    def broken(after: int) -> Callable[..., Any]:
        calls: list[None] = []

        async def once(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(None)
            if len(calls) <= after:
                raise error
            return await real(self, *args, **kwargs)

        return once

    if method != "can_read":  # which comes before a connection is handed out
        monkeypatch.setattr(connections._SocketConnection, method, broken(1))
        assert await store.get("a") == b"1"
        monkeypatch.setattr(connections._SocketConnection, method, broken(1))
        assert await store.get_many(["a"]) == [b"1"]
    monkeypatch.setattr(connections._SocketConnection, method, broken(1_000_000))
    for name, operation in operations(store).items():
        with pytest.raises((StoreUnavailable, OutcomeUnknown)) as told:
            await operation()
        assert "a secret" not in told.value.detail
        assert name in WRITES or type(told.value) is StoreUnavailable
    monkeypatch.setattr(connections._SocketConnection, method, real)
    for operation in operations(store).values():
        await operation()


async def test_a_cancellation_that_nobody_asked_for_is_an_outage_and_one_that_was_asked_for_is_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def cancelled(*_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError

    async def for_ever(*_: Any, **__: Any) -> Any:
        reached.set()
        await asyncio.get_running_loop().create_future()

    with monkeypatch.context() as patch:
        patch.setattr(connections._SocketConnection, "_read_response_from_parser", cancelled)
        with pytest.raises(StoreUnavailable):
            await store.get("a")
        with pytest.raises((StoreUnavailable, OutcomeUnknown)):
            await store.swap("a", None, b"1")
        patch.setattr(connections._SocketConnection, "_read_response_from_parser", for_ever)
        task = asyncio.ensure_future(store.get("a"))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await store.swap("b", None, b"1")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    "answer",
    [b"\x00\xff\x16\x03\x01 garbage\r\n", b"+OK\r\n", b":5\r\n", b"*1\r\n$1\r\nx\r\n", b"*0\r\n", b"$-1\r\n",
     b"*3\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n", b"$4\r\n\xff\xfe\xfd\xfc\r\n"],
)  # fmt: skip
async def test_an_answer_that_is_none_is_an_outage(store: Store, name: str, answer: bytes) -> None:
    with scripted(answer) as port:
        url = replace(store.url, socket_path=None, hosts=(("127.0.0.1", port),))
        broken = Store(url, "t:", PATIENT)
        broken._writes.confirms_log = True
        try:
            await operations(broken)[name]()
        except (StoreUnavailable, OutcomeUnknown) as error:
            assert type(error) is StoreUnavailable or name in WRITES  # noqa: PT017  # some answers are good ones
        finally:
            await broken.close()


async def test_a_fault_of_ours_is_logged_with_its_place_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(*_: Any, **__: Any) -> Any:
        nothing: dict[str, str] = {}
        return nothing["a secret"]

    monkeypatch.setattr(connections, "_logged", set())
    monkeypatch.setattr(store.server, "client", type("Client", (), {"get": wrong, "eval": wrong})())
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.get("a")
    assert [(line["event"], line["error"]) for line in lines] == [
        ("a store operation failed in an unexpected way", "KeyError")
    ]
    assert "wrong" in lines[0]["where"][-1]
    assert "a secret" not in str(lines)


async def test_cancelled_calls_leave_every_connection_of_the_pool_usable(store: Store) -> None:
    await store.swap("a", None, b"1")
    for steps in range(30):
        tasks = [asyncio.ensure_future(operation()) for operation in operations(store).values() for _ in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    everyone = store.options.max_connections
    assert await asyncio.gather(*(store.get("a") for _ in range(2 * everyone))) == 2 * everyone * [b"1"]
    pool: Any = store.server.pool
    assert len(pool._in_use_connections) == 0


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the driver sends at once there, without a task of its own")
@pytest.mark.parametrize("lost", ["closed by another task", "closed by the other side"])
async def test_a_connection_that_is_lost_while_a_command_waits_for_its_turn_is_no_fault_of_ours(
    store: Store, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The driver sends in a task of its own, a turn later: meanwhile another one may have read the loss."""
    monkeypatch.setattr(connections, "_logged", set())
    pool: Any = store.server.pool
    connection = pool.make_connection()
    await connection.connect()
    with capture_logs() as lines:
        sending = asyncio.ensure_future(connection.send_command("PING"))
        await asyncio.sleep(0)
        if lost == "closed by another task":
            await connection.disconnect(nowait=True)
        else:
            connection._writer.transport.abort()
        with pytest.raises(driver.ConnectionError):
            await sending
    assert lines == []


def test_idle_connections_that_were_reset_are_not_used_on_uvloop_as_in_production(
    redis_url: str, redis_prefix: str
) -> None:
    async def main() -> None:
        with Wire(redis_url.removeprefix("unix://")) as wire:
            store = await Store.open(f"redis://127.0.0.1:{wire.port}", prefix=redis_prefix, options=PATIENT)
            pool: Any = store.server.pool
            expected: bytes | None = None
            for number in range(10):
                await asyncio.gather(*(store.get("a") for _ in range(5)))
                assert wire.reset() >= 1
                async with asyncio.timeout(20):
                    while not all(one._lost() for one in pool._available_connections if one.is_connected):  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
                new = b"%d" % number
                assert await store.swap("a", expected, new)  # a write, which is not tried again
                assert (await store.get("a"), await store.get_many(["a"])) == (new, [new])
                expected = new
            await store.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_a_reset_in_the_middle_of_a_reply_is_an_outage_and_over_with_the_next_call(store: Store) -> None:
    with scripted(b"$100000\r\nbeginning of a reply") as port:
        broken = Store(replace(store.url, socket_path=None, hosts=(("127.0.0.1", port),)), "t:",
                       replace(PATIENT, read_timeout=0.5))  # fmt: skip
        with pytest.raises(StoreUnavailable):
            await broken.get("a")
        await broken.close()


async def test_a_cluster_is_found_again_after_all_its_nodes_were_away_and_came_back_under_other_addresses(
    tmp_path: Path,
) -> None:
    arguments = ("--cluster-enabled", "yes", "--cluster-port", str(own_port()), *LOG)  # or it is 10000 above the other
    with Wire() as configured, Wire() as before, Wire() as after:
        node = Engine(tmp_path / "node", *arguments, "--cluster-announce-port", str(before.port)).start()
        configured.upstream = before.upstream = node.port
        node.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        await until_works(lambda: asyncio.to_thread(cluster_ok, node))
        options = replace(PATIENT, read_timeout=2.0)
        store = await Store.open(f"redis+cluster://127.0.0.1:{configured.port}", prefix="t:", options=options)
        assert await store.swap("a", None, b"1")
        assert before.first
        node.kill()
        for _ in range(3):
            for name, operation in operations(store).items():
                if name == "get_many":  # each key has its own answer
                    assert [type(answer) for answer in await store.get_many(["a", "b"])] == 2 * [StoreUnavailable]
                    continue
                with pytest.raises((StoreUnavailable, OutcomeUnknown)):
                    await operation()
        before.upstream = 1  # nobody is there any more
        node = Engine(tmp_path / "node", *arguments, "--cluster-announce-port", str(after.port)).start()
        configured.upstream = after.upstream = node.port
        try:
            await until_works(lambda: store.swap("b", None, b"1"))  # a write finds it, not only a read
            assert after.first
            for operation in operations(store).values():
                await operation()
            async with aclosing(store.listen("news")) as notices:
                assert (await anext(notices)).payload is None
        finally:
            await store.close()
            node.kill()


async def test_a_sentinel_that_answers_nonsense_is_passed_over_and_all_may_go_and_come_back(tmp_path: Path) -> None:
    config = tmp_path / "sentinel.conf"
    with (
        Engine(tmp_path / "primary", *LOG) as primary,
        scripted(b"*1\r\n*3\r\n$1\r\nx\r\n:1\r\n$0\r\n\r\n") as nonsense,
    ):
        config.write_text(f"sentinel monitor primary 127.0.0.1 {primary.port} 1\n")
        with Engine(tmp_path / "sentinel", str(config), "--sentinel") as sentinel:
            url = f"redis+sentinel://127.0.0.1:{nonsense},127.0.0.1:{sentinel.port}/primary"
            store = await Store.open(url, prefix="t:", options=PATIENT)
            assert await store.swap("a", None, b"1")
            sentinel.kill()
            primary.kill()
            for operation in operations(store).values():
                with pytest.raises((StoreUnavailable, OutcomeUnknown)):
                    await operation()
            primary.start()
            sentinel.start()
            await until_works(lambda: store.get("a"))
            assert await store.swap("a", b"1", b"2")
            await store.close()


def cluster_ok(node: Engine) -> None:
    if node.client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
        raise StoreUnavailable


async def until_works(operation: Callable[[], Awaitable[Any]]) -> None:
    """Do it until it is no outage any more; bounded."""
    async with asyncio.timeout(20):
        while True:
            try:
                await operation()
            except (StoreUnavailable, OutcomeUnknown):
                await asyncio.sleep(0.02)
            else:
                return
