"""Token status lists (draft-ietf-oauth-status-list-20): each revocation is shown in the next list, and nothing else."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from tests.e2e.revocation_rig import NEXT, as_api, claims, exchanged
from tests.e2e.sharing import Start
from tests.fakes import FakeClock
from tests.rig import OPEN_AUDIENCE, Rig, Serve, person
from tests.status_lists import ACT, fetch, invalid, place, read, until_invalid, with_status_lists

from tokenmint.base.addresses import Reservations
from tokenmint.base.errors import ConfigurationError, OutcomeUnknown, SignerUnavailable, StoreUnavailable
from tokenmint.keys.signers.types import Signer
from tokenmint.model.drafts import STATUS_LIST
from tokenmint.process.app import App
from tokenmint.status_list.directory import Directory
from tokenmint.status_list.records import TokenRecords
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import revocation_admin_service_pb2 as admin_pb
from tokenmint.v1 import token_exchange_service_pb2 as tokens_pb

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def start() -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(with_status_lists()) as rig:
            as_api(rig)
            await rig.create(person(), person("bob", "7"))
            yield rig

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@asynccontextmanager
async def replica(rig: Rig) -> AsyncIterator[Rig]:
    """Another process of the same service."""
    base = rig.base
    ports = Reservations(base.settings.listen.addresses())
    clock = rig.clock
    assert isinstance(clock, FakeClock)
    job = replace(base.job, listen=ports.listen)
    app = App(base.settings, job, clock=clock, entropy=os.urandom, store_time=clock.store_time)
    await app.start()
    try:
        async with grpc.aio.insecure_channel(ports.listen["grpc"]) as data:
            yield replace(rig, app=app, data=data)
    finally:
        await app.stop()
        ports.close()


async def revoke(rig: Rig, **fields: Any) -> None:
    request = admin_pb.RevokeTokensRequest(reason="a test", **fields)
    await rig.revocation.RevokeTokens(request, **rig.auth("root"))


async def disable(rig: Rig, principal: str, subject: str) -> None:
    request = profiles_pb.UpdateProfileRequest(profile=person(principal, subject))
    request.profile.disabled = True
    request.update_mask.paths.append("disabled")
    await rig.profiles.UpdateProfile(request, **rig.auth("root"))


async def by_bob(rig: Rig, audience: str = ACT, **fields: Any) -> str:
    token = rig.issuer.token(rig.clock.now(), sub="7")
    return (await rig.exchange.ExchangeToken(rig.request(token, audience, **fields), **rig.auth("web"))).token


async def test_section_5_1_and_6_2_a_list_and_the_tokens_that_name_it(rig: Rig) -> None:
    one, other = await exchanged(rig, audience=ACT), await exchanged(rig, audience=ACT)
    (index, uri), (second, same) = place(one), place(other)
    assert uri == same
    assert index != second
    assert uri.startswith("https://tokens.example/status-lists/")
    header, found, statuses = await read(rig, uri)
    assert header["typ"] == "statuslist+jwt"
    assert header["alg"] == "ES256"
    assert found["sub"] == uri
    assert found["iss"] == "https://tokens.example"
    assert found["ttl"] == 60
    assert found["exp"] - found["iat"] == 300
    assert found["iat"] <= rig.clock.now()
    assert len(statuses) * 8 >= 1000 > index
    assert not any(statuses)


async def test_tokens_of_other_audiences_name_no_list(rig: Rig) -> None:
    assert "status" not in claims(await exchanged(rig, audience=OPEN_AUDIENCE))


async def test_section_8_2_the_answer_may_be_kept_and_asked_for_by_its_tag(rig: Rig) -> None:
    _, uri = place(await exchanged(rig, audience=ACT))
    whole = await fetch(rig, uri)
    assert whole.headers["cache-control"] == "public, max-age=15"
    assert whole.headers["access-control-allow-origin"] == "*"
    same = await fetch(rig, uri, headers={"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/status-lists/AAAAAAAAAAAAAAAAAAAAAA", 404),
        ("/status-lists/..%2f..%2fkey-ring", 404),
        ("/status-lists/" + "A" * 4000, 404),
        ("/status-lists/", 404),
        ("/status-lists", 404),
        ("/status-lists/AAAAAAAAAAAAAAAAAAAAAA?time=1", 501),
    ],
)
async def test_there_is_no_such_list_and_section_8_4_none_of_the_past(rig: Rig, path: str, status: int) -> None:
    assert (await fetch(rig, path)).status_code == status


async def test_a_revoked_token_and_its_descendants(rig: Rig) -> None:
    parent, other = await exchanged(rig, audience=ACT), await exchanged(rig, audience=ACT)
    await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=parent), **rig.auth("web"))
    await until_invalid(rig, parent)
    assert not await invalid(rig, other)


async def test_an_ancestor_ends_its_descendants_in_the_list_of_another_audience(rig: Rig) -> None:
    parent, spared = await exchanged(rig), await exchanged(rig)
    child, kept = await exchanged(rig, parent, NEXT, "api"), await exchanged(rig, spared, NEXT, "api")
    await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=parent), **rig.auth("web"))
    await until_invalid(rig, child)
    assert not await invalid(rig, kept)


async def test_a_principal_that_is_disabled(rig: Rig) -> None:
    await rig.create(person("eve", "66"))
    token = rig.issuer.token(rig.clock.now(), sub="66")
    hers, other = await exchanged(rig, token, ACT), await exchanged(rig, audience=ACT)
    await disable(rig, "eve", "66")
    await until_invalid(rig, hers)
    assert not await invalid(rig, other)


async def test_rfc_8693_4_1_an_actor_that_is_disabled(rig: Rig) -> None:
    await rig.create(person("agent", "99"))
    actor = {"actor_token": rig.issuer.token(rig.clock.now(), sub="99"),
             "actor_token_type": "urn:ietf:params:oauth:token-type:id_token"}  # fmt: skip
    acted, own = await by_bob(rig, **actor), await by_bob(rig)
    assert claims(acted)["act"]["sub"] == "agent"
    await disable(rig, "agent", "99")
    await until_invalid(rig, acted)
    assert not await invalid(rig, own)


@pytest.mark.alone
@pytest.mark.parametrize("name", ["client_id", "audience", "provider", "principal"])
async def test_a_client_an_audience_a_provider_and_the_tokens_of_a_principal(rig: Rig, name: str) -> None:
    before = await exchanged(rig, audience=ACT)
    await rig.let_pass(2)
    values = {"principal": "ada", "client_id": "web", "audience": ACT, "provider": "idp"}
    await revoke(rig, **{name: values[name]})
    await until_invalid(rig, before)
    await rig.let_pass(2)
    await rig.until(lambda: not rig.parts.revoking.following.bulk.wait("web", ACT, rig.clock.now()))
    assert not await invalid(rig, await exchanged(rig, audience=ACT))


@pytest.mark.alone
async def test_a_revoked_key_signs_no_list_and_its_tokens_are_shown_as_revoked(rig: Rig) -> None:
    token = await exchanged(rig, audience=ACT)
    header, _, _ = await read(rig, place(token)[1])
    key = header["kid"]
    await rig.keys.RevokeSigningKey(keys_pb.RevokeSigningKeyRequest(key_id=key, reason="a test"), **rig.auth("root"))
    await until_invalid(rig, token)
    header, _, _ = await read(rig, place(token)[1])
    assert header["kid"] != key


@pytest.mark.alone
async def test_two_processes_give_out_no_index_twice_and_publish_the_same(rig: Rig) -> None:
    async with replica(rig) as second:
        tokens = [await exchanged(one, audience=ACT) for _ in range(20) for one in (rig, second)]
        assert len({place(token) for token in tokens}) == len(tokens)
        [uri] = {place(token)[1] for token in tokens}
        await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=tokens[0]), **rig.auth("web"))
        await until_invalid(rig, tokens[0])
        await until_invalid(second, tokens[0])
        assert (await read(rig, uri))[2] == (await read(second, uri))[2]


@pytest.mark.alone
async def test_a_list_is_there_at_once_at_every_process(rig: Rig) -> None:
    async with replica(rig) as second:
        assert not await invalid(second, await exchanged(rig, audience=ACT))


@pytest.mark.alone
async def test_a_store_that_is_away_refuses_tokens_and_lists_end_with_their_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token without a durable record could not be revoked, so it is not answered."""

    token = await exchanged(rig, audience=ACT)
    _, uri = place(token)
    await read(rig, uri)

    async def away(*_: object, **__: object) -> None:
        raise OutcomeUnknown()

    monkeypatch.setattr(rig.parts.store, "run", away)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await exchanged(rig, audience=ACT)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    monkeypatch.setattr(rig.parts.revoking.following, "refresh", away)
    assert (await fetch(rig, uri)).status_code == 200
    await rig.set_time(rig.clock.now() + 301)
    assert (await fetch(rig, uri)).status_code == 503


