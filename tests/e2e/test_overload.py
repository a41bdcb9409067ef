"""A full house: what is beyond it is refused at once and has cost its caller nothing; what must get through does."""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests import plain_http
from tests.fakes import FakeClock
from tests.http2 import connected
from tests.issuer import Issuer
from tests.polling import pause, until
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE, Rig, Serve, refusal
from tests.sockets import hang_up

from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.rpc.external_authorization import METHOD
from tokenmint.v1 import key_set_service_pb2 as key_set_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb

PATIENCE = 20.0
EXTRA = """
[oauth]
enabled = true
[envoy]
enabled = true
audience = "https://legacy.example"
[limits]
calls_in_flight = 2
"""


@pytest.fixture
async def rig(serve: Serve, transport: str) -> AsyncIterator[Rig]:
    async with serve(EXTRA, transport=transport) as running_rig:
        yield running_rig


class House:
    """Keeps calls in hand for as long as a test wants: each waits where its token is verified."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self._rig = rig
        self._waiting = asyncio.Semaphore(0)
        self._open = asyncio.Event()
        verify = rig.parts.exchange.verifier.verify

        async def slow(*given: Any, **named: Any) -> Any:
            self._waiting.release()
            await self._open.wait()
            return await verify(*given, **named)

        monkeypatch.setattr(rig.parts.exchange.verifier, "verify", slow)
        self._calls: list[Any] = []

    async def fill(self, calls: int = 2) -> None:
        """Have calls in hand: as many as there may be, unless a number says otherwise."""
        self._calls += [self._rig.exchange.ExchangeToken(ask(self._rig), **self._rig.auth("web")) for _ in range(calls)]
        async with asyncio.timeout(PATIENCE):
            for _ in range(calls):
                await self._waiting.acquire()

    async def empty(self) -> None:
        """Let the calls go on, see that each is answered, and wait until none has a place: an answer comes first."""
        self._open.set()
        for call in self._calls:
            assert (await call).token
        await until(self._is_empty)

    async def _is_empty(self) -> bool:
        return self._rig.base.capacity.in_flight == 0


@pytest.fixture
async def house(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> House:
    full = House(rig, monkeypatch)
    await full.fill()
    return full


def ask(rig: Rig, audience: str = LEGACY_AUDIENCE, **claims: Any) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now(), **claims), audience=audience)


async def metrics(rig: Rig) -> str:
    async with plain_http.client() as http:
        return (await http.get(rig.url("ops", "/metrics"))).text


async def test_a_call_beyond_the_limit_is_resource_exhausted_at_once_and_says_when_to_retry(
    rig: Rig, house: House
) -> None:
    batch = pb.BatchExchangeTokensRequest(subject_token="x", targets=[pb.BatchExchangeTarget(audience=AUDIENCE)])
    for call in (
        lambda: rig.exchange.ExchangeToken(ask(rig), **rig.auth("web")),
        lambda: rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")),
        lambda: rig.exchange.IntrospectToken(pb.IntrospectTokenRequest(token="x"), **rig.auth("web")),
        lambda: rig.exchange.ExchangeToken(ask(rig), timeout=PATIENCE),  # before anybody asks who calls
    ):
        told = await refusal(call())
        assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert told.details == ("RetryInfo",)
    assert 'tokenmint_calls_not_begun_total{reason="OVERLOADED"} 4.0' in await metrics(rig)
    await house.empty()
    assert (await rig.exchange.ExchangeToken(ask(rig), **rig.auth("web"))).token


async def test_by_default_each_stream_that_one_connection_may_have_is_a_call_in_hand(
    serve: Serve, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that keeps to the announced number of streams is not refused (RFC 9113 section 5.1.2)."""
    async with serve('[limits]\ncall_deadline = "60s"\n', transport=transport) as rig:
        house = House(rig, monkeypatch)
        await house.fill(rig.base.settings.limits.streams_per_connection)
        await house.empty()


