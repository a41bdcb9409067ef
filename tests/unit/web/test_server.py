"""One HTTP listener, on both event loops, against clients that leave things unfinished or ask for too much."""

import asyncio
import errno
import os
import socket
from typing import Any

import pytest
from tests.listeners import FORM, LARGE, Run, serving
from tests.polling import pause
from tests.sockets import PATIENCE, UNFINISHED, answer, get, held, place, status, until_closed

from tokenmint.base.addresses import Address, Reservations
from tokenmint.base.background import Background
from tokenmint.base.clock import SystemClock
from tokenmint.base.errors import DependencyUnavailable
from tokenmint.base.readiness import Readiness
from tokenmint.base.telemetry import Metrics
from tokenmint.web import ops, wellknown
from tokenmint.web.boundary import URGENT
from tokenmint.web.connections import SPARE
from tokenmint.web.server import HttpServer

pytestmark = pytest.mark.slow

# --- room ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", UNFINISHED)
def test_a_connection_without_a_whole_request_makes_room(run: Run, sent: str) -> None:
    async def scenario() -> None:
        async with serving(connections=20) as served, held(served.at, 20, UNFINISHED[sent]) as opened:
            await served.until_held(20)
            assert await status(served.at, "/quick") == 200
            ends = [asyncio.ensure_future(until_closed(reader)) for reader, _ in opened]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
            assert sum(end.done() for end in ends) == 1
            for end in ends:
                end.cancel()

    run(scenario())


def test_the_oldest_idle_connection_makes_room(run: Run) -> None:
    async def scenario() -> None:
        async with serving(connections=20) as served, held(served.at, 20, b"") as opened:
            await served.until_held(20)
            assert await status(served.at, "/quick") == 200
            await until_closed(opened[0][0])
            assert not any(reader.at_eof() for reader, _ in opened[1:])

    run(scenario())


def test_what_is_idle_makes_room_before_what_is_unfinished(run: Run) -> None:
    async def scenario() -> None:
        half = UNFINISHED["half a header"]
        async with (
            serving(connections=20) as served,
            held(served.at, 10, half) as unfinished,
            held(served.at, 10, b"") as idle,
            held(served.at, 5, half),
        ):
            for reader, _ in idle[:5]:
                await until_closed(reader)
            assert not any(reader.at_eof() for reader, _ in [*unfinished, *idle[5:]])
            assert served.counted == ["idle_closed"] * 5

    run(scenario())


def test_a_peer_makes_room_among_its_own_connections(run: Run) -> None:
    async def scenario() -> None:
        async with (
            serving(connections_per_peer=10) as served,
            held(served.at, 1, b"", "127.0.0.2") as others,
            held(served.at, 60, b"") as opened,
        ):
            for reader, _ in opened[:50]:
                await until_closed(reader)
            reader, writer = others[0]
            assert not reader.at_eof()
            writer.write(get("/quick"))
            assert (await until_closed(reader)).startswith(b"HTTP/1.1 200 ")

    run(scenario())


def test_a_connection_that_answers_is_never_closed_and_health_is_answered_beside_it(run: Run) -> None:
    async def scenario() -> None:
        request = get("/gated")
        async with serving(connections=20) as served, held(served.at, 20, request) as opened:
            await served.until_waiting(20)
            said = await answer(served.at, get("/quick"))
            assert said.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1\r\n" in said
            assert await status(served.at, "/healthz") == 200
            async with held(served.at, SPARE + 5, b"") as spare:  # of those, too, the oldest makes room
                assert await status(served.at, "/healthz") == 200
                await until_closed(spare[0][0])
            served.application.gate.set()
            for reader, _ in opened:
                assert (await until_closed(reader)).startswith(b"HTTP/1.1 200 ")
            await served.until_held(0)

    run(scenario())


def test_every_connection_beyond_the_limit_is_told_so_also_where_many_come_at_once(run: Run) -> None:
    async def scenario() -> None:
        async with serving(connections=5, requests=100) as served, held(served.at, 5, get("/gated")):
            await served.until_waiting(5)
            async with held(served.at, SPARE, get("/gated")) as opened:
                for reader, _ in opened:
                    assert (await until_closed(reader)).startswith(b"HTTP/1.1 503 ")
            await served.until_held(5)
            assert await status(served.at, "/healthz") == 200

    run(scenario())


# --- requests in flight -------------------------------------------------------------------------------------------


def test_requests_beyond_the_limit_are_answered_with_503_and_health_is_not_counted(run: Run) -> None:
    async def scenario() -> None:
        async with serving(requests=3) as served, held(served.at, 3, get("/gated")):
            await served.until_waiting(3)
            for request in (get("/quick"), FORM):
                said = await answer(served.at, request)
                assert said.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nretry-after: 1\r\n" in said
            assert await status(served.at, "/healthz") == 200
            served.application.gate.set()
            async with asyncio.timeout(PATIENCE):
                while await status(served.at, "/quick") != 200:
                    await pause()
            assert served.application.bodies == []

    run(scenario())


def test_half_sent_bodies_take_no_request_from_anybody(run: Run) -> None:
    async def scenario() -> None:
        async with serving(requests=3) as served, held(served.at, 30, FORM[:-1]) as opened:
            assert await status(served.at, "/quick") == 200
            for _, writer in opened:
                writer.write(b"b")
            await served.until_waiting(3)
            refused = [await reader.readline() for reader, _ in opened[3:]]
            assert refused == [b"HTTP/1.1 503 Service Unavailable\r\n"] * 27
            assert len(served.application.bodies) == 3
            served.application.gate.set()
            for reader, _ in opened[:3]:
                assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")

    run(scenario())


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", UNFINISHED)
def test_what_is_unfinished_has_an_end(run: Run, sent: str) -> None:
    async def scenario() -> None:
        async with serving(request_time=0.2) as served, held(served.at, 1, UNFINISHED[sent]) as opened:
            await until_closed(opened[0][0])
            await served.until_held(0)

    run(scenario())


