"""Requests with known heads that arrive in parts, or whose answers take time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tests.listeners import Run, Served, serving
from tests.repeated import QUICK, asked, connected, form, learn, response
from tests.sockets import PATIENCE, Streams, get, held, until_closed

from tokenmint.web.fast_requests import Arrival

pytestmark = pytest.mark.slow


def ours(served: Served) -> Iterable[Any]:
    """The listener's connections."""
    return served.server._state.connections


async def until_halves(served: Served, count: int) -> None:
    """Wait until so many connections hold a part of a request."""
    async with asyncio.timeout(PATIENCE):
        while sum(one._held is not None for one in ours(served)) != count:  # noqa: ASYNC110  # it knows of no test
            await asyncio.sleep(0)


@asynccontextmanager
async def half(served: Served, body: bytes = b"a=b", number: int = 1) -> AsyncIterator[Streams]:
    """A connection on which a request with a known head arrived, but for its last byte; the ``number``-th one."""
    async with connected(served) as streams:
        streams[1].write(form(body)[:-1])
        await until_halves(served, number)
        yield streams


def test_a_request_whose_body_comes_later_is_answered(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            async with connected(served) as streams:
                whole = await asked(streams, form(b"a=b"))
            async with half(served) as streams:
                assert await asked(streams, b"b") == whole
                assert await asked(streams, QUICK)
            assert served.fast.answered == 3
            assert served.application.bodies == [b"a=b"] * 2

    run(scenario())


def test_a_body_that_never_comes_has_an_end_and_makes_room(run: Run) -> None:
    async def scenario() -> None:
        async with serving(request_time=0.2) as served:
            await learn(served)
            async with half(served) as streams:
                assert await until_closed(streams[0]) == b""
        async with serving(connections=3) as served:
            await learn(served)
            await served.until_held(0)
            async with half(served) as first, half(served, number=2), half(served, number=3):
                async with connected(served) as streams:
                    assert await asked(streams, QUICK)
                await until_closed(first[0])
            assert served.counted == ["unfinished_closed"]

    run(scenario())


def test_a_stop_waits_for_a_body_that_is_on_its_way(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            async with half(served) as streams:
                stopping = asyncio.ensure_future(served.server.stop())
                await until_halves(served, 0)
                streams[1].write(b"b")
                assert b"late\n" in await until_closed(streams[0])
                await stopping
            assert served.fast.answered == 0  # the full way ended it

    run(scenario())


def test_a_held_request_takes_the_full_way_if_its_limit_is_reached_meanwhile(run: Run) -> None:
    async def scenario() -> None:
        async with serving(requests=1) as served:
            await learn(served)
            await served.until_held(0)
            served.application.gate.clear()
            served.application.waiting = 0
            async with half(served) as streams, held(served.at, 1, get("/gated")):
                await served.until_waiting(1)
                assert (await asked(streams, b"b")).startswith(b"HTTP/1.1 503 ")
            assert served.counted == ["request_refused"]

    run(scenario())


def test_a_body_in_many_parts_is_looked_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            fast = served.server._fast
            assert fast is not None
            find = fast.find

            def noted(data: bytes) -> Arrival | None:
                looked.append(len(data))
                return find(data)

            monkeypatch.setattr(fast, "find", noted)
            body = b"a" * 20_000
            async with half(served, body) as streams:
                assert await asked(streams, b"a")
            assert served.application.bodies == [body]

    run(scenario())
    assert len(looked) == 1


def test_data_behind_a_held_request_is_read_by_the_parser(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            async with half(served) as streams:
                streams[1].write(b"b" + get("/quick"))
                said = await until_closed(streams[0])
                assert said.count(b"HTTP/1.1 200 ") == 2

    run(scenario())


# --- answers that take time ---------------------------------------------------------------------------------------


@asynccontextmanager
async def waiting(served: Served, *bodies: bytes) -> AsyncIterator[list[Streams]]:
    """Connections whose answers wait for the gate."""
    served.application.gate.clear()
    served.application.waiting = 0
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connected(served)) for _ in bodies]
        for streams, body in zip(opened, bodies, strict=True):
            streams[1].write(form(body))
        await served.until_waiting(len(bodies))
        yield opened


@pytest.mark.parametrize("body", [b"wait", b"wait for the full way", b"wait and fail"])
def test_an_answer_that_takes_time_is_that_of_the_full_way(run: Run, body: bytes) -> None:
    """Also where the route can't answer after all, and behind it on the same connection."""

    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            async with connected(served) as streams:
                whole = await asked(streams, form(b"a=b"))
            async with waiting(served, body) as [streams]:
                streams[1].write(QUICK + form(b"a=b"))
                served.application.gate.set()
                assert await response(streams[0]) == whole
                assert b"ok\n" in await response(streams[0])
                assert await response(streams[0]) == whole
            assert served.application.bodies == [b"a=b", body, b"a=b"]

    run(scenario())


def test_a_request_that_waits_has_a_place_and_keeps_its_connection(run: Run) -> None:
    async def scenario() -> None:
        async with serving(requests=2, connections=2) as served:
            await learn(served)
            await served.until_held(0)
            async with waiting(served, b"wait", b"wait") as opened:
                async with connected(served) as streams:
                    assert (await asked(streams, QUICK)).startswith(b"HTTP/1.1 503 ")
                served.application.gate.set()
                for reader, _ in opened:
                    assert b"late\n" in await response(reader)
                    assert not reader.at_eof()
            assert "idle_closed" not in served.counted
            assert "unfinished_closed" not in served.counted
            await served.until_held(0)
            async with connected(served) as streams:
                assert b"ok\n" in await asked(streams, QUICK)  # the places were given back

    run(scenario())


def test_a_client_that_leaves_gives_its_place_back(run: Run) -> None:
    async def scenario() -> None:
        async with serving(requests=1) as served:
            await learn(served)
            async with waiting(served, b"wait"):
                pass
            await served.until_held(0)
            async with connected(served) as streams:
                assert b"ok\n" in await asked(streams, QUICK)
            assert served.application.bodies == []

    run(scenario())


@pytest.mark.parametrize("body", [b"wait", b"wait for the full way"])
def test_a_stop_waits_for_an_answer_that_takes_time(run: Run, body: bytes) -> None:
    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            async with waiting(served, body) as [streams]:
                stopping = asyncio.ensure_future(served.server.stop())
                [protocol] = ours(served)
                async with asyncio.timeout(PATIENCE):
                    while not protocol._is_last:  # noqa: ASYNC110  # it knows of no test
                        await asyncio.sleep(0)
                assert not stopping.done()
                served.application.gate.set()
                assert b"late\n" in await until_closed(streams[0])
                await asyncio.wait_for(stopping, PATIENCE)

    run(scenario())


def test_an_answer_that_comes_while_the_process_stops_closes_its_connection(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            async with waiting(served, b"wait") as [streams]:
                served.application.stopping.set()
                served.application.gate.set()
                said = await until_closed(streams[0])
                assert b"\r\nconnection: close\r\n" in said
                assert said.endswith(b"late\n")

    run(scenario())
