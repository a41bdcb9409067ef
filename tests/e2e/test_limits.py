"""The cost that one connection may cause, against a running service: each limit is a setting, and in effect."""

import asyncio
import functools
import queue
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import h2.errors
import h2.events
import h2.settings
import pytest
from tests.http2 import METHOD, Peer, connected
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, Rig, Serve, refusal
from tests.sockets import PATIENCE, hang_up

from tokenmint.config.load import load
from tokenmint.config.tables import LimitsTable
from tokenmint.v1 import token_exchange_service_pb2 as pb


@pytest.fixture
def on(serve: Serve) -> Any:
    def with_limits(transport: str, **limits: str) -> AbstractAsyncContextManager[Rig]:
        table = "\n[limits]\n" + "".join(f"{name} = {value}\n" for name, value in limits.items())
        return serve(table, transport=transport)

    return with_limits


@pytest.fixture
def limited(on: Any) -> Any:
    """With grpcio: what the native transport leaves to the proxy in front of it (docs/architecture.md)."""
    return functools.partial(on, "grpcio")


@pytest.fixture
def limited_either(on: Any, transport: str) -> Any:
    """With each transport in turn."""
    return functools.partial(on, transport)


@asynccontextmanager
async def peer(rig: Rig) -> AsyncIterator[Peer]:
    async with connected(rig.app.listen["grpc"]) as client:
        yield client


def test_the_defaults_are_safe(tmp_path: Path) -> None:
    """The limits of a service without settings of its own."""
    assert load(None, {}).limits == LimitsTable()
    limits = LimitsTable()
    assert (limits.message_bytes, limits.metadata_bytes, limits.streams_per_connection) == (65536, 8192, 100)
    assert (limits.keepalive, limits.keepalive_timeout, limits.ping_interval) == (60.0, 20.0, 10.0)
    assert (limits.connection_age, limits.connection_grace, limits.request_time) == (3600.0, 30.0, 10.0)
    assert (limits.call_deadline, limits.drain, limits.watch_age) == (10.0, 10.0, 3600.0)
    assert (limits.http_connections, limits.http_connections_per_peer, limits.http_requests) == (1000, 250, 200)
    assert limits.grpc_connections == 10_000
    assert (limits.calls_in_flight, limits.calls_waiting, limits.lame_duck) == (128, 320, 5.0)
    assert limits.each_client is not None


async def test_streams_and_metadata_are_what_is_configured(limited_either: Any) -> None:
    async with limited_either(streams_per_connection="7", metadata_bytes="4096") as rig, peer(rig) as client:
        settings = (await client.until(h2.events.RemoteSettingsChanged)).changed_settings
        assert settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS].new_value == 7
        assert settings[h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE].new_value <= 4096
        metadata = (*rig.auth("web")["metadata"], ("x-filler", "y" * 5000))
        told = await refusal(rig.exchange.ExchangeToken(pb.ExchangeTokenRequest(), metadata=metadata, timeout=20))
        # The Rust transport refuses it below gRPC (RFC 6585 section 5).
        assert told.code is (grpc.StatusCode.UNKNOWN if rig.native else grpc.StatusCode.RESOURCE_EXHAUSTED)


async def test_messages_are_as_long_as_is_configured(limited_either: Any) -> None:
    async with limited_either(message_bytes="32768") as rig:
        for length, code in ((32_000, grpc.StatusCode.INVALID_ARGUMENT), (33_000, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            request = pb.ExchangeTokenRequest(subject_token="A" * length, audience=AUDIENCE)
            assert (await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))).code is code


async def test_a_connection_that_does_not_answer_pings_is_closed(limited_either: Any) -> None:
    async with limited_either(keepalive='"1s"', keepalive_timeout='"1s"') as rig, peer(rig) as client:
        await client.until(h2.events.PingReceived)
        await client.until(None)


async def test_a_connection_whose_settings_are_never_acknowledged_is_closed(limited: Any) -> None:
    """Until then a client is held to none of them: it may send a list of headers without end (CVE-2024-27316)."""
    async with limited(request_time='"300ms"') as rig, peer(rig) as client:
        await client.until(None)
        async with peer(rig) as good:
            await good.settle()
            stream = good.call()
            assert (await good.answer(stream)).status == 0