def test_an_answer_that_is_not_read_has_an_end(run: Run) -> None:
    """Also where further requests go on coming, and where the last answer ends the connection."""

    async def scenario() -> None:
        again = get("/large").replace(b"Connection: close\r\n", b"") * 9
        async with serving(request_time=0.2) as served, held(served.at, 1, get("/large")), held(served.at, 1, again):
            await served.until_held(2)
            await served.until_held(0)

    run(scenario())


def test_an_unread_answer_makes_room(run: Run) -> None:
    async def scenario() -> None:
        async with serving(connections=3) as served, held(served.at, 3, get("/large")) as opened:
            for reader, _ in opened:
                await reader.readline()
            assert await status(served.at, "/quick") == 200

    run(scenario())


def test_slow_readers_that_read_are_served(run: Run) -> None:
    async def scenario() -> None:
        async with serving(request_time=5.0) as served:
            said = await answer(served.at, get("/large"))
            assert said.endswith(LARGE)

    run(scenario())


def test_urgent_requests_are_answered_while_others_are_too_many_and_are_bounded_themselves(run: Run) -> None:
    revoke = FORM.replace(b"/form", b"/oauth2/revoke")

    async def scenario() -> None:
        async with serving(requests=3) as served, held(served.at, 3, get("/gated")):
            await served.until_waiting(3)
            assert await status(served.at, "/quick") == 503
            async with held(served.at, URGENT, revoke):
                await served.until_waiting(3 + URGENT)
                assert (await answer(served.at, revoke)).startswith(b"HTTP/1.1 503 ")
                served.application.gate.set()
            last = revoke.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            assert (await answer(served.at, last)).startswith(b"HTTP/1.1 200 ")

    run(scenario())


# --- without file descriptors -------------------------------------------------------------------------------------


def test_a_shortage_of_descriptors_neither_spins_nor_ends_the_listener(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with serving() as served, held(served.at, 1, b""):
            await served.until_held(1)
            failures = 0
            accept = socket.socket.accept
            assert served.server._server is not None
            listening = served.server._server._listener._listening

            def fail(self: socket.socket) -> Any:
                nonlocal failures
                if self is not listening:
                    return accept(self)
                failures += 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

            monkeypatch.setattr(socket.socket, "accept", fail)
            async with held(served.at, 1, get("/quick")) as opened:
                await served.until_held(0)  # the idle one made room
                for _ in range(1000):  # turns of the loop, in each of which the socket is readable
                    await asyncio.sleep(0)
                assert failures < 10
                monkeypatch.setattr(socket.socket, "accept", accept)
                assert (await until_closed(opened[0][0])).startswith(b"HTTP/1.1 200 ")

    run(scenario())


# --- what leaves it -----------------------------------------------------------------------------------------------


def test_a_fault_of_an_application_is_logged_without_its_text(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with serving() as served:
            assert await status(served.at, "/broken") == 500

    run(scenario())
    said = "".join(capsys.readouterr())
    assert "ValueError" in said
    assert "tms_canary" not in said


def test_every_503_says_when_to_come_back(run: Run) -> None:
    def no_keys() -> Any:
        raise DependencyUnavailable("no keys")

    async def scenario() -> None:
        readiness = Readiness()
        readiness.require("signing keys", lambda: "none")
        private = ops.application(readiness, Metrics())
        public = wellknown.application(
            wellknown.documents("https://tokens.example", ("ES256",), no_keys, lambda *_: None)
        )
        for application, path in ((private, "/readyz"), (public, wellknown.JWKS_PATH)):
            ports = Reservations({"http": Address("127.0.0.1", 0)})
            server = HttpServer(application, Address.parse(ports.listen["http"]))
            background = Background(SystemClock(), lambda: 0.5, Metrics())
            server.start(background, "http")
            said = await answer(place(ports.listen["http"]), get(path))
            assert said.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: " in said.lower()
            await server.stop()
            await background.close()
            ports.close()

    run(scenario())


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", UNFINISHED)
def test_a_request_that_never_comes_as_a_whole_does_not_lengthen_a_stop(run: Run, sent: str) -> None:
    async def scenario() -> None:
        async with serving() as served, held(served.at, 1, UNFINISHED[sent]) as opened:
            await served.until_held(1)
            served.server._config.timeout_graceful_shutdown = 3600
            await asyncio.wait_for(served.server.stop(), PATIENCE)
            await until_closed(opened[0][0])

    run(scenario())


def test_a_stop_ends_idle_connections_at_once_and_answers_what_is_in_hand(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as served, held(served.at, 3, b"") as idle:
            asked = asyncio.ensure_future(answer(served.at, get("/gated")))
            await served.until_waiting(1)
            stopping = asyncio.ensure_future(served.server.stop())
            for reader, _ in idle:
                assert await until_closed(reader) == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*served.at)
            assert not stopping.done()
            served.application.gate.set()
            assert (await asked).startswith(b"HTTP/1.1 200 ")
            await asyncio.wait_for(stopping, PATIENCE)
            assert len(served.server._connections) == 0

    run(scenario())
