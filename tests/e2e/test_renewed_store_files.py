"""Certificates and passwords for the store and its sentinel, renewed while the service has calls in hand."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.fakes import FakeClock
from tests.rig import OPEN_AUDIENCE, PATIENCE, Rig, Serve, refusal
from tests.tls import authority
from tests.unit.storage.test_store_identity import WATCHER, asking, show
from tests.unit.storage.test_store_tls import LOG, PASSWORD, bulk, only_tls, sentinel
from tests.wire import Engine, Wire

pytestmark = pytest.mark.processes

OPTIONS = PATIENCE + (
    'ca_file = "store-ca.crt"\ncert_file = "client.crt"\nkey_file = "client.key"\n'
    'password_file = "password"\nsentinel_password_file = "watcher"\n'
)


class Site:
    """A primary and its sentinel behind wires that end TLS and record, and the files of the service for them."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.directory = directory
        self.ca, self.clients = authority(), authority("Clients")
        self.write("store-ca.crt", self.ca.pem)
        self.write("password", PASSWORD.encode())
        self.write("watcher", WATCHER.encode())
        show(directory, self.clients)
        tls = asking(directory, self.ca, self.clients)
        self.engine = stack.enter_context(Engine(directory / "engine", *LOG, password=PASSWORD))
        self.wire = stack.enter_context(Wire(self.engine.port, tls=tls))
        self.watcher = stack.enter_context(sentinel(directory, self.engine.port))
        self.watcher.client.execute_command("ACL", "SETUSER", "default", "resetpass", f">{WATCHER}")
        announced = {bulk(self.engine.port): bulk(self.wire.port)}
        self.to_sentinel = stack.enter_context(Wire(self.watcher.port, tls=tls, replace=announced))

    @property
    def url(self) -> str:
        return f"rediss+sentinel://localhost:{self.to_sentinel.port}/primary"

    def write(self, name: str, content: bytes) -> None:
        (self.directory / name).write_bytes(content)


@pytest.fixture
def site(tmp_path: Path) -> Any:
    with contextlib.ExitStack() as stack:
        yield Site(tmp_path, stack)


@pytest.fixture
async def rig(serve: Serve, site: Site) -> AsyncIterator[Rig]:
    async with serve(redis_url=site.url, patience=f'url = "{site.url}"\n{OPTIONS}') as service:
        yield service


class Caller:
    """Calls without a pause, each of which reads and writes the store; the first failure ends it."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._numbers = itertools.count()
        self.calls = 0
        self.task: asyncio.Task[None] | None = None

    async def once(self) -> None:
        token = self._rig.issuer.token(self._rig.clock.now(), jti=f"t{next(self._numbers)}")
        await self._rig.exchange.ExchangeToken(self._rig.request(token, OPEN_AUDIENCE), **self._rig.auth("web"))
        self.calls += 1

    async def _forever(self) -> None:
        while True:
            await self.once()

    async def __aenter__(self) -> "Caller":
        self.task = asyncio.ensure_future(self._forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task  # raises where a call failed

    async def several(self) -> None:
        """Wait for more calls, and for looks at the files."""
        before, task = self.calls, self.task
        await self._rig.let_pass(1)
        await self._rig.until(lambda: self.calls > before + 3 or (task is not None and task.done()))


def generations(rig: Rig) -> list[int]:
    return [files.generation for files in rig.parts.store.server.files]


async def test_no_call_is_lost_while_the_stores_files_are_renewed(rig: Rig, site: Site, clock: FakeClock) -> None:
    """Each file is also missing, and half written, in between."""
    certificate, key = site.clients.issue("tokenmint", serial=101)
    site.engine.client.execute_command("ACL", "SETUSER", "default", ">the-next-password")
    site.watcher.client.execute_command("ACL", "SETUSER", "default", ">the-next-watcher")
    async with Caller(rig) as caller:
        for names, contents in (
            (("store-ca.crt",), (site.ca.pem + authority("The next one").pem,)),
            (("client.crt", "client.key"), (certificate, key)),
            (("password",), (b"the-next-password",)),
            (("watcher",), (b"the-next-watcher",)),
        ):
            for name in names:
                (site.directory / name).unlink()
            await caller.several()
            for name in names:
                site.write(name, b"\n")
            await caller.several()
            await rig.until(lambda: rig.base.readiness.details().get("files"))
            for name, content in zip(names, contents, strict=True):
                site.write(name, content)
            await rig.until(lambda: not rig.base.readiness.details().get("files"))
            await caller.several()
    assert generations(rig) == [2, 1, 1]
    only_tls(site.wire, site.to_sentinel)


async def test_what_the_store_no_longer_takes_is_not_shown_to_it(rig: Rig, site: Site, clock: FakeClock) -> None:
    """Passwords that were replaced on both sides: new connections, to the sentinel too, are made with the new ones."""
    for engine, name, before in ((site.engine, "password", PASSWORD), (site.watcher, "watcher", WATCHER)):
        engine.client.execute_command("ACL", "SETUSER", "default", f">the-next-{name}")
        site.write(name, f"the-next-{name}".encode())
        await rig.until(lambda: sum(generations(rig)) >= 1)
        engine.client.execute_command("ACL", "SETUSER", "default", f"<{before}")
    await rig.until(lambda: sum(generations(rig)) == 2)
    connections = len(site.to_sentinel.first)
    assert site.wire.reset()
    site.to_sentinel.reset()
    caller = Caller(rig)
    with contextlib.suppress(grpc.aio.AioRpcError):
        await caller.once()  # it may have been on its way
    await caller.once()
    assert len(site.to_sentinel.first) > connections
    only_tls(site.wire, site.to_sentinel)


async def test_withdrawn_authorities_stop_every_call_until_they_are_back(
    rig: Rig, site: Site, clock: FakeClock
) -> None:
    caller = Caller(rig)
    await caller.once()
    site.write("store-ca.crt", authority("Another").pem)
    await rig.until(lambda: generations(rig)[0] == 1)
    token = rig.issuer.token(clock.now(), jti="refused")
    told = await refusal(rig.exchange.ExchangeToken(rig.request(token, OPEN_AUDIENCE), **rig.auth("web")))
    assert told.code is grpc.StatusCode.UNAVAILABLE
    site.write("store-ca.crt", site.ca.pem)
    await rig.until(lambda: generations(rig)[0] == 2)
    await caller.once()
    only_tls(site.wire, site.to_sentinel)