async def test_callers_that_never_send_the_rest_keep_nobody_out(rig: Rig) -> None:
    """Of a gRPC call the headers alone, of an HTTP request half a body: neither takes one of the two places."""
    host, _, port = rig.app.listen["http"].rpartition(":")
    half = b"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    half += b"X-Number: %d\r\nContent-Length: 100\r\n\r\ngrant_type"  # a repeated head waits without being in hand
    async with connected(rig.app.listen["grpc"]) as peer, contextlib.AsyncExitStack() as stack:
        path = "/tokenmint.v1.TokenExchangeService/ExchangeToken"
        for number in range(8):
            peer.open_stream(path=path)
            _, writer = await asyncio.open_connection(host, int(port))
            stack.push_async_callback(hang_up, writer)
            writer.write(half % number)
            await writer.drain()
        peer.send()
        await peer.settle()
        async with asyncio.timeout(PATIENCE):
            # The native transport hands over whole messages alone.
            while rig.base.capacity.in_flight < (8 if rig.native else 16):  # noqa: ASYNC110  # it knows of no test
                await asyncio.sleep(0)
        assert (await rig.exchange.ExchangeToken(ask(rig), **rig.auth("web"))).token


async def test_a_single_use_token_is_not_used_up_by_a_call_that_was_refused(rig: Rig, house: House) -> None:
    once = ask(rig, OPEN_AUDIENCE)
    assert (await refusal(rig.exchange.ExchangeToken(once, **rig.auth("web")))).reason == "OVERLOADED"
    await house.empty()
    assert (await rig.exchange.ExchangeToken(once, **rig.auth("web"))).token
    assert (await refusal(rig.exchange.ExchangeToken(once, **rig.auth("web")))).reason == "REPLAYED"


async def test_a_full_house_keeps_neither_health_nor_operators_nor_revocation_nor_the_key_set_out(
    rig: Rig, house: House
) -> None:
    health: Any = health_pb2_grpc.HealthStub(rig.data)
    assert await health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert await rig.profiles.ListProfiles(profiles_pb.ListProfilesRequest(), **rig.auth("root"))
    assert await rig.exchange.RevokeToken(pb.RevokeTokenRequest(token="unknown.to.us"), **rig.auth("web")) is not None
    secret = rig.secrets["web"].reveal()
    async with plain_http.client() as http:
        assert (await http.get(rig.url("http", "/.well-known/jwks.json"))).status_code == 200
        assert (await http.get(rig.url("ops", "/healthz"))).status_code == 200
        revoked = await http.post(
            rig.url("http", "/oauth2/revoke"), data={"token": "unknown.to.us"}, auth=("web", secret)
        )
        assert revoked.status_code == 200
    await house.empty()


async def test_over_http_a_full_house_is_503_with_retry_after(rig: Rig, house: House) -> None:
    async with plain_http.client() as http:
        for path in ("/oauth2/token", "/oauth2/introspect"):
            answer = await http.post(rig.url("http", path), data={})
            assert (answer.status_code, answer.json()["reason"]) == (503, "OVERLOADED")
            assert answer.json()["error"] == "temporarily_unavailable"
            assert int(answer.headers["retry-after"]) >= 1
    await house.empty()


