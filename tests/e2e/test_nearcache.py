"""With a near cache: what is remembered of a principal never outlives what is told of it, here or elsewhere."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.conftest import PATIENT
from tests.fakes import FakeEntropy
from tests.polling import pause
from tests.rig import AUDIENCE, Rig, Serve, person, refusal

from tokenmint.profiles.eraser import ProfileEraser
from tokenmint.profiles.erasure import Erasures
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES
from tokenmint.profiles.store import ProfileStore
from tokenmint.storage.reading import Reading
from tokenmint.storage.redis import Store
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Profile


@pytest.fixture
async def rig(serve: Serve, transport: str) -> AsyncIterator[Rig]:
    cached = "\n[caches]\nprofiles = 100\n"
    async with serve(cached, transport=transport) as service:
        await service.create(person("ada", "1842", "clerk"))
        yield service


def exchange(rig: Rig) -> "grpc.aio.UnaryUnaryCall[pb.ExchangeTokenRequest, pb.ExchangeTokenResponse]":
    asked = pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now()), audience=AUDIENCE)
    return rig.exchange.ExchangeToken(asked, **rig.auth("web"))


async def remembered(rig: Rig) -> None:
    """Exchange until the principal's profile and identity come from memory."""
    async with asyncio.timeout(20):
        while not (len(rig.parts.near) == 2 and rig.parts.near.live):
            assert (await exchange(rig)).token


async def test_a_principal_is_remembered_and_read_no_more(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await remembered(rig)

    async def unasked(keys: object) -> Reading:
        raise AssertionError(f"the store was asked for {keys}")

    monkeypatch.setattr(rig.parts.near._store, "read_many", unasked)
    assert (await exchange(rig)).token


async def test_who_is_disabled_here_is_refused_from_then_on(rig: Rig) -> None:
    await remembered(rig)
    change = profiles_pb.UpdateProfileRequest(
        profile=Profile(principal="ada", disabled=True), update_mask=FieldMask(paths=["disabled"])
    )
    await rig.profiles.UpdateProfile(change, **rig.auth("root"))
    assert (await refusal(exchange(rig))).reason == "PRINCIPAL_DISABLED"


async def test_who_is_disabled_by_another_replica_is_refused_as_soon_as_it_is_told(
    rig: Rig, redis_url: str, redis_prefix: str
) -> None:
    await remembered(rig)
    other = await Store.open(redis_url, prefix=redis_prefix, options=PATIENT)
    try:
        await ProfileStore(other, rig.clock).update("ada", disabled=True)
    finally:
        await other.close()
    async with asyncio.timeout(20):
        told = ""
        while not told:
            try:
                await exchange(rig)
            except grpc.aio.AioRpcError as refused:
                told = refused.details() or ""
            await pause()
    assert "disabled" in told


async def test_a_person_that_another_replica_erased_is_refused_as_soon_as_it_is_told(
    rig: Rig, redis_url: str, redis_prefix: str
) -> None:
    await remembered(rig)
    other = await Store.open(redis_url, prefix=redis_prefix, options=PATIENT)
    try:
        near = NearCache(other, PREFIXES, 0, rig.clock)
        erasures = Erasures(other, near, rig.clock, rig.parts.signing.sealer, FakeEntropy())
        profiles = ProfileStore(other, rig.clock, near, erasures=erasures)
        assert await ProfileEraser(profiles, other, near, erasures).erase("ada", allow_return=False) == (True, 1)
    finally:
        await other.close()
    async with asyncio.timeout(20):
        told = ""
        while not told:
            try:
                await exchange(rig)
            except grpc.aio.AioRpcError as refused:
                told = refused.details() or ""
            await pause()
    assert "disabled" in told
    assert (await refusal(exchange(rig))).reason == "PRINCIPAL_DISABLED"  # also when the rest is told
