"""A log that nobody reads, that was closed, or whose disk is full: calls are answered, and the service says so."""

import asyncio
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests import plain_http
from tests.depth import depth
from tests.forked import ForkedWithLog
from tests.issuer import Issuer
from tests.polling import pause
from tests.process import Service, ServiceWithLog, configure

from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import key_set_service_pb2 as key_set_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub
from tokenmint.v1.key_set_service_pb2_grpc import KeySetServiceStub
from tokenmint.v1.signing_key_pb2 import SigningKey
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.processes

AUDIENCE = "https://orders.example"
CALLS = depth(500, 2000)  # each logs a line, and the pipe holds a dozen
FEW = 200
AT_ONCE = 20
END = b"the end of the log\n"
PIPE = 4096  # bytes: the smallest that a pipe can hold


@contextmanager
def unread() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that nobody reads, the one to write to last."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def gone() -> Iterator[int]:
    """The end to write to of a pipe whose reader has gone: EPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@contextmanager
def full() -> Iterator[int]:
    """A device that has no room: ENOSPC."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def exchanges(service: Service, issuer: Issuer, count: int) -> list[str]:
    """Exchange tokens of ``count`` different people; return the names of the codes of those that failed."""
    await until_counted(service, 'tokenmint_provider_keys_at_hand{provider="idp"} 1.0')  # a busy machine takes a while
    failed: list[str] = []
    numbers = iter(range(count))

    async def some(stub: Any) -> None:
        for number in numbers:
            request = pb.ExchangeTokenRequest(
                subject_token=issuer.token(time.time(), sub=f"p{number % 50}"), audience=AUDIENCE
            )
            try:
                await stub.ExchangeToken(request, **service.auth())
            except grpc.aio.AioRpcError as error:
                failed.append(f"{error.code().name} {error.details()}")

    async with grpc.aio.insecure_channel(service.listen["grpc"]) as channel:
        stub = TokenExchangeServiceStub(channel)
        await asyncio.gather(*(some(stub) for _ in range(AT_ONCE)))
    return failed


async def everything_else(service: Service) -> None:
    """Revoke the key that signs, and ask for health, the key set, and readiness."""
    async with (
        grpc.aio.insecure_channel(service.listen["grpc"]) as data,
        grpc.aio.insecure_channel(service.listen["admin"]) as admin,
        plain_http.client(timeout=20) as http,
    ):
        keys: Any = KeyAdminServiceStub(admin)
        listed = await keys.ListSigningKeys(keys_pb.ListSigningKeysRequest(), **service.auth("root"))
        active = next(key for key in listed.signing_keys if SigningKey.State.Name(key.state) == "STATE_ACTIVE")
        revoke = keys_pb.RevokeSigningKeyRequest(key_id=active.key_id, reason="drill")
        assert (await keys.RevokeSigningKey(revoke, **service.auth("root"))).signing_key.key_id == active.key_id
        health: Any = HealthStub(data)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        key_set: Any = KeySetServiceStub(data)
        assert (await key_set.GetKeySet(key_set_pb.GetKeySetRequest(), timeout=20)).keys
        jwks = await http.get(f"http://{service.listen['http']}/.well-known/jwks.json")
        assert jwks.json()["keys"]


async def state(service: Service) -> tuple[dict[str, Any], str]:
    """Return what /readyz and /metrics say."""
    async with plain_http.client(timeout=20) as http:
        ready = (await http.get(f"http://{service.listen['ops']}/readyz")).json()
        return ready, (await http.get(f"http://{service.listen['ops']}/metrics")).text


async def until(service: Service, subject: str, words: str) -> dict[str, Any]:
    """Ask until the details say ``words`` of a subject ("": nothing); return what /readyz says then."""
    async with asyncio.timeout(60):
        while True:
            told, _ = await state(service)
            said = told["details"].get(subject, "")
            if words in said if words else not said:
                return told
            await pause()


async def until_counted(service: Service, line: str) -> None:
    """Ask until /metrics has a line."""
    async with asyncio.timeout(60):
        while line not in (await state(service))[1]:
            await pause()


def read_all(descriptor: int, parts: list[bytes]) -> str:
    """Read until ``END``, and show what came so far in ``parts``."""
    while not b"".join(parts[-2:]).endswith(END):
        parts.append(os.read(descriptor, 65536))
    return b"".join(parts).removesuffix(END).decode()