async def test_a_connection_has_an_age_and_a_slow_call_does_not_outlive_it(limited: Any) -> None:
    """Slow clients: one that begins a call and never sends its message has what its connection has."""
    async with limited(connection_age='"1s"', connection_grace='"1s"') as rig, peer(rig) as client:
        client.open_stream()
        await client.until(h2.events.ConnectionTerminated)
        await client.until(None)
        assert (await rig.key_set.GetKeySet(_empty(), timeout=20)).etag  # which comes over a new one


async def test_whoever_pings_without_end_is_told_to_go_away(limited: Any) -> None:
    async with limited() as rig, peer(rig) as client:
        await client.until(h2.events.RemoteSettingsChanged)
        for _ in range(10):
            client.h2.ping(b"tooquick")
        client.send()
        assert (await client.until(h2.events.ConnectionTerminated)).error_code == (
            h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
        )


@pytest.mark.parametrize("listener", ["grpc", "admin", "http", "ops"])
async def test_slow_clients_that_say_nothing_are_let_go(limited: Any, listener: str) -> None:
    async with limited(request_time='"300ms"') as rig:
        host, _, port = rig.app.listen[listener].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(PATIENCE):
            await reader.read()
        await hang_up(writer)


@pytest.mark.parametrize("listener", ["http", "ops"])
async def test_slow_clients_that_drip_their_request_are_let_go(limited: Any, listener: str) -> None:
    """Slowloris: a line of the header now and then keeps no connection."""
    async with limited(request_time='"300ms"') as rig:
        host, _, port = rig.app.listen[listener].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        path = b"/healthz" if listener == "ops" else b"/.well-known/jwks.json"
        request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n"
        writer.write(request + b"\r\n")
        async with asyncio.timeout(PATIENCE):
            assert b"200 OK" in await reader.readline()  # a whole request is answered, and the connection kept
            dripped = 0
            writer.write(request)
            while await _more(reader):
                writer.write(b"X-Slow: 1\r\n")
                dripped += 1
        await hang_up(writer)
        assert dripped > 1


async def _more(reader: asyncio.StreamReader) -> bool:
    """Tell whether the connection is open after a moment in which nothing, or something, came."""
    try:
        async with asyncio.timeout(0.05):
            return await reader.read(4096) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


async def test_a_drain_has_an_end(limited_either: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def slow(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    async with limited_either(drain='"200ms"', call_deadline='"60s"') as rig:
        monkeypatch.setattr(rig.parts.exchange.verifier, "verify", slow)
        request = pb.ExchangeTokenRequest(subject_token="x", audience=LEGACY_AUDIENCE)
        call = rig.exchange.ExchangeToken(request, **rig.auth("web"))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        started = time.perf_counter()
        await rig.app.stop()
        told = await refusal(call)
        assert time.perf_counter() - started < 50.0  # and not the minute that the call would take
        assert told.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_a_call_of_which_the_head_alone_comes_does_not_lengthen_a_stop(limited: Any) -> None:
    async with limited(drain='"30s"', call_deadline='"60s"') as rig, peer(rig) as client:
        client.open_stream()
        async with asyncio.timeout(PATIENCE):
            while not rig.app.base.capacity.in_flight:  # noqa: ASYNC110  # what is awaited comes over the network
                await asyncio.sleep(0.005)
            await rig.app.stop()


def _empty() -> Any:
    from tokenmint.v1.key_set_service_pb2 import GetKeySetRequest

    return GetKeySetRequest()


async def test_calls_that_wait_for_the_process_are_bounded_and_the_rest_end_at_once(limited: Any) -> None:
    """The event loop is held, so that nobody is handed to it: what has arrived before stays, what comes later ends."""
    async with limited(calls_waiting="5") as rig:
        with grpc.insecure_channel(rig.app.listen["grpc"]) as channel:
            method: Any = channel.unary_unary(METHOD)
            calls = [method.future(b"", timeout=PATIENCE) for _ in range(30)]
            ended: queue.SimpleQueue[grpc.StatusCode] = queue.SimpleQueue()
            for call in calls:
                call.add_done_callback(lambda call: ended.put(call.code()))
            held = {ended.get(timeout=PATIENCE) for _ in range(20)}  # and the loop with it
            rest = [await asyncio.to_thread(ended.get, timeout=PATIENCE) for _ in range(10)]
        assert held == {grpc.StatusCode.CANCELLED}
        assert rest.count(grpc.StatusCode.OK) >= 5
        assert set(rest) <= {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
