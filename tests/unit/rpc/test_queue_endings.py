"""Every ending of grpcio's calls: nothing of a call stays, and no failure of one call touches another."""

import asyncio
import collections
import gc
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.http2 import Peer, connected, framed
from tests.polling import until
from tests.queued import FAST, SLOW, STREAM, Guard, serving

from tokenmint.rpc.queue_calls import QueueCall, Watch
from tokenmint.rpc.queue_server import QueueServer

pytestmark = pytest.mark.slow

STREAMS = 100
LIMITS = (
    ("grpc.max_concurrent_streams", STREAMS),
    ("grpc.http2.max_deallocating_streams", STREAMS),
    ("grpc.server.max_pending_requests", 320),
    ("grpc.server.max_pending_requests_hard_limit", 320),
)
"""As the service has them: beyond this number of ended streams that something refers to, the core refuses others."""
DATA = (framed(b"wait"), framed(b"hang"), framed(b"yes"), framed(b"wait")[:-1], None)


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    """Nothing may need a garbage collection to end."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def kept() -> list[Any]:
    # By their types: `isinstance` would ask lazy objects of other libraries for their class, which fails.
    return [one for one in gc.get_objects() if issubclass(type(one), QueueCall | Watch)]


async def nothing_stays(guard: Guard, server: QueueServer, channel: Any) -> None:
    """And the connection serves as many honest calls at once as was announced; a message may come late."""

    async def ended() -> bool:
        return not kept() and not server._tasks and not server._late and not guard.capacity.in_flight

    async def serves() -> bool:
        """The core releases streams in its own time: until then it refuses some."""
        calls = (channel.unary_unary(FAST)(b"yes") for _ in range(STREAMS))
        answers: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        if any(isinstance(answer, grpc.aio.AioRpcError) for answer in answers):
            return False
        assert {answer.removeprefix(b"slowly: ").upper() for answer in answers} == {b"YES"}
        return True

    await until(ended)
    await until(serves)


async def cancelled(channel: Any, method: str, message: bytes) -> None:
    call = channel.unary_unary(method)(message)
    await asyncio.sleep(0)
    call.cancel()
    await call


async def without_message(channel: Any, method: str) -> None:
    call = channel.stream_unary(method)()
    await call.done_writing()
    await call


async def left(channel: Any) -> None:
    call = channel.stream_stream(STREAM)()
    await call.write(b"a")
    assert await call.read() == b"aa"
    call.cancel()
    await call.code()


ENDINGS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "answered by the fast way": lambda channel: channel.unary_unary(FAST)(b"yes"),
    "answered by its handler": lambda channel: channel.unary_unary(SLOW)(b"no"),
    "declined by the fast way": lambda channel: channel.unary_unary(FAST)(b"no"),
    "failed": lambda channel: channel.unary_unary(SLOW)(b"fail"),
    "of an unknown method": lambda channel: channel.unary_unary("/tests.Queue/None")(b""),
    "cancelled while it waits": lambda channel: cancelled(channel, FAST, b"wait"),
    "cancelled in its handler": lambda channel: cancelled(channel, SLOW, b"hang"),
    "late while it waits": lambda channel: channel.unary_unary(FAST)(b"wait", timeout=0.05),
    "late in its handler": lambda channel: channel.unary_unary(SLOW)(b"hang", timeout=0.05),
    "without a message": lambda channel: without_message(channel, FAST),
    "without a message for its handler": lambda channel: without_message(channel, SLOW),
    "whose message never comes": lambda channel: channel.stream_unary(FAST)(timeout=0.1),
    "whose message never comes to its handler": lambda channel: channel.stream_unary(SLOW)(timeout=0.1),
    "that streams, and is left": left,
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_nothing_stays_of_a_call(ending: str) -> None:
    async with serving(*LIMITS) as (guard, server, channel):
        guard.capacity.limit = STREAMS
        places, codes = iter(range(300)), set[grpc.StatusCode]()

        async def caller() -> None:
            for _ in places:
                try:
                    await ENDINGS[ending](channel)
                    codes.add(grpc.StatusCode.OK)
                except grpc.aio.AioRpcError as refused:
                    codes.add(refused.code())
                except asyncio.CancelledError:
                    codes.add(grpc.StatusCode.CANCELLED)

        await asyncio.gather(*(caller() for _ in range(30)))
        assert len(codes) == 1
        await nothing_stays(guard, server, channel)


async def test_2000_clients_that_leave_while_the_store_hangs_take_no_place_from_others() -> None:
    """On one connection: the results for which their calls wait come when all of them have left."""
    async with serving(*LIMITS) as (guard, server, channel):
        guard.capacity.limit = 2000
        ended: collections.Counter[grpc.StatusCode] = collections.Counter()
        places = iter(range(2000))

        async def caller() -> None:
            for _ in places:
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await channel.unary_unary(FAST)(b"wait", timeout=0.2)
                ended[failed.value.code()] += 1

        await asyncio.gather(*(caller() for _ in range(STREAMS)))
        assert ended == {grpc.StatusCode.DEADLINE_EXCEEDED: 2000}
        await nothing_stays(guard, server, channel)


@pytest.mark.parametrize("path", [FAST, SLOW, STREAM, "/tests.Queue/None"])
async def test_nothing_stays_of_calls_that_are_reset_at_once(path: str) -> None:
    """Many of them before the first step of their tasks."""
    async with serving(*LIMITS) as (guard, server, channel):
        async with connected(guard.address) as peer:
            await peer.settle()
            for body, end in itertools.product(DATA, (False, True)):
                for _ in range(10):
                    peer.h2.reset_stream(peer.call(path=path, body=body, end=end))
            assert (await peer.answer(peer.call(path=FAST, body=framed(b"yes")))).status == 0
        await nothing_stays(guard, server, channel)


@pytest.mark.parametrize("path", [FAST, SLOW, STREAM])
async def test_nothing_stays_of_calls_whose_client_is_gone(path: str) -> None:
    async with serving(*LIMITS) as (guard, server, channel):
        for _ in range(20):
            async with connected(guard.address) as peer:
                await peer.settle()
                for body in DATA:
                    peer.call(path=path, body=body, end=False)
                await answered(peer)
        await nothing_stays(guard, server, channel)


async def answered(peer: Peer) -> None:
    """The server has seen what was sent before."""
    assert (await peer.answer(peer.call(path=FAST, body=framed(b"yes")))).status == 0


async def test_a_handler_that_is_cancelled_by_others_than_its_client_answers_at_once() -> None:
    async with serving() as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(SLOW)(b"cancelled", timeout=20)
        assert failed.value.code() is grpc.StatusCode.INTERNAL


async def test_a_response_that_the_core_does_not_take_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nonsense(self: Guard, _: Any, context: Any) -> Any:
        return 4711

    monkeypatch.setattr(Guard, "unary", nonsense)
    async with serving() as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(SLOW)(b"", timeout=20)
        assert failed.value.code() is grpc.StatusCode.INTERNAL


def once(kind: type[BaseException], otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that fails once."""
    left = [kind]

    def call(*arguments: Any, **more: Any) -> Any:
        if left:
            raise left.pop()("secret")
        return otherwise(*arguments, **more)

    return call


