"""The store refuses, falls silent, drips, breaks off, turns read-only: calls are answered, also after it is back.

No test judges by the wall's time. A refused call has waited for one operation of the store, which `read_timeout` or
`write_timeout` bounds: the failed operations are counted. A recovery may take RECOVERY seconds of the service's timers,
which go by the test's clock, from the last operation that failed: on a busy machine one may also fail after the store
is back, because the timeouts go by the wall's time.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import grpc
import pytest
from tests import plain_http
from tests.fakes import FakeClock
from tests.rig import AUDIENCE, OPEN_AUDIENCE, Refusal, Rig, Serve, person, refusal
from tests.sockets import PATIENCE

from tokenmint.base.background import Background
from tokenmint.base.errors import OutcomeUnknown, StoreUnavailable
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Profile

QUICK = 'read_timeout = "200ms"\n'  # what a silent store costs each call here
RECOVERY = 1.0  # seconds of the service's timers, after the last failed operation, within which a call succeeds
ATTEMPTS, ROUNDS = 3, 2
STARTS = 10


REFUSALS = {
    "loading": b"-LOADING Valkey is loading the dataset in memory\r\n",
    "no auth": b"-NOAUTH Authentication required.\r\n",
    "moved": b"-MOVED 1 127.0.0.1:1\r\n",
    "cluster down": b"-CLUSTERDOWN The cluster is down\r\n",
    "out of memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "no permission": b"-NOPERM this user has no permissions to run the command\r\n",
}
"""Errors that a store may answer to every command."""


class Proxy:
    """Stands between the service and its store, and spoils what passes."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self.fault = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def spoil(self, fault: str) -> None:
        """Begin a fault: "" is none."""
        self.fault = fault
        if fault in ("refused", "reset", ""):
            for writer in list(self._writers):
                writer.transport.abort()

    async def stop(self) -> None:
        self._server.close()
        await self.spoil("reset")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault == "refused":
            writer.transport.abort()
            return
        store_reader, store_writer = await asyncio.open_unix_connection(self._path)
        self._writers |= {writer, store_writer}
        there = asyncio.ensure_future(self._pump(reader, store_writer, writer))
        back = asyncio.ensure_future(self._pump(store_reader, writer, None))
        self._tasks |= {there, back}
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for one in (there, back):
            one.cancel()
        self._writers -= {writer, store_writer}
        for one_writer in (writer, store_writer):
            one_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: asyncio.StreamWriter | None
    ) -> None:
        """Hand on what comes; ``answer`` is where the client of a command is told a fault."""
        while data := await reader.read(65536):
            if self.fault == "black hole":
                continue
            if self.fault == "reset":
                return
            if self.fault == "read-only" and answer is not None and any(word in data for word in (b"EVAL", b"SET")):
                answer.write(b"$-1\r\n" * data.count(b"*2\r\n$3\r\nGET"))  # what a claim reads before it writes
                answer.write(b"-READONLY You can't write against a read only replica.\r\n" * data.count(b"$4\r\nEVAL"))
                answer.write(b"-READONLY You can't write against a read only replica.\r\n" * data.count(b"$3\r\nSET"))
                answer.write(b"*2\r\n:1\r\n:0\r\n" * data.count(b"WAITAOF"))
                continue
            if self.fault in REFUSALS and answer is not None:
                answer.write(REFUSALS[self.fault] * max(1, data.count(b"*")))
                continue
            if self.fault == "drip" and answer is None:
                for byte in data:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await _pause(0.1)
                continue
            writer.write(data)
            await writer.drain()


async def _pause(seconds: float) -> None:
    """Let time pass on a wire; bounded, and nothing waits for it to have passed."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(seconds, over.set_result, None)
    await over


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    between = Proxy(redis_url.removeprefix("unix://"))
    await between.start()
    yield between
    await between.stop()


@pytest.fixture
async def rig(serve: Serve, proxy: Proxy) -> AsyncIterator[Rig]:
    uncached = "[caches]\nprofiles = 0\n"  # each call needs the store
    async with contextlib.AsyncExitStack() as stack:
        service = await started(
            stack, lambda: serve(uncached, redis_url=f"redis://127.0.0.1:{proxy.port}", patience=QUICK)
        )
        await once_it_works(lambda: service.create(person()))
        service.parts.store.server.errors = OfCalls(service.base.background)
        yield service


async def started(stack: contextlib.AsyncExitStack, serve: Callable[[], AbstractAsyncContextManager[Rig]]) -> Rig:
    """Start a service whose patience with its store may be too short for a busy machine."""
    for _ in range(STARTS):
        with contextlib.suppress(StoreUnavailable, OutcomeUnknown):
            return await stack.enter_async_context(serve())
    return await stack.enter_async_context(serve())


async def once_it_works(call: Callable[[], Awaitable[Any]]) -> Any:
    """Call until it succeeds: as :func:`started`."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.ALREADY_EXISTS:  # the answer to an earlier one was lost
                    return None
            await _pause(0.005)


