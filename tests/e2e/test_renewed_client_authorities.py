"""Authorities of clients over gRPC that are renewed and withdrawn, while a client of the new one calls on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from tests.fakes import FakeClock
from tests.rig import DEADLINE, GRPC_TLS, Rig, Serve, write_tls
from tests.tls import Authority, authority

from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

SPIFFE = "spiffe://mesh.example/web"
EXTRA = f"""
[clients.mesh]
certificates = ["{SPIFFE}"]

[audiences."https://mesh.example"]
clients = ["mesh"]
providers = ["idp"]
on_missing_profile = "without"
"""


@pytest.fixture
def ca() -> Authority:
    return authority()


@pytest.fixture
async def rig(serve: Serve, tmp_path: Path, ca: Authority) -> AsyncIterator[Rig]:
    write_tls(tmp_path, ca)
    (tmp_path / "server-ca.crt").write_bytes(ca.pem)
    async with serve(EXTRA, listen=GRPC_TLS) as service:
        yield service


async def proved(rig: Rig, directory: Path, pair: tuple[bytes, bytes]) -> bool:
    """Return whether a certificate on a new connection gets a token."""
    certificate, key = pair
    credentials = grpc.ssl_channel_credentials((directory / "server-ca.crt").read_bytes(), key, certificate)
    async with grpc.aio.secure_channel(rig.app.listen["grpc"], credentials) as channel:
        try:
            await TokenExchangeServiceStub(channel).ExchangeToken(
                rig.request(audience="https://mesh.example"), timeout=DEADLINE
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
    return True


async def until(rig: Rig, directory: Path, clock: FakeClock, pair: tuple[bytes, bytes], *, accepted: bool) -> None:
    async with asyncio.timeout(DEADLINE):
        while await proved(rig, directory, pair) is not accepted:
            await rig.let_pass(1)


async def test_clients_of_a_withdrawn_authority_get_no_connection_and_others_lose_no_call(
    rig: Rig, tmp_path: Path, ca: Authority, clock: FakeClock
) -> None:
    other = authority("Other")
    before, after = (one.issue("mesh", SPIFFE) for one in (ca, other))
    await until(rig, tmp_path, clock, before, accepted=True)
    assert not await proved(rig, tmp_path, after)
    (tmp_path / "ca.crt").write_bytes(ca.pem + other.pem)
    await until(rig, tmp_path, clock, after, accepted=True)
    assert await proved(rig, tmp_path, before)

    lost: list[bool] = []
    ended = asyncio.Event()

    async def call_on() -> None:
        while not ended.is_set():
            lost.append(not await proved(rig, tmp_path, after))

    calling = asyncio.ensure_future(call_on())
    for broken in (b"", b"half a certif", ca.pem[:-40], None):
        if broken is None:
            (tmp_path / "ca.crt").unlink()
        else:
            (tmp_path / "ca.crt").write_bytes(broken)
        await rig.let_pass(1)
        await rig.until(lambda: rig.base.readiness.details().get("files"))  # a background task brings it about
        assert await proved(rig, tmp_path, before)  # the last good ones
    (tmp_path / "ca.crt").write_bytes(other.pem)
    await until(rig, tmp_path, clock, before, accepted=False)
    ended.set()
    await calling
    assert lost
    assert not any(lost)
    assert await proved(rig, tmp_path, after)