def in_the_fast_way(guard: Guard, kind: type[BaseException]) -> None:
    guard.fast.answer = once(kind, guard.fast.answer)  # type: ignore[method-assign]


def in_what_it_writes(guard: Guard, kind: type[BaseException]) -> None:
    guard.fast.write = once(kind, guard.fast.write)  # type: ignore[method-assign]


def in_the_response(guard: Guard, kind: type[BaseException]) -> None:
    guard.capacity.enter = once(kind, guard.capacity.enter)  # type: ignore[method-assign]


@pytest.mark.parametrize("place", [in_the_fast_way, in_what_it_writes, in_the_response])
@pytest.mark.parametrize("kind", [ValueError, MemoryError, asyncio.CancelledError])
async def test_a_failure_answers_its_call_and_stops_no_other(place: Any, kind: type[BaseException]) -> None:
    async with serving(*LIMITS) as (guard, server, channel):
        place(guard, kind)
        call = channel.unary_unary(FAST)(b"yes", timeout=20)
        if place is in_the_fast_way:  # it has declined
            assert await call == b"slowly: yes"
        else:
            assert (await call.code(), "secret" in await call.details()) == (grpc.StatusCode.INTERNAL, False)
        await nothing_stays(guard, server, channel)


async def test_a_failure_to_ask_for_further_calls_is_made_good() -> None:
    async with serving(*LIMITS) as (guard, server, channel):
        server._request = once(MemoryError, server._request)  # type: ignore[method-assign]
        assert await channel.unary_unary(SLOW)(b"a", timeout=20) == b"slowly: a"
        for _ in range(3):
            assert await channel.unary_unary(SLOW)(b"b", timeout=20) == b"slowly: b"
        await nothing_stays(guard, server, channel)


