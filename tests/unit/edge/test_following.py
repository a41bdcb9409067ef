"""Streams of revocations from a tokenmint that restarts, falls silent, ends them, or answers with an error."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.fakes import FakeClock
from tests.ports import own_port
from tests.providers import proxy
from tests.tls import authority

from tokenmint.base.background import Background
from tokenmint.base.http_url import HttpUrl
from tokenmint.base.telemetry import Metrics
from tokenmint.edge import following as module
from tokenmint.edge.following import Following, Source
from tokenmint.edge.revoked import RevokedSet
from tokenmint.model.secret import Secret
from tokenmint.revocation.entries import Kind, digest
from tokenmint.v1 import revocation_service_pb2 as pb
from tokenmint.v1.revocation_service_pb2_grpc import (
    RevocationServiceServicer,
    RevocationServiceStub,
    add_RevocationServiceServicer_to_server,
)

ORDERS = "https://orders.example"
Play = Callable[[Any], Awaitable[None]]


def message(position: str, *names: str) -> pb.WatchRevocationsResponse:
    entries = [pb.Revocation(digest=digest(Kind.TOKEN, name)) for name in names]
    return pb.WatchRevocationsResponse(position=position, revocations=entries)


@dataclass
class Service(RevocationServiceServicer):
    """Plays the next of some streams for each call, and the last one for all further calls."""

    plays: list[Callable[[], AsyncIterator[pb.WatchRevocationsResponse]]]
    positions: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    async def WatchRevocations(self, request: pb.WatchRevocationsRequest, context: Any) -> Any:
        self.positions.append(request.position)
        self.metadata = dict(context.invocation_metadata())
        play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        try:
            async for one in play():
                yield one
        except PermissionError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))


async def whole(*messages: pb.WatchRevocationsResponse, forever: bool = True) -> Any:
    for one in messages:
        yield one
    if forever:
        await asyncio.Event().wait()


async def refusing(*refusals: str) -> Any:
    if refusals:
        raise PermissionError(refusals[0])
    yield


@asynccontextmanager
async def serving(service: Service, port: int, pair: tuple[bytes, bytes] | None = None) -> AsyncIterator[None]:
    """Serve it; ``pair``: over TLS, with this certificate and its key."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_RevocationServiceServicer_to_server(service, server)
    place = f"127.0.0.1:{port}"
    if pair is None:
        assert server.add_insecure_port(place)
    else:
        assert server.add_secure_port(place, grpc.ssl_server_credentials([pair[::-1]]))
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@asynccontextmanager
async def followed(
    port: int, revoked: RevokedSet | None = None, *, url: str = "http://127.0.0.1", authorities: bytes | None = None
) -> AsyncIterator[tuple[Following, FakeClock]]:
    clock = FakeClock()
    background = Background(clock, random.Random(0).random, Metrics())
    following = Following([ORDERS], clock, revoked)
    source = Source(HttpUrl.parse(f"{url}:{port}"), "sidecar", Secret("tms_x"), authorities)
    following.follow(background, source)
    try:
        yield following, clock
    finally:
        await background.close()


async def until(holds: Callable[[], bool], clock: FakeClock | None = None) -> None:
    async with asyncio.timeout(20):
        while not holds():
            if clock is not None:
                clock.advance(0.1)
            await asyncio.sleep(0.005)


async def test_a_snapshot_of_several_messages_and_then_the_next_stream_goes_on_where_the_last_one_ended() -> None:
    port = own_port()
    service = Service([lambda: whole(message("", "a"), message("", "b"), message("1.7-0", "c"))])
    async with followed(port) as (following, clock):
        async with serving(service, port):
            await until(lambda: following.lag(ORDERS) < 1, clock)
            assert (len(following.revoked), following.streams[ORDERS].error) == (3, "")
            assert service.metadata["tokenmint-client-id"] == "sidecar"
        await until(lambda: following.streams[ORDERS].error == "UNAVAILABLE")
        clock.advance(9)
        assert following.lag(ORDERS) >= 9
        service.plays = [lambda: whole(message("1.8-0", "d"))]
        async with serving(service, port):
            await until(lambda: following.lag(ORDERS) < 1, clock)
    assert (service.positions[0], service.positions[-1], len(following.revoked)) == ("", "1.7-0", 4)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_revocations_are_followed_over_tls(name: str) -> None:
    port, ca = own_port(), authority()
    service = Service([lambda: whole(message("1.7-0", "a"))])
    pair = ca.issue("tokenmint", "localhost", "127.0.0.1")
    async with (
        serving(service, port, pair),
        followed(port, url=f"https://{name}", authorities=ca.pem) as (following, clock),
    ):
        await until(lambda: following.lag(ORDERS) < 1, clock)
    assert service.metadata["tokenmint-client-secret"] == "tms_x"


