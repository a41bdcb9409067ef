"""A method that is added at run time: without a row it is refused, with a row it is limited and audited."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.polling import PATIENCE
from tests.rig import Rig, Serve, refusal

from tokenmint.admission import audit
from tokenmint.admission.access import CALLS, CHANGES, CLIENT, REFUSALS, Row
from tokenmint.admission.callers import Role
from tokenmint.base.addresses import Address, reserve
from tokenmint.base.capacity import Capacity
from tokenmint.rpc import server
from tokenmint.rpc.health_service import Health
from tokenmint.rpc.interceptors import Guard
from tokenmint.v1 import key_admin_service_pb2 as keys_pb

SERVICE = "test.v1.Probe"
ASK, CHANGE, LOOK, BATCH, UNLISTED = (f"/{SERVICE}/{name}" for name in ("Ask", "Change", "Look", "Batch", "Unlisted"))
ROWS = {
    ASK: Row(CLIENT, 1, CALLS),
    BATCH: Row(CLIENT, len, CALLS),
    CHANGE: Row(Role.SECURITY, 1, CHANGES),
    LOOK: Row(Role.VIEWER, 1, REFUSALS),
}
LIMITS = "\n[limits]\neach_client = { per_second = 0.001, burst = 2 }\n"


@pytest.fixture
async def rig(serve: Serve, logged: io.StringIO) -> AsyncIterator[Rig]:
    async with serve(LIMITS) as service:
        service.parts.limiter.patience = PATIENCE  # or a busy process counts by itself too
        yield service


class Probe:
    """A servicer that knows of no caller, limit or record."""

    def __init__(self) -> None:
        self.calls = 0

    def register(self, at: Any) -> None:
        names = [path.rpartition("/")[2] for path in (*ROWS, UNLISTED)]
        handler: Any = grpc.unary_unary_rpc_method_handler(self.answer)
        at.add_registered_method_handlers(SERVICE, dict.fromkeys(names, handler))

    async def answer(self, request: bytes, _: Any) -> bytes:
        self.calls += 1
        return request


@asynccontextmanager
async def probing(rig: Rig, transport: str) -> AsyncIterator[tuple[Probe, grpc.aio.Channel]]:
    """Serve a probe behind the gate of a running service."""
    probe, native, held = Probe(), transport == "native", reserve("grpc", Address("127.0.0.1", 0))
    guard = Guard(
        ROWS, rig.parts.gate, deadline=20.0, native=native, capacity=Capacity(100)
    )  # fmt: skip
    built = server.build(guard, held.address, (probe.register,), Health(10), limits=server.Limits(), native=native)
    await built.start()
    try:
        async with grpc.aio.insecure_channel(str(held.address)) as channel:
            yield probe, channel
    finally:
        await built.stop(0)
        held.close()


async def events(rig: Rig) -> list[dict[str, Any]]:
    """The events of the probe's methods, those of exchanges first."""
    await rig.parts.audit.flush()
    store = rig.parts.store
    found = []
    for stream in (audit.EXCHANGES, audit.ADMIN):
        entries = await store.server.client.xrange(store.prefix + stream)
        found += [json.loads(fields[b"event"]) for _, fields in entries]
    return [event for event in found if SERVICE in event["method"]]


def short(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["method"], one["kind"], one["caller"], one["outcome"], one.get("reason")) for one in found]


async def test_a_method_without_a_row_is_refused_and_logged(rig: Rig, transport: str, logged: io.StringIO) -> None:
    async with probing(rig, transport) as (probe, channel):
        for caller in ("web", "root"):
            call: Any = channel.unary_unary(UNLISTED)
            told = await refusal(call(b"x", **rig.auth(caller)))
            assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "METHOD_DENIED")
    assert probe.calls == 0
    lines = [line for line in logged.getvalue().splitlines() if UNLISTED in line]
    assert len(lines) == 2
    assert all("a call was refused" in line and "METHOD_DENIED" in line for line in lines)
    assert await events(rig) == []