async def test_a_fetch_that_is_cancelled_elsewhere_leaves_its_calls_to_their_handlers() -> None:
    async with serving() as (guard, _, channel):

        async def fetch(_: Iterable[str]) -> list[str]:
            raise asyncio.CancelledError

        guard.fast.fetch = fetch  # type: ignore[method-assign,assignment]
        assert await channel.unary_unary(FAST)(b"want", timeout=20) == b"slowly: want"
    assert guard.capacity.in_flight == 0


async def test_the_core_is_asked_nothing_after_the_stop() -> None:
    """It would end the process."""
    async with serving() as (_, server, channel):
        begin, calls = server._arrive, list[QueueCall]()

        def arrive(method: Any, call: QueueCall) -> None:
            calls.append(call)
            begin(method, call)

        server._arrive = arrive  # type: ignore[method-assign]
        await channel.unary_unary(FAST)(b"yes")
        hanging = [channel.unary_unary(FAST)(b"wait"), channel.stream_unary(FAST)(), channel.unary_unary(SLOW)(b"hang")]
        await until(lambda: asyncio.sleep(0, len(calls) == 4))
        await server.stop(0)
        for call in calls:
            assert not call.answer(b"late", None)
            call.ask()
            call.watch()
            call.refuse(grpc.StatusCode.INTERNAL, "")
        for one in hanging:
            with pytest.raises(grpc.aio.AioRpcError):
                await one


async def test_a_handler_that_swallows_its_cancellation_does_not_keep_the_stop_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def stubborn(self: Guard, _: Any, context: Any) -> bytes:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(Guard, "unary", stubborn)
    async with serving() as (guard, server, channel):
        call = channel.unary_unary(SLOW)(b"")
        await guard.began.wait()
        async with asyncio.timeout(20):
            await server.stop(0)
        with pytest.raises(grpc.aio.AioRpcError):
            await call


class Loop:
    """An event loop that says when a thread calls something on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.called = threading.Event()

    def call_soon_threadsafe(self, *call: Any) -> None:
        self.loop.call_soon_threadsafe(*call)
        self.called.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)


async def test_a_call_that_came_right_before_the_stop_is_served() -> None:
    async with serving() as (guard, server, channel):
        assert await channel.unary_unary(SLOW)(b"a") == b"slowly: a"
        loop: Any = Loop(asyncio.get_running_loop())
        with grpc.insecure_channel(guard.address) as other:
            grpc.channel_ready_future(other).result(20)
            server._loop = loop
            call: Any = other.unary_unary(SLOW).future(b"b", timeout=20)  # type: ignore[arg-type]
            assert loop.called.wait(20)  # the event loop has not looked yet
            await server.stop(10)
            assert await asyncio.to_thread(call.result, 20) == b"slowly: b"


async def test_a_stop_before_the_start_and_a_second_one_do_nothing() -> None:
    never = QueueServer([], Guard())  # type: ignore[arg-type]
    assert never.add_insecure_port("127.0.0.1:0")
    await never.stop(0)
    async with serving() as (_, server, channel):
        assert await channel.unary_unary(SLOW)(b"yes") == b"slowly: yes"
        await asyncio.gather(server.stop(1), server.stop(0), server.stop(None))
        await server.stop(0)