@pytest.mark.alone
async def test_a_failed_round_leaves_nothing_out_and_one_algorithm_does_not_keep_the_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = rig.parts.status
    assert lists is not None
    tokens = [await exchanged(rig, audience=audience) for audience in (ACT, ACT)]
    child = await exchanged(rig, await exchanged(rig), NEXT, "api")
    await lists.publish()
    await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=tokens[0]), **rig.auth("web"))
    await revoke(rig, audience=NEXT)
    with monkeypatch.context() as patch:
        patch.setattr(TokenRecords, "after", _away)
        with pytest.raises(StoreUnavailable):
            await lists.publish()
    await lists.publish()
    assert [await invalid(rig, token) for token in (*tokens, child)] == [True, False, True]

    later = await exchanged(rig, audience=ACT)
    signer = lists._signing.signer

    def without_es256(algorithm: str) -> Signer:
        calls.append(algorithm)
        if len(calls) == 1:
            raise SignerUnavailable()
        return signer(algorithm)

    calls: list[str] = []
    await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=later), **rig.auth("web"))
    with monkeypatch.context() as patch:
        patch.setattr(lists, "_signing", replace(lists._signing, signer=without_es256))
        with pytest.raises(SignerUnavailable):
            await lists.publish()
    assert len(calls) == 2
    await until_invalid(rig, later)


