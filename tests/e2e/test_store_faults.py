"""The store refuses, falls silent, drips, breaks off, turns read-only: answered in time, and over when it is over."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer, serving
from tests.rig import AUDIENCE, OPEN_AUDIENCE, Rig, refusal, running

from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile

BOUND = 0.3  # seconds within which a fault is answered
ATTEMPTS = 5  # of which the quickest counts: the machine is shared, the bound is the service's


REFUSALS = {
    "loading": b"-LOADING Valkey is loading the dataset in memory\r\n",
    "no auth": b"-NOAUTH Authentication required.\r\n",
    "moved": b"-MOVED 1 127.0.0.1:1\r\n",
    "cluster down": b"-CLUSTERDOWN The cluster is down\r\n",
    "out of memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "no permission": b"-NOPERM this user has no permissions to run the command\r\n",
}
"""What a store may answer to everything."""


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
def issuer() -> Iterator[Issuer]:
    with serving(Issuer()) as running_issuer:
        yield running_issuer


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    between = Proxy(redis_url.removeprefix("unix://"))
    await between.start()
    yield between
    await between.stop()


@pytest.fixture
async def rig(
    tmp_path: Path, proxy: Proxy, redis_prefix: str, issuer: Issuer, clock: FakeClock, entropy: FakeEntropy
) -> AsyncIterator[Rig]:
    url = f"redis://127.0.0.1:{proxy.port}"
    async with running(tmp_path, url, redis_prefix, issuer, clock, entropy, patience="") as service:
        profile = Profile(principal="ada", identities=[Identity(provider="idp", subject="1842")])
        await service.profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=profile), **service.auth("root"))
        yield service


def ask(rig: Rig, audience: str = AUDIENCE, **claims: Any) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now(), **claims), audience=audience)


async def beside(rig: Rig, clock: FakeClock) -> None:
    """Let what runs beside the calls meet the store: the key ring, the audit trail, the list of verifiers."""
    for _ in range(30):
        clock.advance(1.0)
        await _pause(0.01)


async def recovered(call: Callable[[], Any], clock: FakeClock) -> float:
    """Call until it succeeds; bounded. Returns how far the service's clock had to be moved on until then."""
    moved = 0.0
    async with asyncio.timeout(10):
        while True:
            try:
                await call()
            except grpc.aio.AioRpcError:
                clock.advance(0.05)
                moved += 0.05
                await _pause(0.005)
                continue
            return moved


@pytest.mark.parametrize("fault", ["refused", "black hole", "reset", "drip", *REFUSALS])
async def test_each_fault_is_answered_in_time_and_is_over_when_it_is_over(
    rig: Rig, proxy: Proxy, clock: FakeClock, fault: str
) -> None:
    assert (await rig.exchange.ExchangeToken(ask(rig), **rig.auth("web"))).token
    await proxy.spoil(fault)
    took = []
    for _ in range(ATTEMPTS):
        started = time.perf_counter()
        told = await refusal(rig.exchange.ExchangeToken(ask(rig), **rig.auth("web")))
        took.append(time.perf_counter() - started)
        assert (told.code, told.details) == (grpc.StatusCode.UNAVAILABLE, ("RetryInfo",))
        assert told.reason == "STORE_UNAVAILABLE"
    assert min(took) < BOUND, took
    await beside(rig, clock)
    async with httpx2.AsyncClient() as http:  # the key set goes on from memory
        assert (await http.get(rig.url("http", "/.well-known/jwks.json"))).status_code == 200
    # What needs no store is still told apart: a bad token is refused as such.
    told = await refusal(rig.exchange.ExchangeToken(ask(rig, aud="x"), **rig.auth("web")))
    assert told.reason == "WRONG_AUDIENCE"
    await proxy.spoil("")
    started = time.perf_counter()
    moved = await recovered(lambda: rig.exchange.ExchangeToken(ask(rig), **rig.auth("web")), clock)
    assert moved <= 1.0
    assert time.perf_counter() - started < 2.0  # of a busy machine; the service's own second is that of its clock
    assert not rig.app.failed.is_set()  # what runs beside the calls went on too


async def test_a_read_only_store_serves_what_it_can_and_single_use_fails_closed(
    rig: Rig, proxy: Proxy, clock: FakeClock
) -> None:
    await proxy.spoil("read-only")
    assert (await rig.exchange.ExchangeToken(ask(rig), **rig.auth("web"))).token
    for request in (ask(rig, OPEN_AUDIENCE), ask(rig, OPEN_AUDIENCE, sub="newcomer")):
        told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
        assert (told.code, told.details) == (grpc.StatusCode.UNAVAILABLE, ("RetryInfo",))
    profile = profiles_pb.CreateProfileRequest(profile=Profile(principal="bob"))
    assert (await refusal(rig.profiles.CreateProfile(profile, **rig.auth("root")))).code is grpc.StatusCode.UNAVAILABLE
    await proxy.spoil("")
    assert await recovered(lambda: rig.profiles.CreateProfile(profile, **rig.auth("root")), clock) <= 1.0
