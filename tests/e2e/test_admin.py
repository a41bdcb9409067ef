"""The operators' API over real gRPC: keys, profiles, providers, and who may do what."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.fakes import FakeClock
from tests.rig import AUDIENCE, Rig, Serve, refusal

from tokenmint.admission import access
from tokenmint.admission.callers import Role
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import key_set_service_pb2 as key_set_pb
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1 import provider_admin_service_pb2 as providers_pb
from tokenmint.v1 import token_exchange_service_pb2 as exchange_pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.signing_key_pb2 import SigningKey

DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture
async def rig(serve: Serve) -> AsyncIterator[Rig]:
    async with serve("\n[limits]\nwatch_streams_per_peer = 2\n") as service:
        yield service


@pytest.fixture
def ada() -> Iterator[Profile]:
    profile = Profile(principal="ada", identities=[Identity(provider="idp", subject="1842")], roles=["clerk"])
    profile.claims.update({"tenant": "t", "level": 3, "ratio": 0.5, "nested": {"a": [1, "x", None]}})
    return iter([profile])


async def create(rig: Rig, profile: Profile, **fields: Any) -> Profile:
    request = pb.CreateProfileRequest(profile=profile, **fields)
    return (await rig.profiles.CreateProfile(request, **rig.auth("root"))).profile


async def test_a_profile_through_its_life(rig: Rig, ada: Iterator[Profile], clock: FakeClock) -> None:
    profile = next(ada)
    root = rig.auth("root")
    created = await create(rig, profile)
    assert created.create_time.seconds == int(clock.now())
    assert created.claims == profile.claims
    found = await rig.profiles.GetProfile(pb.GetProfileRequest(identity=profile.identities[0]), **root)
    assert found.profile == created
    update = pb.UpdateProfileRequest(
        profile=Profile(principal="ada", disabled=True, roles=["ignored"], etag=created.etag),
        update_mask=FieldMask(paths=["disabled"]),
    )
    changed = (await rig.profiles.UpdateProfile(update, **root)).profile
    assert (changed.disabled, list(changed.roles), changed.claims) == (True, ["clerk"], created.claims)
    told = await refusal(rig.profiles.UpdateProfile(update, **root))
    assert (told.code, told.reason) == (grpc.StatusCode.ABORTED, "CONFLICT")
    other = Identity(provider="google", subject="7")
    linked = await rig.profiles.LinkIdentity(pb.LinkIdentityRequest(principal="ada", identity=other), **root)
    assert len(linked.profile.identities) == 2
    unlinked = await rig.profiles.UnlinkIdentity(pb.UnlinkIdentityRequest(principal="ada", identity=other), **root)
    assert len(unlinked.profile.identities) == 1
    revoked = await rig.profiles.RevokePrincipalTokens(pb.RevokePrincipalTokensRequest(principal="ada"), **root)
    assert revoked.tokens_valid_after_time.seconds > 0
    listed = await rig.profiles.ListProfiles(pb.ListProfilesRequest(), **root)
    assert [item.principal for item in listed.profiles] == ["ada"]
    await rig.profiles.DeleteProfile(pb.DeleteProfileRequest(principal="ada"), **root)
    told = await refusal(rig.profiles.GetProfile(pb.GetProfileRequest(principal="ada"), **root))
    assert (told.code, told.details) == (grpc.StatusCode.NOT_FOUND, ("ResourceInfo",))
    told = await refusal(rig.profiles.CreateProfile(pb.CreateProfileRequest(profile=profile), **root))
    assert (told.code, told.details) == (grpc.StatusCode.FAILED_PRECONDITION, ("PreconditionFailure",))
    assert (await create(rig, profile, replace_deleted=True)).principal == "ada"


async def test_requests_that_can_not_be_meant(rig: Rig) -> None:
    root = rig.auth("root")
    calls: list[tuple[Any, set[str]]] = [
        (rig.profiles.GetProfile(pb.GetProfileRequest(), **root), {"selector"}),
        (rig.profiles.CreateProfile(pb.CreateProfileRequest(), **root), {"profile.principal"}),
        (
            rig.profiles.UpdateProfile(
                pb.UpdateProfileRequest(
                    profile=Profile(principal="a", roles=[""]), update_mask=FieldMask(paths=["roles", "identities"])
                ),
                **root,
            ),
            {"update_mask", "profile.roles[0]"},
        ),
        (rig.profiles.UpdateProfile(pb.UpdateProfileRequest(), **root), {"profile.principal", "update_mask"}),
        (
            rig.profiles.LinkIdentity(pb.LinkIdentityRequest(principal="a b"), **root),
            {"principal", "identity.provider", "identity.subject"},
        ),
        (rig.profiles.ListProfiles(pb.ListProfilesRequest(page_size=1001), **root), {"page_size"}),
        (rig.profiles.ListProfiles(pb.ListProfilesRequest(page_token="x"), **root), {"page_token"}),
        (rig.keys.ListSigningKeys(keys_pb.ListSigningKeysRequest(page_token="-1"), **root), {"page_token"}),
        (rig.keys.GetSigningKey(keys_pb.GetSigningKeyRequest(), **root), {"key_id"}),
        (rig.keys.RevokeSigningKey(keys_pb.RevokeSigningKeyRequest(), **root), {"key_id", "reason"}),
        (rig.keys.RotateSigningKey(keys_pb.RotateSigningKeyRequest(algorithm="HS256"), **root), {"algorithm"}),
    ]
    from google.rpc.error_details_pb2 import BadRequest

    for call, fields in calls:
        told = await refusal(call)
        assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        bad = BadRequest()
        assert any(detail.Unpack(bad) for detail in told.status.details)
        assert {item.field for item in bad.field_violations} == fields


async def test_an_import_says_what_became_of_each(rig: Rig) -> None:
    await create(rig, Profile(principal="gone"))
    await rig.profiles.DeleteProfile(pb.DeleteProfileRequest(principal="gone"), **rig.auth("root"))
    profiles = [
        Profile(principal="a"), Profile(principal="b"), Profile(principal="a", roles=["x"]), Profile(principal="gone"),
        Profile(principal="no name"),
    ]  # fmt: skip
    requests = [pb.ImportProfilesRequest(profile=profile) for profile in profiles]
    answer = await rig.profiles.ImportProfiles(iter(requests), **rig.auth("root"))
    assert (answer.created_count, answer.updated_count, answer.failed_count) == (2, 1, 2)
    assert [(item.index, item.principal, item.reason) for item in answer.failures] == [
        (3, "gone", "WRONG_STATE"),
        (4, "no name", "INVALID_REQUEST"),
    ]


async def test_tokens_from_before_a_revocation_are_refused(rig: Rig, ada: Iterator[Profile]) -> None:
    await create(rig, next(ada))
    await rig.profiles.RevokePrincipalTokens(pb.RevokePrincipalTokensRequest(principal="ada"), **rig.auth("root"))
    # The store's clock is the machine's; the test's is ahead of it, so an older token is one of the machine's past.
    old = rig.issuer.token(1_700_000_000, exp=int(rig.clock.now()) + 60)
    request = exchange_pb.ExchangeTokenRequest(subject_token=old, audience=AUDIENCE)
    told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "REVOKED")


@pytest.mark.rsa
async def test_the_keys_through_their_life(rig: Rig, clock: FakeClock) -> None:
    root = rig.auth("root")
    listed = await rig.keys.ListSigningKeys(keys_pb.ListSigningKeysRequest(), **root)
    states = sorted((key.algorithm, SigningKey.State.Name(key.state)) for key in listed.signing_keys)
    assert states == [
        ("ES256", "STATE_ACTIVE"), ("ES256", "STATE_PREPARED"), ("RS256", "STATE_ACTIVE"), ("RS256", "STATE_PREPARED"),
    ]  # fmt: skip
    prepared = next(k for k in listed.signing_keys if k.algorithm == "ES256" and k.state == SigningKey.STATE_PREPARED)
    assert prepared.name == f"signingKeys/{prepared.key_id}"
    assert prepared.activate_time.seconds == int(clock.now()) + 86470
    same = await rig.keys.PrepareSigningKey(keys_pb.PrepareSigningKeyRequest(algorithm="ES256"), **root)
    assert same.signing_key.key_id == prepared.key_id
    told = await refusal(rig.keys.ActivateSigningKey(keys_pb.ActivateSigningKeyRequest(key_id=prepared.key_id), **root))
    assert (told.code, told.details) == (grpc.StatusCode.FAILED_PRECONDITION, ("PreconditionFailure",))
    forced = await rig.keys.ActivateSigningKey(
        keys_pb.ActivateSigningKeyRequest(key_id=prepared.key_id, force=True, etag=prepared.etag), **root
    )
    assert (forced.signing_key.state, forced.verifiers_may_miss.seconds) == (SigningKey.STATE_ACTIVE, 86470)
    told = await refusal(
        rig.keys.RotateSigningKey(
            keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True, etag=prepared.etag), **root
        )
    )
    assert told.code is grpc.StatusCode.ABORTED
    revoked = await rig.keys.RevokeSigningKey(
        keys_pb.RevokeSigningKeyRequest(key_id=prepared.key_id, reason="drill"), **root
    )
    assert (revoked.signing_key.state, revoked.signing_key.revoke_reason) == (SigningKey.STATE_REVOKED, "drill")
    assert revoked.verifiers_may_accept.seconds == 3660
    found = await rig.keys.GetSigningKey(keys_pb.GetSigningKeyRequest(key_id=prepared.key_id), **root)
    assert found.signing_key == revoked.signing_key
    told = await refusal(rig.keys.GetSigningKey(keys_pb.GetSigningKeyRequest(key_id="none"), **root))
    assert told.code is grpc.StatusCode.NOT_FOUND
    page = await rig.keys.ListSigningKeys(keys_pb.ListSigningKeysRequest(page_size=2), **root)
    rest = await rig.keys.ListSigningKeys(
        keys_pb.ListSigningKeysRequest(page_size=1000, page_token=page.next_page_token), **root
    )
    assert (len(page.signing_keys), rest.next_page_token) == (2, "")
    assert not {key.key_id for key in page.signing_keys} & {key.key_id for key in rest.signing_keys}
    keys = await rig.key_set.GetKeySet(key_set_pb.GetKeySetRequest(), timeout=10)
    assert prepared.key_id not in keys.jwks_json
    assert {key.kid for key in keys.keys} == {
        key.key_id for key in [*page.signing_keys, *rest.signing_keys] if key.state != SigningKey.STATE_REVOKED
    }


async def test_providers_and_their_keys(rig: Rig, clock: FakeClock) -> None:
    root = rig.auth("root")
    listed = await rig.providers.ListProviders(providers_pb.ListProvidersRequest(), **root)
    assert [item.name for item in listed.providers] == ["idp"]
    provider = listed.providers[0]
    assert (provider.issuer, list(provider.audiences), list(provider.key_ids)) == (rig.issuer.url, ["app"], ["k1"])
    assert provider.fresh_until_time.seconds == int(clock.now()) + 300
    rig.issuer.status = 500
    told = await refusal(
        rig.providers.RefreshProviderKeys(providers_pb.RefreshProviderKeysRequest(provider="idp"), **root)
    )
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "KEY_SET_UNAVAILABLE")
    after = (await rig.providers.GetProvider(providers_pb.GetProviderRequest(provider="idp"), **root)).provider
    assert "answered 500" in after.last_error
    assert list(after.key_ids) == ["k1"]
    told = await refusal(rig.providers.GetProvider(providers_pb.GetProviderRequest(provider="x"), **root))
    assert told.code is grpc.StatusCode.NOT_FOUND


async def test_a_viewer_only_looks(rig: Rig) -> None:
    guest = rig.auth("guest")
    assert await rig.keys.ListSigningKeys(keys_pb.ListSigningKeysRequest(), **guest)
    for call in (
        rig.keys.RotateSigningKey(keys_pb.RotateSigningKeyRequest(), **guest),
        rig.keys.RevokeSigningKey(keys_pb.RevokeSigningKeyRequest(), **guest),
        rig.profiles.CreateProfile(pb.CreateProfileRequest(), **guest),
        rig.profiles.RevokePrincipalTokens(pb.RevokePrincipalTokensRequest(), **guest),
        rig.providers.RefreshProviderKeys(providers_pb.RefreshProviderKeysRequest(), **guest),
    ):
        told = await refusal(call)
        assert (told.code, told.reason) == (DENIED, "METHOD_DENIED")


async def test_forcing_needs_the_security_role(rig: Rig) -> None:
    text = rig.config.read_text().replace('roles = ["viewer"]', 'roles = ["viewer", "operator"]')
    rig.config.write_text(text)
    await rig.app.reload(rig.settings())
    guest = rig.auth("guest")
    told = await refusal(
        rig.keys.RotateSigningKey(keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True), **guest)
    )
    assert (told.code, told.reason) == (DENIED, "METHOD_DENIED")
    assert await rig.keys.PrepareSigningKey(keys_pb.PrepareSigningKeyRequest(algorithm="ES256"), **guest)


def test_every_method_of_the_api_is_in_the_access_table() -> None:
    import importlib
    import pkgutil

    import tokenmint.v1

    names = [module.name for module in pkgutil.iter_modules(tokenmint.v1.__path__) if module.name.endswith("_pb2")]
    modules: Any = [importlib.import_module(f"tokenmint.v1.{name}") for name in names]
    methods = {
        f"/{service.full_name}/{method.name}"
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    listed = {name for name in {**access.DATA, **access.ADMIN} if name.startswith("/tokenmint.v1.")}
    assert listed == methods
    assert all(isinstance(row.caller, Role) for name, row in access.ADMIN.items() if name.startswith("/tokenmint."))


async def test_watchers_are_capped_per_peer(rig: Rig) -> None:
    watches = [rig.key_set.WatchKeySet(key_set_pb.WatchKeySetRequest(), timeout=20) for _ in range(2)]
    for watch in watches:
        assert (await anext(aiter(watch))).etag
    third = rig.key_set.WatchKeySet(key_set_pb.WatchKeySetRequest(), timeout=20)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(aiter(third))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for watch in watches:
        watch.cancel()


async def test_methods_that_are_not_in_the_table_and_paths_without_a_slash(rig: Rig) -> None:
    for path in ("/tokenmint.v1.KeySetService/Other", "tokenmint.v1.KeySetService/GetKeySet", "/x"):
        call: Any = rig.data.unary_unary(path)
        told = await refusal(call(b"", timeout=10))
        assert told.code is grpc.StatusCode.UNIMPLEMENTED


async def test_an_internal_error_tells_the_caller_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("canary-7f3a: a detail that nobody outside may read")

    monkeypatch.setattr(rig.parts.exchange.verifier, "verify", broken)
    request = exchange_pb.ExchangeTokenRequest(subject_token="x", audience=AUDIENCE)
    told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
    assert (told.code, told.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "canary" not in str(told)


async def test_a_call_that_takes_too_long_is_ended_by_the_service(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: object, **__: object) -> None:
        await asyncio.get_running_loop().create_future()

    limits = '\n[limits]\ncall_deadline = "50ms"\n'
    async with serve(limits) as rig:
        monkeypatch.setattr(rig.parts.exchange.verifier, "verify", slow)
        request = exchange_pb.ExchangeTokenRequest(subject_token="x", audience=AUDIENCE)
        told = await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
    assert told.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (told.message, told.reason) == ("the call took longer than the service allows", "DEADLINE")


@pytest.mark.parametrize("asked", [False, True])
async def test_reflection_and_channelz_where_the_configuration_asks_for_them(serve: Serve, asked: bool) -> None:
    from grpc_channelz.v1.channelz_pb2 import GetServersResponse
    from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

    head = "reflection = true\nchannelz = true\n" if asked else ""
    async with serve(head=head) as rig:
        servers: Any = rig.admin.unary_unary("/grpc.channelz.v1.Channelz/GetServers")
        # One question, sent whole: a stream of grpc.aio's client that is refused while it still sends says INTERNAL.
        reflect: Any = rig.data.unary_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        question = ServerReflectionRequest(list_services="").SerializeToString()
        stream = reflect(question, timeout=10)
        if not asked:
            assert (await refusal(servers(b"", **rig.auth("root")))).code is grpc.StatusCode.UNIMPLEMENTED
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await anext(aiter(stream))
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
            return
        assert GetServersResponse.FromString(await servers(b"", **rig.auth("guest"))).server
        assert (await refusal(servers(b"", timeout=10))).code is grpc.StatusCode.UNAUTHENTICATED
        answer = ServerReflectionResponse.FromString(await anext(aiter(stream)))
        names = {service.name for service in answer.list_services_response.service}
        assert "tokenmint.v1.TokenExchangeService" in names
