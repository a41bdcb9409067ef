"""The connections of the gRPC listeners of the whole service: how many there may be, and of whom."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.http2 import Peer, connected
from tests.process import WithFewFiles, configure
from tests.rig import Rig, Serve
from tests.sockets import PATIENCE, answer, get, held, place, until_closed

FLOOD = "127.0.0.2"
"""The address of a peer that wants every connection."""


@pytest.fixture
def limited(serve: Serve, transport: str) -> Any:
    def with_limits(**limits: str) -> AbstractAsyncContextManager[Rig]:
        table = "\n[limits]\n" + "".join(f"{name} = {value}\n" for name, value in limits.items())
        return serve(table, transport=transport)

    return with_limits


@asynccontextmanager
async def peer(rig: Rig) -> AsyncIterator[Peer]:
    async with connected(rig.app.listen["grpc"]) as client:
        yield client


async def served(listen: str, status: int = 0) -> None:
    """Make a call on a new connection; try again for as long as connections are refused."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(AssertionError, ConnectionError):
                async with connected(listen) as client:
                    await client.settle()
                    told = (await client.answer(client.call())).status
                    break
    assert told == status


async def closed(listen: str, text: str) -> None:
    """Wait until the metrics count closed connections of a listener."""
    counted = re.compile(r"tokenmint_grpc_connections_closed_total\{" + text + r"\} [1-9]")
    async with asyncio.timeout(PATIENCE):
        while not counted.search((await answer(place(listen), get("/metrics"))).decode()):
            pass


async def test_connections_are_as_many_as_is_configured_and_one_that_ends_makes_room(limited: Any) -> None:
    async with limited(grpc_connections="3") as rig, contextlib.AsyncExitStack() as kept:
        for _ in range(2):
            await (await kept.enter_async_context(peer(rig))).settle()
        async with peer(rig) as third:
            await third.settle()
            for _ in range(5):
                async with peer(rig) as client:
                    await client.until(None)
        await served(rig.app.listen["grpc"])
        await closed(rig.app.listen["ops"], 'listener="grpc"')


async def test_a_peer_may_have_a_limit_of_its_own(limited: Any) -> None:
    async with limited(grpc_connections_per_peer="2") as rig:
        at = place(rig.app.listen["grpc"])
        async with held(at, 2, b"", FLOOD), held(at, 1, b"", FLOOD) as beyond:
            await until_closed(beyond[0][0])
            await served(rig.app.listen["grpc"])


@pytest.mark.parametrize(("listener", "status"), [("grpc", 0), ("admin", 12)])  # operators have no such method
async def test_a_peer_that_wants_every_connection_keeps_no_other_peer_out(
    limited: Any, listener: str, status: int
) -> None:
    async with limited(grpc_connections="20") as rig, contextlib.AsyncExitStack() as kept:
        listen = rig.app.listen[listener]
        first = await kept.enter_async_context(connected(listen))
        await first.settle()
        for _ in range(5):  # it does not tire
            await kept.enter_async_context(held(place(listen), 30, b"", FLOOD))
            await served(listen, status)
        assert (await first.answer(first.call())).status == status  # its connection was not ended


@pytest.mark.processes
async def test_with_more_connections_than_open_files_other_peers_are_served(tmp_path: Path, transport: str) -> None:
    """EMFILE (accept(2))."""
    configure(tmp_path)
    with WithFewFiles(tmp_path, TOKENMINT_LISTEN__TRANSPORT=transport) as service:
        async with held(place(service.listen["grpc"]), 400, b"", FLOOD):
            for _ in range(3):
                await served(service.listen["grpc"])
        await served(service.listen["grpc"])
        assert service.stop() == 0