async def _away(*_: object) -> None:
    raise StoreUnavailable()


@pytest.mark.alone
async def test_a_loss_of_the_store_reads_everything_again_and_keeps_what_was_here(rig: Rig) -> None:
    lists = rig.parts.status
    assert lists is not None
    token, other = await exchanged(rig, audience=ACT), await exchanged(rig, audience=ACT)
    await lists.publish()
    names = lists.names
    lists._anew = True
    await lists.publish()
    assert lists.names == names
    await rig.exchange.RevokeToken(tokens_pb.RevokeTokenRequest(token=token), **rig.auth("web"))
    await until_invalid(rig, token)
    assert not await invalid(rig, other)


@pytest.mark.alone
async def test_lists_of_expired_tokens_go(rig: Rig) -> None:
    _, uri = place(await exchanged(rig, audience=ACT))
    await read(rig, uri)
    await rig.set_time(rig.clock.now() + 3600 + 600 + 120)
    await rig.until(lambda: rig.parts.status is not None and len(rig.parts.status) == 0)
    assert (await fetch(rig, uri)).status_code == 404


async def test_requests_for_unknown_lists_cause_few_reads(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    lists = Directory.lists

    async def counted(self: Directory) -> object:
        nonlocal reads
        reads += 1
        return await lists(self)

    monkeypatch.setattr(Directory, "lists", counted)
    answers = [(await fetch(rig, f"/status-lists/{number:022d}")).status_code for number in range(40)]
    assert set(answers) == {404, 503}
    assert reads <= 25


async def test_a_reload_needs_the_draft_from_the_start(rig: Rig, serve: Serve) -> None:
    settings = rig.settings()
    async with serve() as other:
        with pytest.raises(ConfigurationError, match=STATUS_LIST):
            await other.app.reloads.take_over(settings)
