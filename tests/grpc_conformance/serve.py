"""Servers under test: our transports and our guard before the suite's service, with the limits that are asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from tests.grpc_conformance.service import SERVICE, ConformanceService, Messages

from tokenmint.admission.access import ANYBODY, DATA, Row
from tokenmint.admission.gate import Gate
from tokenmint.base.addresses import Address, reserve
from tokenmint.base.capacity import Capacity
from tokenmint.base.telemetry import Metrics
from tokenmint.rpc import server
from tokenmint.rpc.health_service import Health
from tokenmint.rpc.interceptors import Guard

METHODS = ("Unary", "ServerStream", "ClientStream", "BidiStream")
ACCESS = {**DATA, **{f"/{SERVICE}/{name}": Row(ANYBODY) for name in METHODS}}
LARGE = 4 * 1024 * 1024
"""Bytes of a message, where the suite names no limit."""


@asynccontextmanager
async def serving(transport: str, messages: Messages, limit: int = LARGE) -> AsyncIterator[Address]:
    """Serve the suite's service at the address that is returned."""
    nobody: Any = None  # nothing here proves a caller, or records one
    native = transport == "native"
    guard = Guard(
        ACCESS, Gate(nobody, nobody, Metrics(), nobody), deadline=30.0, native=native,
        capacity=Capacity(1000),
    )  # fmt: skip
    held = reserve("grpc", Address("127.0.0.1", 0))
    built: grpc.aio.Server = server.build(
        guard, held.address, (ConformanceService(messages).register,), Health(10),
        limits=server.Limits(message=limit), native=native,
    )  # fmt: skip
    await built.start()
    try:
        yield held.address
    finally:
        await built.stop(0)
        held.close()


@asynccontextmanager
async def for_stubs(transport: str, messages: Messages, socket: Path) -> AsyncIterator[None]:
    """Start a server for each stub that asks for one at ``socket``; it ends with the stub."""

    async def stub(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big")
        asked = messages.ServerCompatRequest.FromString(await reader.readexactly(size))
        async with serving(transport, messages, asked.message_receive_limit or LARGE) as address:
            told = messages.ServerCompatResponse(host=address.host, port=address.port).SerializeToString()
            writer.write(len(told).to_bytes(4, "big") + told)
            await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(stub, socket):
        yield