@pytest.mark.parametrize("names", [("localhost", "127.0.0.1"), ("other.example", "127.0.0.2")])
async def test_a_listener_that_does_not_prove_its_name_gets_no_secret(names: tuple[str, ...]) -> None:
    """Its certificate is of another authority, or names another host."""
    port, ca = own_port(), authority()
    service = Service([lambda: whole(message("1.7-0", "a"))])
    another = authority("Another authority") if "localhost" in names else ca
    async with (
        serving(service, port, another.issue("tokenmint", *names)),
        followed(port, url="https://localhost", authorities=ca.pem) as (following, clock),
    ):
        await until(lambda: following.streams[ORDERS].error == "UNAVAILABLE", clock)
        assert following.lag(ORDERS) == float("inf")
    assert (service.positions, service.metadata, len(following.revoked)) == ([], {}, 0)


async def test_a_stream_that_tokenmint_ends_is_opened_again_at_once() -> None:
    port = own_port()
    service = Service([lambda: whole(message("0.1-0", "a"), forever=False), lambda: whole(message("0.2-0", "b"))])
    async with serving(service, port), followed(port) as (following, _):
        await until(lambda: len(following.revoked) == 2)
    assert service.positions == ["", "0.1-0"]


async def test_a_stream_that_ends_without_a_message_is_a_failure_with_a_pause() -> None:
    port = own_port()
    service = Service([lambda: whole(forever=False)])
    async with serving(service, port), followed(port) as (following, clock):
        await until(lambda: clock.sleepers == 1)
        assert (len(service.positions), following.lag(ORDERS)) == (1, float("inf"))
        await until(lambda: len(service.positions) == 3, clock)


async def test_a_silent_stream_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.2)
    port = own_port()
    service = Service([lambda: whole(message("0.1-0")), lambda: whole(message("0.2-0"), forever=True)])
    async with serving(service, port), followed(port) as (following, clock):
        await until(lambda: "nothing came" in following.streams[ORDERS].error, clock)
        await until(lambda: "0.1-0" in service.positions, clock)


async def test_a_refused_stream_says_why_in_few_printable_characters() -> None:
    port = own_port()
    async with serving(Service([lambda: refusing("not \x1b yours" * 100)]), port), followed(port) as (following, clock):
        await until(lambda: bool(following.streams[ORDERS].error), clock)
        error = following.streams[ORDERS].error
    assert error.startswith("PERMISSION_DENIED: not")
    assert (error.isprintable(), len(error) < 300) == (True, True)


async def test_more_revocations_than_there_is_room_for_are_not_followed() -> None:
    port = own_port()
    service = Service([lambda: whole(message("0.1-0", "a", "b"))])
    async with serving(service, port), followed(port, RevokedSet(most=1)) as (following, clock):
        await until(lambda: len(service.positions) > 1, clock)
        assert "too many" in following.streams[ORDERS].error
        assert (following.lag(ORDERS), len(following.revoked)) == (float("inf"), 1)
    assert set(service.positions) == {""}


@pytest.mark.parametrize("name", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_no_variable_of_the_environment_leads_the_secret_through_a_proxy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    with proxy({}) as seen:
        monkeypatch.setenv(name, f"http://127.0.0.1:{seen.port}")
        source = Source(HttpUrl.parse("https://tokenmint.invalid:7443"), "sidecar", Secret("tms_x"))
        async with source.open() as channel:
            call = RevocationServiceStub(channel).WatchRevocations(pb.WatchRevocationsRequest(), timeout=10)
            with pytest.raises(grpc.aio.AioRpcError):
                await call.read()
    assert not seen.asked