async def test_over_http_a_request_beyond_the_listeners_limit_is_503_and_nothing_else(
    serve: Serve, issuer: Issuer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its form was read, so that it came to the endpoint: neither audited nor counted as a form without an end."""
    extra = "[oauth]\nenabled = true\n[limits]\nhttp_requests = 1\n"
    async with (
        serve(extra) as rig,
        plain_http.client(auth=("web", rig.secrets["web"].reveal()), timeout=PATIENCE) as http,
    ):
        verifier, waits, goes_on = rig.parts.exchange.verifier, asyncio.Event(), asyncio.Event()
        verify = verifier.verify

        async def slow(*given: Any, **named: Any) -> Any:
            waits.set()
            await goes_on.wait()
            return await verify(*given, **named)

        monkeypatch.setattr(verifier, "verify", slow)
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": LEGACY_AUDIENCE,
            "subject_token": rig.issuer.token(rig.clock.now()),
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        }  # fmt: skip
        first = asyncio.ensure_future(http.post(rig.url("http", "/oauth2/token"), data=form))
        await asyncio.wait_for(waits.wait(), PATIENCE)
        for path in ("/oauth2/token", "/oauth2/introspect"):
            answer = await http.post(rig.url("http", path), data=form)
            assert (answer.status_code, answer.headers["connection"]) == (503, "close")
            assert int(answer.headers["retry-after"]) >= 1
        assert (await http.get(rig.url("http", "/.well-known/jwks.json"))).status_code == 503
        revoked = await http.post(rig.url("http", "/oauth2/revoke"), data={"token": "x"})
        assert revoked.status_code == 200  # revocation has places of its own (RFC 7009 section 2.2)
        counted = await metrics(rig)
        assert 'tokenmint_http_limits_total{listener="http",outcome="request_refused"} 3.0' in counted
        assert 'reason="INVALID_REQUEST"' not in counted
        goes_on.set()
        assert (await first).status_code == 200
        assert (await http.post(rig.url("http", "/oauth2/revoke"), data={"token": "unknown.to.us"})).status_code == 200


async def test_a_gateway_is_told_of_a_full_house_as_its_own_caller_is_to_be(rig: Rig, house: House) -> None:
    check = rig.data.unary_unary(
        METHOD, request_serializer=envoy.CheckRequest.SerializeToString,
        response_deserializer=envoy.CheckResponse.FromString,
    )  # fmt: skip
    answer = await check(envoy.CheckRequest(), **rig.auth("web"))
    assert answer.status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert answer.denied.status.code == 503
    assert {item.header.key: item.header.value for item in answer.denied.headers}["retry-after"] == "1"
    assert "OVERLOADED" in answer.denied.body
    await house.empty()


async def test_nothing_is_minted_or_used_up_for_a_caller_that_waits_no_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop is busy past the deadline, so that no timer and no cancellation comes in between."""
    verifier = rig.parts.exchange.verifier
    await verifier.key_sets.prefetch()
    verify = verifier.verify

    async def busy(*given: Any, **named: Any) -> Any:
        proved = await verify(*given, **named)
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.6
        while loop.time() < until:
            pass
        return proved

    once = ask(rig, OPEN_AUDIENCE)
    monkeypatch.setattr(verifier, "verify", busy)
    auth = rig.auth("web") | {"timeout": 0.5}
    assert (await refusal(rig.exchange.ExchangeToken(once, **auth))).code is grpc.StatusCode.DEADLINE_EXCEEDED
    monkeypatch.setattr(verifier, "verify", verify)
    assert "tokenmint_tokens_minted_total{" not in await metrics(rig)
    assert (await rig.exchange.ExchangeToken(once, **rig.auth("web"))).token


async def test_watchers_beyond_the_limit_are_resource_exhausted_however_many_come_at_once(rig: Rig) -> None:
    """And their places are free again as soon as they have gone."""

    async def watch() -> tuple[Any, grpc.StatusCode]:
        call = rig.key_set.WatchKeySet(key_set_pb.WatchKeySetRequest(), timeout=PATIENCE)
        try:
            await call.read()
        except grpc.aio.AioRpcError as error:
            return call, error.code()
        return call, grpc.StatusCode.OK

    for _ in range(3):
        watchers = await asyncio.gather(*(watch() for _ in range(60)))
        codes = collections.Counter(code for _, code in watchers)
        assert codes == {grpc.StatusCode.OK: 10, grpc.StatusCode.RESOURCE_EXHAUSTED: 50}
        for call, _ in watchers:
            call.cancel()
        async with asyncio.timeout(PATIENCE):
            while rig.app.listeners.watches.watching:
                await pause()