def children(pid: int) -> list[int]:
    """The workers of a supervisor."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    found = [int(child) for child in text.split()]
    return [child for child in found if b"tokenmint.process.worker" in (Path(f"/proc/{child}/cmdline").read_bytes())]


@pytest.mark.deep
async def test_a_log_that_nobody_reads_stops_no_call_and_no_stop(
    tmp_path: Path, issuer: Issuer, transport: str
) -> None:  # fmt: skip
    configure(tmp_path, issuer.url)
    with unread() as (_, descriptor), ForkedWithLog(tmp_path, descriptor, TOKENMINT_LISTEN__TRANSPORT=transport
    ) as service:  # fmt: skip
        assert await exchanges(service, issuer, CALLS) == []
        await everything_else(service)
        told = await until(service, "log", "nothing has read the log for")
        assert told["ready"]
        await until_counted(service, "tokenmint_log_broken 1.0")
        assert service.stop() == 0


@pytest.mark.drill
async def test_a_log_that_nobody_reads_stops_no_supervisor(tmp_path: Path, issuer: Issuer) -> None:
    configure(tmp_path, issuer.url)
    with unread() as (_, descriptor), ForkedWithLog(tmp_path, descriptor, "--workers", "2") as service:
        assert await exchanges(service, issuer, FEW) == []
        await everything_else(service)
        await until(service, "log", "nothing has read the log for")
        worker, *_ = children(service.process.pid)
        os.kill(worker, signal.SIGKILL)  # the supervisor says so, and nobody reads it
        async with asyncio.timeout(60):
            while worker in (now := children(service.process.pid)) or len(now) < 2:
                await pause()
        assert service.stop() == 0


async def test_a_log_that_is_read_again_has_every_line(tmp_path: Path, issuer: Issuer, transport: str) -> None:
    """Nothing was dropped, since there was room: what a slow reader holds up is late, and whole."""
    configure(tmp_path, issuer.url)
    with unread() as (reading, descriptor), ForkedWithLog(tmp_path, descriptor, TOKENMINT_LISTEN__TRANSPORT=transport
    ) as service:  # fmt: skip
        assert await exchanges(service, issuer, FEW) == []
        await until(service, "log", "nothing has read the log for")
        parts: list[bytes] = []
        read = asyncio.create_task(asyncio.to_thread(read_all, reading, parts))
        await until(service, "log", "")
        await until_counted(service, "tokenmint_log_broken 0.0")
        assert "tokenmint_log_dropped_total 0.0" in (await state(service))[1]
        async with asyncio.timeout(60):  # an end waits for a second, which may be too short on a busy machine
            while b"".join(parts).count(b'"kind":"exchange"') < FEW:
                await pause()
        assert service.stop() == 0
        os.write(descriptor, END)  # nobody else has this end any more
        lines = [json.loads(line) for line in (await read).splitlines()]
    events = [line for line in lines if line["event"] == "audit" and line["kind"] == "exchange"]
    assert len(events) == FEW
    assert {event["outcome"] for event in events} == {"done"}


@pytest.mark.parametrize(("broken", "name"), [(gone, "EPIPE"), (full, "ENOSPC")], ids=["reader gone", "disk full"])
async def test_a_log_that_fails_fails_no_call(
    tmp_path: Path, issuer: Issuer, transport: str, broken: Any, name: str
) -> None:
    configure(tmp_path, issuer.url)
    with broken() as descriptor, ForkedWithLog(tmp_path, descriptor, TOKENMINT_LISTEN__TRANSPORT=transport
    ) as service:  # fmt: skip
        assert await exchanges(service, issuer, FEW) == []
        await everything_else(service)
        told = await until(service, "log", f"the log can't be written ({name})")
        assert told["ready"]
        await until_counted(service, "tokenmint_log_broken 1.0")
        assert service.stop() == 0


@pytest.mark.drill
@pytest.mark.parametrize(
    ("transport", "workers"),
    [("grpcio", []), ("native", ["--workers", "2"])],
    ids=["one process", "workers, and the other transport"],
)
async def test_a_standard_error_that_is_closed_stands_for_no_other_file(
    tmp_path: Path, issuer: Issuer, transport: str, workers: list[str]
) -> None:
    """The first socket would get its number, and lines of the log would be sent to the store."""
    configure(tmp_path, issuer.url)
    with ServiceWithLog(tmp_path, None, *workers, TOKENMINT_LISTEN__TRANSPORT=transport) as service:
        assert os.path.samefile(f"/proc/{service.process.pid}/fd/2", os.devnull)  # noqa: ASYNC240,PTH121  # at once
        assert await exchanges(service, issuer, FEW) == []
        await everything_else(service)
        told = await until(service, "log", "the log")
        assert told["ready"]
        assert service.stop() == 0
