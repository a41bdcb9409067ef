"""No background task ends the service: each fails alone, is told of, and goes on when it can."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests import plain_http
from tests.fakes import FakeClock
from tests.polling import until
from tests.rig import DEADLINE, OPEN_AUDIENCE, Rig, Serve

from tokenmint.v1 import token_exchange_service_pb2 as pb

UNITS = {
    "a look at shared rate limits": ("parts.limiter", "_unit"),
    "audit shards": ("parts.audit._exchanges", "drop_outdated"),
    "audit stream": ("parts.store", "append"),
    "files": ("parts.verifiers.fetch", "files"),
    "grpc connections": ("listeners.shares", "_round"),
    "high-water mark": ("parts.signing_keys", "note"),
    "key ring notices": ("parts.signing_keys.store", "read"),
    "key ring poll": ("parts.signing_keys.store", "read"),
    "key rotation": ("parts.signing_keys.store", "lease"),
    "keys of idp": ("parts.exchange.verifier.key_sets", "_fetch_once"),
    "known verifiers": ("parts.signing.jwks_clients", "_news"),
    "listener http": ("listeners.public._server", "on_tick"),
    "listener ops": ("listeners.ops._server", "on_tick"),
    "near cache notices": ("parts.near", "flush"),
    "near cache proof": ("parts.near", "_drop_aged"),
    "process metrics": ("parts.base.state_metrics", "_read_process"),
    "readiness": ("base.health", "set"),
    "revocation notices": ("parts.revoking.following._log", "after"),
    "revocations": ("parts.revoking.following._log", "after"),
}
"""Every background task, and a part of the service that it uses in each round."""


NUMBERS = itertools.count()
CACHED = "\n[caches]\nprofiles = 100\n"


class Broken:
    """A part whose every use fails as no error of ours does."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def __getattr__(self, _: str) -> Any:
        return self()

    def __bool__(self) -> bool:
        return bool(self())


@pytest.fixture
async def rig(serve: Serve, clock: FakeClock) -> AsyncIterator[Rig]:
    async with serve(extra=CACHED) as service:
        await service.until(lambda: service.parts.near.live)
        yield service


async def test_these_are_all_background_tasks(rig: Rig) -> None:
    assert rig.base.background.running() == sorted(UNITS)


@pytest.mark.parametrize("name", UNITS)
async def test_no_background_task_ends_the_service(
    rig: Rig, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place, attribute = UNITS[name]
    part: Any = rig.app
    for step in place.split("."):
        part = getattr(part, step)
    await rig.exchange.ExchangeToken(ask(rig), **rig.auth("web"))

    before = rig.base.background.running()
    with monkeypatch.context() as patch:
        patch.setattr(part, attribute, Broken())
        store = rig.parts.near._store
        if name == "near cache notices":  # they break off
            await store.server.client.client_kill_filter(_type="normal", skipme=True)
        elif name == "keys of idp":  # they are refreshed
            clock.advance(7 * 3600)
        elif name == "key ring notices":
            await store.server.client.publish(f"{store.prefix}ring", b"2")
        elif name == "revocation notices":
            await store.server.client.publish(f"{store.prefix}revocations", b"")
        if name.startswith("listener"):  # it ticks by the real clock; if the other one went on, it would be tried again
            await until(partial(_fails, rig, name))
        else:
            await rig.until(lambda: name in rig.base.background.failing())
        assert rig.base.background.running() == before
        if name != "listener ops":
            async with plain_http.client() as http:
                answer = (await http.get(rig.url("ops", "/readyz"))).json()
                assert f"{name}: RuntimeError" in answer["details"]["background tasks"]
                shown = (await http.get(rig.url("ops", "/metrics"))).text
            assert f'tokenmint_task_failing{{task="{name}"}} 1.0' in shown
    await rig.until(lambda: name not in rig.base.background.failing() and not rig.base.readiness.problems())
    assert rig.base.background.running() == before
    assert (await rig.exchange.ExchangeToken(ask(rig), **rig.auth("web"))).token
    async with plain_http.client() as http:
        assert (await http.get(rig.url("http", "/.well-known/jwks.json"))).status_code == 200
        assert name not in str((await http.get(rig.url("ops", "/readyz"))).json()["details"])


async def _fails(rig: Rig, name: str) -> bool:
    return name in rig.base.background.failing()


def ask(rig: Rig) -> pb.ExchangeTokenRequest:
    token = rig.issuer.token(rig.clock.now(), jti=str(next(NUMBERS)))  # the audience takes each token once
    return pb.ExchangeTokenRequest(subject_token=token, audience=OPEN_AUDIENCE)


async def test_a_listener_that_ended_keeps_the_service_from_being_ready(
    rig: Rig, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = rig.app.listeners.public._server
    assert server is not None
    server.should_exit = True

    async def failing() -> object:
        return rig.base.background.failing()

    await until(failing)  # the clock stands still, so that it is not started again yet
    assert rig.base.readiness.problems()["http"] == "it ended unexpectedly"
    await rig.until(lambda: not rig.base.readiness.problems())
    async with plain_http.client() as http:
        assert (await http.get(rig.url("http", "/.well-known/jwks.json"))).status_code == 200


async def test_the_health_service_follows_readiness_also_where_a_look_fails(
    rig: Rig, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def status() -> int:
        stub: Any = health_pb2_grpc.HealthStub(rig.data)
        return int((await stub.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE)).status)

    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    for wanted in (not_serving, serving):
        with monkeypatch.context() as patch:
            if wanted == not_serving:
                patch.setattr(rig.parts.signing_keys, "in_use", Broken())
                patch.setattr(rig.base.metrics, "state", Broken())
            async with asyncio.timeout(DEADLINE):
                while await status() != wanted:
                    clock.advance(0.5)


async def test_what_a_reload_replaces_does_not_come_back(rig: Rig, clock: FakeClock) -> None:
    before = rig.base.background.running()
    old = list(rig.app.reloads.following)
    await asyncio.gather(*(rig.app.reload(rig.settings()) for _ in range(5)))
    assert rig.base.background.running() == before
    assert all(task.cancelled() for task in old)
    rig.config.write_text(rig.config.read_text().replace("[providers.idp]", "[providers.idp]\n# once more"))
    await rig.app.reload(rig.settings())
    assert rig.base.background.running() == before
    assert len(rig.app.reloads.following) == 1