async def test_a_clients_method_is_proved_limited_and_audited_by_its_row(rig: Rig, transport: str) -> None:
    async with probing(rig, transport) as (probe, channel):
        call: Any = channel.unary_unary(ASK)
        assert (await refusal(call(b"x", timeout=20))).reason == "CALLER_UNAUTHENTICATED"
        assert (await refusal(call(b"x", **rig.auth("root")))).reason == "CALLER_UNAUTHENTICATED"
        for _ in range(2):
            assert await call(b"x", **rig.auth("web")) == b"x"
        told = await refusal(call(b"x", **rig.auth("web")))
        assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert await call(b"x", **rig.auth("batch")) == b"x"  # a bucket of its own
    assert probe.calls == 3
    assert short(await events(rig)) == [
        (ASK, "exchange", "web", "done", None),
        (ASK, "exchange", "web", "done", None),
        (ASK, "exchange", "web", "refused", "RATE_LIMITED"),
        (ASK, "exchange", "batch", "done", None),
    ]


async def test_a_row_tells_the_cost_from_the_request(rig: Rig, transport: str) -> None:
    async with probing(rig, transport) as (probe, channel):
        call: Any = channel.unary_unary(BATCH)
        assert await call(b"xx", **rig.auth("web")) == b"xx"
        assert (await refusal(call(b"x", **rig.auth("web")))).reason == "RATE_LIMITED"
        assert await call(b"", **rig.auth("batch")) == b""  # 1 at least
        assert await call(b"x", **rig.auth("batch")) == b"x"
        assert (await refusal(call(b"", **rig.auth("batch")))).reason == "RATE_LIMITED"
    assert probe.calls == 3


async def test_an_operators_method_is_proved_limited_and_audited_by_its_row(rig: Rig, transport: str) -> None:
    async with probing(rig, transport) as (probe, channel):
        call: Any = channel.unary_unary(CHANGE)
        assert (await refusal(call(b"x", **rig.auth("web")))).reason == "CALLER_UNAUTHENTICATED"
        told = await refusal(call(b"x", **rig.auth("guest")))
        assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "METHOD_DENIED")
        for _ in range(2):
            assert await call(b"x", **rig.auth("root")) == b"x"
        assert (await refusal(call(b"x", **rig.auth("root")))).reason == "RATE_LIMITED"
        look: Any = channel.unary_unary(LOOK)
        for _ in range(2):
            assert await look(b"x", **rig.auth("guest")) == b"x"
        assert (await refusal(look(b"x", **rig.auth("guest")))).reason == "RATE_LIMITED"
    assert probe.calls == 4
    # A change is in the stream before it is made; other events follow in batches.
    assert sorted(short(await events(rig)), key=str) == sorted(
        [
            (CHANGE, "admin", "guest", "refused", "METHOD_DENIED"),
            (CHANGE, "admin", "root", "begun", None),
            (CHANGE, "admin", "root", "done", None),
            (CHANGE, "admin", "root", "begun", None),
            (CHANGE, "admin", "root", "done", None),
            (CHANGE, "admin", "root", "refused", "RATE_LIMITED"),
            (LOOK, "admin", "guest", "refused", "RATE_LIMITED"),
        ]
    )


async def test_calls_of_clients_leave_operators_their_own(serve: Serve, transport: str) -> None:
    limits = "\n[limits]\nall_clients = { per_second = 0.001, burst = 1 }\n"
    async with (
        serve(limits) as rig,
        probing(rig, transport) as (_, channel),
    ):
        rig.parts.limiter.patience = PATIENCE
        call: Any = channel.unary_unary(ASK)
        await call(b"x", **rig.auth("web"))
        assert (await refusal(call(b"x", **rig.auth("batch")))).reason == "RATE_LIMITED"
        for _ in range(3):
            await rig.keys.ListSigningKeys(keys_pb.ListSigningKeysRequest(), **rig.auth("root"))
