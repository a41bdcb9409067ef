"""Another program wrote a value of another type under a key of ours: a corrupt record, while the store is there."""

import grpc
import pytest
from tests.rig import AUDIENCE, Rig, Serve, person, refusal
from tests.sockets import answer, get, place

from tokenmint.model.profile import Identity
from tokenmint.profiles.records import identity_key
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb


@pytest.mark.parametrize("cached", [0, 100])
async def test_a_profile_or_identity_of_another_type_is_a_corrupt_record(
    serve: Serve, transport: str, cached: int
) -> None:
    async with serve(f"\n[caches]\nprofiles = {cached}\n", transport=transport) as rig:
        await rig.create(person("ada", "1842"), person("bob", "7"))
        for key in (identity_key(Identity("idp", "1842")), "profile:ada"):
            before = await rig.parts.store.get(key)
            await replace(rig, key, None)
            for _ in range(2):
                told = await refusal(rig.exchange.ExchangeToken(rig.request(), **rig.auth("web")))
                assert (told.code, told.reason) == (grpc.StatusCode.INTERNAL, "CORRUPT_RECORD")
                assert "WRONGTYPE" not in str(told)
            others = rig.request(rig.issuer.token(rig.clock.now(), sub="7"))
            assert (await rig.exchange.ExchangeToken(others, **rig.auth("web"))).token
            await replace(rig, key, before)
            assert (await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))).token
        shown = (await answer(place(rig.app.listen["ops"]), get("/metrics"))).decode()
        assert 'tokenmint_store_errors_total{reason="STORE_UNAVAILABLE"} 0.0' in shown


async def test_operators_are_told_of_it_with_every_method(rig: Rig) -> None:
    await rig.create(person("ada", "1842"))
    await replace(rig, "profile:ada", None)
    for call in (
        rig.profiles.GetProfile(profiles_pb.GetProfileRequest(principal="ada"), **rig.auth("root")),
        rig.profiles.DeleteProfile(profiles_pb.DeleteProfileRequest(principal="ada"), **rig.auth("root")),
        rig.profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=person("ada", "9")), **rig.auth("root")),
    ):
        told = await refusal(call)
        assert (told.code, told.reason) == (grpc.StatusCode.INTERNAL, "CORRUPT_RECORD")


async def test_a_client_whose_rate_limit_is_of_another_type_is_limited_locally(rig: Rig) -> None:
    await rig.create(person("ada", "1842"))
    for key in ("rate:client:web", "rate:all"):
        await replace(rig, key, None)
    for _ in range(3):
        assert (await rig.exchange.ExchangeToken(rig.request(audience=AUDIENCE), **rig.auth("web"))).token


async def replace(rig: Rig, key: str, value: bytes | None) -> None:
    """Write ``value``, or a hash, under a key, as another program does."""
    client, name = rig.parts.store.server.client, rig.parts.store.prefix + key
    await client.delete(name)
    await (client.set(name, value) if value is not None else client.hset(name, "a", "b"))
