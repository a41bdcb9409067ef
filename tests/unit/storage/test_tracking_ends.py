"""The end of what tracks changed keys, even where the driver swallows a cancellation, as its reads do at times."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis.asyncio as driver

from tokenmint.base.errors import StoreUnavailable
from tokenmint.storage.tracking import Changes, ClusterTracking, Tracking
from tokenmint.storage.urls import parse

LIMIT = 30.0  # seconds: a task that never ends would hold up the run


@dataclass
class Primaries:
    """The Cluster's server, as far as tracking needs it."""

    names: list[str]

    async def primaries(self) -> list[Any]:
        def connection(**_: object) -> None:
            return None

        return [SimpleNamespace(name=name, connection_class=connection, connection_kwargs={}) for name in self.names]

    def look_for_nodes(self) -> None:
        """Nothing moves."""


class Deaf:
    """Tracks one server. Each of its reads swallows one cancellation."""

    def __init__(self) -> None:
        self.running = 0

    async def on(self, _: object) -> AsyncGenerator[Changes, None]:
        self.running += 1
        try:
            yield Changes((), 0.0)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()
        finally:
            self.running -= 1


@pytest.fixture
def primaries() -> Primaries:
    return Primaries(["a", "b"])


@pytest.fixture
def deaf() -> Deaf:
    return Deaf()


async def test_tracking_ends_though_a_read_swallows_the_cancellation(primaries: Primaries, deaf: Deaf) -> None:
    tracking = ClusterTracking(cast(Any, primaries), cast(Any, deaf))
    async with asyncio.timeout(LIMIT), aclosing(tracking.reports()) as reports:
        assert {(await anext(reports)).node for _ in range(2)} == {"a", "b"}
        assert deaf.running == 2
    assert deaf.running == 0


async def test_a_node_that_is_no_primary_any_more_is_let_go_though_its_read_is_deaf(
    primaries: Primaries, deaf: Deaf
) -> None:
    tracking = ClusterTracking(cast(Any, primaries), cast(Any, deaf))
    async with asyncio.timeout(LIMIT), aclosing(tracking.reports()) as reports:
        assert {(await anext(reports)).node for _ in range(2)} == {"a", "b"}
        primaries.names.remove("b")
        report = await anext(reports)
        assert (report.node, report.over, deaf.running) == ("b", True, 1)


class Silent:
    """A connection whose server answers no question. It fails as the driver's does that is lost in the same turn."""

    is_connected = True
    host, port = "127.0.0.1", 6379

    def __init__(self) -> None:
        self._parser = SimpleNamespace(set_invalidation_push_handler=lambda _: None)
        self.asks = asyncio.Event()
        self._tracks = False

    async def connect(self) -> None:
        """It is connected."""

    async def disconnect(self, **_: object) -> None:
        """It is gone."""

    def out_of_date(self) -> bool:
        return False

    async def send_command(self, name: str, *_: str) -> None:
        if name == "PING":
            self.asks.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise driver.ConnectionError("the connection was lost before the command was sent") from None

    async def read_response(self, *_: object, **__: object) -> bytes:
        if not self._tracks:
            self._tracks = True
            return b"OK"
        await self.asks.wait()
        raise TimeoutError


async def test_a_question_that_fails_while_its_connection_ends_is_no_error_of_the_event_loop() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    tracking = Tracking(parse("redis://127.0.0.1:6379"), "t:", ("profile:",), 20.0, 20.0)
    async with aclosing(tracking.on(Silent())) as changes:
        with pytest.raises(StoreUnavailable):
            await anext(changes)
    gc.collect()
    assert told == []