class OfCalls(Counter[str]):
    """Failed operations of calls. Those of background tasks, which may come at any time, count in ``of_all`` only."""

    def __init__(self, background: Background) -> None:
        super().__init__()
        self._background = background
        self.of_all = 0

    def __setitem__(self, reason: str, count: int) -> None:
        self.of_all += 1
        task = asyncio.current_task()
        if task is None or task.get_name() not in self._background.running():
            super().__setitem__(reason, count)


def ask(rig: Rig, audience: str = AUDIENCE, **claims: Any) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now(), **claims), audience=audience)


async def beside(rig: Rig, clock: FakeClock) -> None:
    """Let what runs beside the calls meet the store: the key ring, the audit trail, the list of verifiers."""
    for _ in range(30):
        clock.advance(1.0)
        await _pause(0.01)


async def refused_once(rig: Rig, call: Awaitable[Any]) -> Refusal:
    """Return a call's refusal, after which one operation of the store has failed, or another one of the rate limits."""
    failed = rig.parts.store.server.errors
    before = failed.total()
    async with asyncio.timeout(PATIENCE):
        told = await refusal(call)
    assert failed.total() - before in (1, 2), failed
    return told


async def recovered(rig: Rig, clock: FakeClock, call: Callable[[], Awaitable[Any]]) -> None:
    """Call until it succeeds, while the clock moves, also within a call: the service may wait for one of its timers.

    It moves by RECOVERY seconds at most from the last failed operation of the store. A call counts if the clock stood
    still in it, so that the next one meets the same ages.
    """
    errors = rig.parts.store.server.errors
    assert isinstance(errors, OfCalls)
    failed, passed = errors.of_all, 0.0

    def move() -> None:
        nonlocal failed, passed
        if errors.of_all != failed:
            failed, passed = errors.of_all, 0.0
        if passed < RECOVERY:
            clock.advance(RECOVERY / 4)
            passed += RECOVERY / 4

    async def succeeds() -> bool:
        try:
            await call()
        except grpc.aio.AioRpcError:
            return False
        return True

    async with asyncio.timeout(PATIENCE):
        while True:
            calling, began = asyncio.ensure_future(succeeds()), clock.monotonic()
            while not (await asyncio.wait([calling], timeout=0.25))[0]:
                move()
            if calling.result() and clock.monotonic() == began:
                return
            move()
            await _pause(0.005)


async def test_another_start_opens_the_keys_of_one_before_it(serve: Serve) -> None:
    for _ in range(2):
        async with serve() as service:
            await once_it_works(partial(service.create, person()))
            assert (await service.exchange.ExchangeToken(ask(service), **service.auth("web"))).token


@pytest.mark.parametrize("fault", ["refused", "black hole", "reset", "drip", *REFUSALS])
async def test_each_fault_is_answered_and_is_over_when_it_is_over(
    rig: Rig, proxy: Proxy, clock: FakeClock, fault: str
) -> None:
    beside_the_calls = rig.base.background.running()
    assert (await once_it_works(lambda: rig.exchange.ExchangeToken(ask(rig), **rig.auth("web")))).token
    for _ in range(ROUNDS):
        await proxy.spoil(fault)
        for _ in range(ATTEMPTS):
            told = await refused_once(rig, rig.exchange.ExchangeToken(ask(rig), **rig.auth("web")))
            assert (told.code, told.details) == (grpc.StatusCode.UNAVAILABLE, ("RetryInfo",))
            assert told.reason == "STORE_UNAVAILABLE"
        await beside(rig, clock)
        async with plain_http.client() as http:  # the key set goes on from memory
            assert (await http.get(rig.url("http", "/.well-known/jwks.json"))).status_code == 200
        # The service still distinguishes faults of a call that needs no store: a bad token is refused as such.
        told = await refusal(rig.exchange.ExchangeToken(ask(rig, aud="x"), **rig.auth("web")))
        assert told.reason == "WRONG_AUDIENCE"
        await proxy.spoil("")
        await recovered(rig, clock, lambda: rig.exchange.ExchangeToken(ask(rig), **rig.auth("web")))
    assert rig.base.background.running() == beside_the_calls


async def test_a_read_only_store_serves_what_it_can_and_single_use_fails_closed(
    rig: Rig, proxy: Proxy, clock: FakeClock
) -> None:
    create = rig.profiles.CreateProfile
    for number in range(ROUNDS):
        await proxy.spoil("read-only")
        assert (await once_it_works(lambda: rig.exchange.ExchangeToken(ask(rig), **rig.auth("web")))).token
        for request in (ask(rig, OPEN_AUDIENCE), ask(rig, OPEN_AUDIENCE, sub="newcomer")):
            told = await refused_once(rig, rig.exchange.ExchangeToken(request, **rig.auth("web")))
            assert (told.code, told.details) == (grpc.StatusCode.UNAVAILABLE, ("RetryInfo",))
        profile = profiles_pb.CreateProfileRequest(profile=Profile(principal=f"bob-{number}"))
        told = await refused_once(rig, create(profile, **rig.auth("root")))
        assert told.code is grpc.StatusCode.UNAVAILABLE
        await beside(rig, clock)
        await proxy.spoil("")
        await recovered(rig, clock, partial(create, profile, **rig.auth("root")))
        await recovered(rig, clock, lambda: rig.exchange.ExchangeToken(ask(rig), **rig.auth("web")))
