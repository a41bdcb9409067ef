"""Watchers that do not read what they asked for: they are few, and keep nobody else waiting."""

import asyncio
import contextlib
import functools
from typing import Any

import h2.events
import h2.settings
import pytest
from grpc_health.v1 import health_pb2
from tests.e2e.revocation_rig import as_api, extra
from tests.http2 import Peer, connected, framed
from tests.rig import AUDIENCE, Rig, Serve
from tests.sockets import PATIENCE

from tokenmint.rpc import watch_slots
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import revocation_service_pb2 as pb

HEALTH = "/grpc.health.v1.Health/Watch"
KEYS = "/tokenmint.v1.KeySetService/WatchKeySet"
REVOCATIONS = "/tokenmint.v1.RevocationService/WatchRevocations"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNIMPLEMENTED = 12


@contextlib.asynccontextmanager
async def unread(rig: Rig, method: str, count: int) -> Any:
    """Hold ``count`` streams on one connection that takes not one byte of an answer."""
    async with connected(rig.app.listen["grpc"]) as client:
        await client.settle()
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.send()
        for _ in range(count):
            client.call(path=method)
        await served(client)
        yield client


async def served(client: Peer) -> None:
    """Have one more call answered, after those before it. This answer has no message, so it needs no window."""
    await client.answer(client.call(path="/tokenmint.v1.KeySetService/Unknown"))


def answered(client: Peer, stream: int) -> bool:
    """Tell whether a stream has brought a message, or has ended."""
    return any(
        isinstance(event, h2.events.DataReceived | h2.events.StreamEnded) and event.stream_id == stream
        for event in client.seen
    )


async def read_status(client: Peer, stream: int, count: int) -> list[int]:
    """Wait for ``count`` messages of a health stream; return the statuses."""
    await client.wait(lambda: len(client.data(stream)) >= 7 * count)
    data = client.data(stream)
    return [health_pb2.HealthCheckResponse.FromString(data[at + 5 : at + 7]).status for at in range(0, len(data), 7)]


async def test_a_health_watcher_that_reads_nothing_keeps_neither_the_state_nor_others_nor_the_stop_waiting(
    serve: Serve, transport: str
) -> None:
    async with serve(transport=transport) as rig, unread(rig, HEALTH, 3), connected(rig.app.listen["grpc"]) as other:
        await other.settle()
        stream = other.call(path=HEALTH)
        health = rig.base.health
        async with asyncio.timeout(PATIENCE):
            seen = await read_status(other, stream, 1)
            for turn in range(4):
                health.set("", NOT_SERVING if turn % 2 == 0 else SERVING)
                seen = await read_status(other, stream, turn + 2)
            assert seen == [SERVING, NOT_SERVING, SERVING, NOT_SERVING, SERVING]
            await asyncio.to_thread(lambda: None)
            await rig.app.stop()


async def test_health_watchers_are_bounded_and_beyond_the_bound_clients_do_without(
    serve: Serve, transport: str
) -> None:
    """A client that is told UNIMPLEMENTED takes the service for healthy (gRFC A17); any other refusal would end it."""
    table = "\n[limits]\nwatch_streams = 5\n"
    async with serve(table, transport=transport) as rig, connected(rig.app.listen["grpc"]) as client:
        await client.settle()
        streams = [client.call(path=HEALTH) for _ in range(6)]
        ended = await client.until(h2.events.StreamEnded)
        told = await client.answer(ended.stream_id)
        assert (told.status, "Check" in told.message) == (UNIMPLEMENTED, True)
        streams.remove(ended.stream_id)
        assert (await client.answer(client.call(path="/grpc.health.v1.Health/Check"))).status == 0
        client.h2.reset_stream(streams[0])
        client.send()
        async with asyncio.timeout(PATIENCE):
            while True:
                again = client.call(path=HEALTH)
                await client.wait(functools.partial(answered, client, again))
                if client.data(again):
                    break


async def test_health_is_told_of_each_service_and_of_no_other(serve: Serve, transport: str) -> None:
    async with serve(transport=transport) as rig, connected(rig.app.listen["grpc"]) as client:
        await client.settle()
        rig.base.health.set("a.B", NOT_SERVING)
        for service, status, state in (("", 0, SERVING), ("a.B", 0, NOT_SERVING), ("x.Y", 5, None)):
            asked = framed(health_pb2.HealthCheckRequest(service=service).SerializeToString())
            told = await client.answer(client.call(path="/grpc.health.v1.Health/Check", body=asked))
            assert told.status == status
            if state is not None:
                assert health_pb2.HealthCheckResponse.FromString(told.data[5:]).status == state
        asked = framed(health_pb2.HealthCheckRequest(service="x.Y").SerializeToString())
        stream = client.call(path=HEALTH, body=asked)
        await client.wait(functools.partial(answered, client, stream))
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert health_pb2.HealthCheckResponse.FromString(client.data(stream)[5:]).status == unknown


async def test_watchers_of_the_key_set_that_read_nothing_take_no_thread(serve: Serve, transport: str) -> None:
    table = "\n[limits]\nwatch_streams_per_peer = 100\n"
    async with serve(table, transport=transport) as rig, unread(rig, KEYS, 60):
        async with asyncio.timeout(PATIENCE):
            while rig.app.listeners.watches.watching < 60:  # noqa: ASYNC110  # what is awaited comes over the network
                await asyncio.sleep(0.005)
            for _ in range(4):
                await rig.keys.RotateSigningKey(
                    keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True), **rig.auth("root")
                )
            await asyncio.gather(*(asyncio.to_thread(lambda: None) for _ in range(64)))
            assert (await rig.key_set.GetKeySet(empty(), timeout=PATIENCE)).etag
            await rig.app.stop()


async def test_a_watcher_that_reads_nothing_gives_its_place_back(
    serve: Serve, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream waits for the client, and would never look at its own age."""
    monkeypatch.setattr(watch_slots, "UNREAD", 0.1)
    table = '\n[limits]\nwatch_age = "1s"\n'
    async with serve(extra() + table, transport=transport) as rig, unread(rig, KEYS, 3) as client:
        asked = framed(pb.WatchRevocationsRequest(audience=AUDIENCE).SerializeToString())
        for _ in range(3):
            client.call(as_api(rig)["metadata"], asked, path=REVOCATIONS)
        watches, revocations = rig.app.listeners.watches, rig.app.listeners.revocations
        async with asyncio.timeout(PATIENCE):
            while revocations.watching < 3:  # noqa: ASYNC110  # what is awaited comes over the network
                await asyncio.sleep(0.005)
            while watches.watching or revocations.watching:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.005)


def empty() -> Any:
    from tokenmint.v1.key_set_service_pb2 import GetKeySetRequest

    return GetKeySetRequest()


def test_the_messages_of_this_file_are_as_long_as_it_assumes() -> None:
    assert len(framed(health_pb2.HealthCheckResponse(status=NOT_SERVING).SerializeToString())) == 7
