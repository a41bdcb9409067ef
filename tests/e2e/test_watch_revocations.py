"""Verifiers learn of every revocation: of tokens, principals, clients, audiences, keys; and nobody else does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from h2.settings import SettingCodes
from tests.e2e.revocation_rig import FAR, NEXT, as_api, claims, digest, exchanged, extra, watching
from tests.e2e.sharing import Start
from tests.fakes import FakeClock
from tests.http2 import connected, framed
from tests.rig import AUDIENCE, OPEN_AUDIENCE, Rig, Serve, person, refusal

from tokenmint.base.errors import StoreUnavailable
from tokenmint.base.token_errors import TokenRevoked
from tokenmint.revocation.entries import Kind, Revocation
from tokenmint.revocation.follower import STALE, Held
from tokenmint.revocation.log import SETTLE
from tokenmint.rpc.revocation_service import PAGE
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import revocation_admin_service_pb2 as admin_pb
from tokenmint.v1 import revocation_service_pb2 as pb
from tokenmint.v1 import token_exchange_service_pb2 as tokens_pb

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(extra(), transport=transport) as rig:
            await rig.create(person(), person("bob", "7"))
            yield rig

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


async def revoke(rig: Rig, **fields: object) -> admin_pb.RevokeTokensResponse:
    request = admin_pb.RevokeTokensRequest(reason="a test", **fields)  # type: ignore[arg-type]
    return await rig.revocation.RevokeTokens(request, **rig.auth("root"))


async def active(rig: Rig, token: str) -> bool:
    as_api(rig)
    request = tokens_pb.IntrospectTokenRequest(token=token)
    return (await rig.exchange.IntrospectToken(request, **rig.auth("api"))).active


async def test_a_revoked_token_and_its_descendants(rig: Rig) -> None:
    """RFC 7009 section 2.1."""
    parent, other = await exchanged(rig), await exchanged(rig)
    child = await exchanged(rig, parent, NEXT, "api")
    async with watching(rig) as watcher:
        assert not any(map(watcher.refuses, (parent, child, other)))
        await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=parent), **rig.auth("web"))
        await watcher.until(lambda: watcher.refuses(parent))
        assert watcher.refuses(child)
        assert not watcher.refuses(other)
        assert watcher.position
        assert 0 <= watcher.age < 5
        assert abs(watcher.time - rig.clock.now()) < 5


@pytest.mark.alone
@pytest.mark.parametrize("way", ["revoke-tokens", "disable", "delete", "erase", "import", "in bulk"])
async def test_a_principal_whose_tokens_end(rig: Rig, way: str) -> None:
    token = await exchanged(rig)
    bob = await exchanged(rig, rig.issuer.token(rig.clock.now(), sub="7"))
    async with watching(rig) as watcher:
        root = rig.auth("root")
        if way == "revoke-tokens":
            await rig.profiles.RevokePrincipalTokens(profiles_pb.RevokePrincipalTokensRequest(principal="ada"), **root)
        elif way == "disable":
            changed = profiles_pb.UpdateProfileRequest(profile=person())
            changed.profile.disabled = True
            changed.update_mask.paths.append("disabled")
            await rig.profiles.UpdateProfile(changed, **root)
        elif way == "delete":
            await rig.profiles.DeleteProfile(profiles_pb.DeleteProfileRequest(principal="ada"), **root)
        elif way == "erase":
            await rig.profiles.EraseProfile(profiles_pb.EraseProfileRequest(principal="ada"), **root)
        elif way == "import":
            put = profiles_pb.ImportProfilesRequest(profile=person())
            put.profile.disabled = True
            await rig.profiles.ImportProfiles(iter([put]), **root)
        else:
            await revoke(rig, principal="ada")
        await watcher.until(lambda: watcher.refuses(token))
        assert not watcher.refuses(bob)
    assert not await active(rig, token)


@pytest.mark.alone
@pytest.mark.parametrize("way", ["update", "import"])
async def test_a_principal_that_is_enabled_again_brings_no_token_from_before(rig: Rig, way: str) -> None:
    before = rig.issuer.token(rig.clock.now())
    token, root = await exchanged(rig, before), rig.auth("root")

    async def set_disabled(disabled: bool) -> None:
        profile = person()
        profile.disabled = disabled
        if way == "update":
            changed = profiles_pb.UpdateProfileRequest(profile=profile)
            changed.update_mask.paths.append("disabled")
            await rig.profiles.UpdateProfile(changed, **root)
        else:
            await rig.profiles.ImportProfiles(iter([profiles_pb.ImportProfilesRequest(profile=profile)]), **root)

    second = int(rig.clock.now()) + SETTLE
    await set_disabled(True)
    await rig.set_time(rig.clock.now() + SETTLE + 1)
    await set_disabled(True)  # again: the second stays that of the disabling
    between = rig.issuer.token(rig.clock.now())
    await set_disabled(False)
    found = await rig.profiles.GetProfile(profiles_pb.GetProfileRequest(principal="ada"), **root)
    assert found.profile.tokens_valid_after_time.seconds == second
    # As verifiers do: a replica that has not heard of the disabling yet may still have minted tokens meanwhile.
    assert rig.parts.revoking.following.valid_after(Kind.PRINCIPAL, "ada") == second
    with pytest.raises(TokenRevoked):
        await rig.parts.exchange.profiles.find_principal("ada", second)
    assert not await active(rig, token)
    refused = await refusal(rig.exchange.ExchangeToken(rig.request(before), **rig.auth("web")))
    assert refused.reason == "REVOKED"
    assert await active(rig, await exchanged(rig, between))


@pytest.mark.alone
async def test_a_principal_without_a_profile(rig: Rig) -> None:
    legacy = "https://legacy.example"
    before = rig.issuer.token(rig.clock.now(), sub="unknown")
    token = await exchanged(rig, before, legacy)
    principal = claims(token)["sub"]
    async with watching(rig) as watcher:
        await revoke(rig, principal=principal)
        await watcher.until(lambda: watcher.refuses(token))
    for audience in (legacy, OPEN_AUDIENCE):
        refused = await refusal(rig.exchange.ExchangeToken(rig.request(before, audience), **rig.auth("web")))
        assert refused.reason == "REVOKED"
    assert isinstance(rig.clock, FakeClock)
    await rig.set_time(rig.clock.now() + 1)
    after = rig.issuer.token(rig.clock.now(), sub="unknown")
    assert not watcher.refuses(await exchanged(rig, after, legacy))
    await exchanged(rig, after, OPEN_AUDIENCE)  # creates the profile
    refused = await refusal(rig.exchange.ExchangeToken(rig.request(before, legacy), **rig.auth("web")))
    assert refused.reason == "REVOKED"


@pytest.mark.alone
async def test_a_client_and_an_audience_and_those_derived_from_them(rig: Rig) -> None:
    token = await exchanged(rig)
    child = await exchanged(rig, token, NEXT, "api")
    async with watching(rig) as orders, watching(rig, NEXT) as following:
        done = await revoke(rig, client_id="web")
        assert list(done.audiences) == []
        await orders.until(lambda: orders.refuses(token))
        await following.until(lambda: following.refuses(token))
        assert not following.refuses(child)
        done = await revoke(rig, client_id="web", with_derived=True)
        assert list(done.audiences) == [FAR]  # `next` is the client's own audience
        done = await revoke(rig, audience=AUDIENCE, with_derived=True)
        assert list(done.audiences) == sorted([AUDIENCE, NEXT, FAR])
        await following.until(lambda: following.refuses(child))
        # A watcher of one audience does not learn of the others.
        assert len(following.held) == 2
    assert not await active(rig, token)
    assert not await active(rig, child)
    refused = await refusal(
        rig.exchange.ExchangeToken(
            rig.request(child, FAR, subject_token_type="urn:ietf:params:oauth:token-type:access_token"),
            **rig.auth("api"),
        )
    )
    assert refused.reason == "REVOKED"


@pytest.mark.alone
async def test_a_provider(rig: Rig) -> None:
    before = rig.issuer.token(rig.clock.now())
    token = await exchanged(rig, before)
    async with watching(rig) as watcher:
        done = await revoke(rig, provider="idp")
        assert set(done.audiences) == {AUDIENCE, NEXT, FAR, "https://legacy.example", OPEN_AUDIENCE}
        await watcher.until(lambda: watcher.refuses(token))
    assert not await active(rig, token)
    await rig.set_time(done.tokens_valid_after_time.seconds + 1.0)
    refused = await refusal(rig.exchange.ExchangeToken(rig.request(before), **rig.auth("web")))
    assert refused.reason == "REVOKED"
    assert await active(rig, await exchanged(rig, rig.issuer.token(rig.clock.now())))


@pytest.mark.alone
async def test_a_token_that_would_be_revoked_already_is_not_minted(rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now())
    await revoke(rig, client_id="web")
    await rig.until(lambda: len(rig.parts.revoking.following.bulk))
    done = await revoke(rig, client_id="web")
    await rig.set_time(float(done.tokens_valid_after_time.seconds))
    await rig.parts.revoking.following.refresh()
    refused = await refusal(rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "JUST_REVOKED")
    await rig.set_time(done.tokens_valid_after_time.seconds + 1.0)
    assert await active(rig, await exchanged(rig, token))


@pytest.mark.alone
async def test_a_signing_key(rig: Rig) -> None:
    token = await exchanged(rig)
    [key] = [key for key in rig.parts.signing_keys.ring.keys if key.state == "active"]
    async with watching(rig) as watcher:
        await rig.keys.RevokeSigningKey(
            keys_pb.RevokeSigningKeyRequest(key_id=key.key_id, reason="a test"), **rig.auth("root")
        )
        await rig.until(lambda: watcher.refuses(token))
    async with watching(rig) as watcher:
        assert watcher.refuses(token)
    # Its private half may be known, so tokens can be made as long as a verifier keeps the set with it.
    schedule = rig.parts.signing_keys.schedule
    assert schedule.verifier_cache > schedule.max_lifetime
    assert watcher.ends[digest("key", key.key_id)] >= rig.clock.now() + schedule.verifier_cache + schedule.max_lifetime


@pytest.mark.alone
async def test_a_later_watcher_gets_the_snapshot_and_one_that_returns_gets_the_rest(rig: Rig) -> None:
    tokens = [await exchanged(rig) for _ in range(4)]

    async def end(token: str) -> None:
        await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=token), **rig.auth("web"))

    await end(tokens[0])
    async with watching(rig) as first:
        await first.until(lambda: first.refuses(tokens[0]))
    await end(tokens[1])
    async with watching(rig, position=first.position) as second:
        await end(tokens[2])
        await second.until(lambda: second.refuses(tokens[2]))
        assert [second.refuses(token) for token in tokens] == [False, True, True, False]
    for position in ("", "7.0-0", f"7{second.position}"):
        async with watching(rig, position=position) as third:
            await third.until(lambda: third.refuses(tokens[2]))
            assert [third.refuses(token) for token in tokens] == [True, True, True, False]


@pytest.mark.parametrize(
    ("client", "audience", "reason"),
    [
        ("web", AUDIENCE, "AUDIENCE_DENIED"),  # it gets such tokens, and does not serve the audience
        ("api", "https://legacy.example", "AUDIENCE_DENIED"),
        ("api", "https://unknown.example", "AUDIENCE_DENIED"),
        ("spa", AUDIENCE, "AUDIENCE_DENIED"),
        ("api", "", "INVALID_REQUEST"),
        ("api", "x" * 5000, "INVALID_REQUEST"),
    ],
)
async def test_only_clients_that_serve_an_audience_may_watch(rig: Rig, client: str, audience: str, reason: str) -> None:
    as_api(rig)
    call = rig.auth(client) if client != "spa" else {"metadata": (("tokenmint-client-id", "spa"),)}
    stream = rig.watch.WatchRevocations(pb.WatchRevocationsRequest(audience=audience), **call)
    assert (await refusal(first_of(stream))).reason == reason


async def test_a_stranger_may_not_watch(rig: Rig) -> None:
    stream = rig.watch.WatchRevocations(pb.WatchRevocationsRequest(audience=AUDIENCE))
    assert (await refusal(first_of(stream))).code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "position", ["x", "1", "1.2", "1.2-x", "-1.2-3", "1.2-3 ", "1.2-3\n", "9" * 11 + ".1-1", "\u0661.1-1"]
)
async def test_a_position_of_another_form_is_refused(rig: Rig, position: str) -> None:
    request = pb.WatchRevocationsRequest(audience=AUDIENCE, position=position)
    stream = rig.watch.WatchRevocations(request, **as_api(rig))
    assert (await refusal(first_of(stream))).reason == "INVALID_REQUEST"


@pytest.mark.alone
async def test_a_client_that_no_longer_serves_the_audience_is_cut_off(rig: Rig) -> None:
    async with watching(rig) as watcher:
        text = rig.config.read_text().replace(f'serves = ["{AUDIENCE}", ', "serves = [")
        rig.config.write_text(text)
        await rig.app.reload(rig.settings())
        await watcher.until(lambda: watcher.ended)


@pytest.mark.alone
async def test_heartbeats_tell_how_current_the_replica_is(rig: Rig) -> None:
    async with watching(rig) as watcher:
        assert isinstance(rig.clock, FakeClock)

        async def away(_: str) -> None:
            raise StoreUnavailable

        rig.parts.revoking.log.after = away  # type: ignore[assignment, method-assign]
        rig.clock.advance(7.0)
        seen = watcher.messages
        await watcher.until(lambda: watcher.messages > seen + 1)
        assert watcher.age >= 7.0
        rig.clock.advance(STALE)
        await watcher.until(lambda: watcher.ended)
    stream = rig.watch.WatchRevocations(pb.WatchRevocationsRequest(audience=AUDIENCE), **as_api(rig))
    assert (await refusal(first_of(stream))).code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.alone
async def test_a_stop_ends_the_streams(rig: Rig) -> None:
    async with watching(rig):
        async with asyncio.timeout(20):
            await rig.app.stop()


async def first_of(stream: object) -> object:
    async for message in stream:  # type: ignore[attr-defined]
        return message
    return None


@pytest.mark.parametrize(
    ("operator", "fields", "reason"),
    [
        ("guest", {"client_id": "web", "reason": "x"}, "METHOD_DENIED"),
        ("root", {"client_id": "nobody", "reason": "x"}, "NOT_FOUND"),
        ("root", {"audience": "https://nowhere.example", "reason": "x"}, "NOT_FOUND"),
        ("root", {"provider": "nobody", "reason": "x"}, "NOT_FOUND"),
        ("root", {"principal": "a b", "reason": "x"}, "NOT_FOUND"),
        ("root", {"client_id": "web"}, "INVALID_REQUEST"),
        ("root", {"client_id": "", "reason": "x"}, "INVALID_REQUEST"),
        ("root", {"reason": "x"}, "INVALID_REQUEST"),
        ("root", {"client_id": "web", "reason": "x" * 201}, "INVALID_REQUEST"),
    ],
)
async def test_refused_mass_revocations(rig: Rig, operator: str, fields: dict[str, str], reason: str) -> None:
    request = admin_pb.RevokeTokensRequest(**fields)  # type: ignore[arg-type]
    refused = await refusal(rig.revocation.RevokeTokens(request, **rig.auth(operator)))
    assert refused.reason == reason
    if reason == "NOT_FOUND" and fields.keys() & {"client_id", "audience"}:
        assert "`removed` accepts" in refused.message


@pytest.mark.alone
async def test_a_full_log_refuses_nothing_and_tells_the_caller(rig: Rig) -> None:
    token, other = await exchanged(rig), await exchanged(rig)
    rig.parts.revoking.log._most = 1
    async with watching(rig) as watcher:
        for _ in range(2):
            call = rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=token), **rig.auth("web"))
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "REVOCATIONS_FULL")
        assert not await active(rig, token)
        rig.parts.revoking.log._most = 100
        await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=token), **rig.auth("web"))
        await watcher.until(lambda: watcher.refuses(token))
        rig.parts.revoking.log._most = 1
        root = rig.auth("root")
        disabled = profiles_pb.UpdateProfileRequest(profile=person())
        disabled.profile.disabled = True
        disabled.update_mask.paths.append("disabled")
        for _ in range(2):
            assert (await refusal(rig.profiles.UpdateProfile(disabled, **root))).reason == "REVOCATIONS_FULL"
        assert not await active(rig, other)
        rig.parts.revoking.log._most = 100
        await rig.profiles.UpdateProfile(disabled, **root)
        await watcher.until(lambda: watcher.refuses(other))


@pytest.mark.alone
async def test_a_watcher_that_reads_nothing_is_made_a_few_messages_and_keeps_nobody_waiting(rig: Rig) -> None:
    following, ends = rig.parts.revoking.following, int(rig.clock.now()) + 5000
    for number in range(20 * PAGE):
        following._hold(Revocation(Kind.TOKEN, f"t{number}", 0, ends), f"{number + 1}-0")
    made, after = 0, following.after

    def counted(cursor: int, most: int) -> tuple[list[Held], int, bool]:
        nonlocal made
        made += 1
        return after(cursor, most)

    following.after = counted  # type: ignore[method-assign]
    as_api(rig)
    async with connected(rig.app.listen["grpc"]) as client:
        await client.settle()
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.send()
        body = framed(pb.WatchRevocationsRequest(audience=AUDIENCE).SerializeToString())
        client.call(as_api(rig)["metadata"], body, path="/tokenmint.v1.RevocationService/WatchRevocations")
        async with asyncio.timeout(20):
            while not rig.app.listeners.revocations.watching:  # noqa: ASYNC110  # it comes over the network
                await asyncio.sleep(0.005)
        async with watching(rig) as watcher:
            await watcher.until(lambda: len(watcher.held) == 20 * PAGE)
            assert made < 20 + 10
