"""Operators and persons over real gRPC: imports in batches, and erasures, with what exchanges make of them."""

import json
from collections.abc import AsyncIterator

import grpc
import pytest
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE, Rig, Serve, refusal

from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile


@pytest.fixture
async def rig(serve: Serve) -> AsyncIterator[Rig]:
    async with serve() as service:
        yield service


def person(principal: str, provider: str = "idp", **fields: object) -> Profile:
    return Profile(principal=principal, identities=[Identity(provider=provider, subject=f"of-{principal}")], **fields)  # type: ignore[arg-type]  # fields of a profile


async def erase(rig: Rig, principal: str, *, allow_return: bool = False) -> tuple[pb.EraseProfileResponse, int]:
    """Erase a person; return the first answer and the number of reference tokens."""
    request = pb.EraseProfileRequest(principal=principal, allow_return=allow_return)
    answer = first = await rig.profiles.EraseProfile(request, **rig.auth("root"))
    tokens = 0
    while answer.next_page_token:
        request.page_token = answer.next_page_token
        answer = await rig.profiles.EraseProfile(request, **rig.auth("root"))
        tokens += answer.tokens_count
    return first, tokens


async def test_an_import_of_many_profiles_in_each_message(rig: Rig) -> None:
    many = [person(f"p{number}") for number in range(700)]
    many[300] = Profile(principal="no name")
    many[301] = person("strange", "nowhere")
    messages = [pb.ImportProfilesRequest(profiles=many[at : at + 100]) for at in range(0, 700, 100)]
    answer = await rig.profiles.ImportProfiles(iter(messages), **rig.auth("root"))
    assert (answer.created_count, answer.updated_count, answer.failed_count) == (699, 0, 1)
    assert [(item.index, item.reason) for item in answer.failures] == [(300, "INVALID_REQUEST")]
    assert list(answer.unknown_providers) == ["nowhere"]
    found = await rig.profiles.GetProfile(
        pb.GetProfileRequest(identity=Identity(provider="idp", subject="of-p699")), **rig.auth("root")
    )
    assert found.profile.principal == "p699"


async def test_an_import_can_be_tried_without_a_change(rig: Rig) -> None:
    await rig.create(person("there"))
    request = pb.ImportProfilesRequest(profiles=[person("new"), person("there")], validate_only=True)
    answer = await rig.profiles.ImportProfiles(iter([request]), **rig.auth("root"))
    assert (answer.created_count, answer.updated_count) == (1, 1)
    listed = await rig.profiles.ListProfiles(pb.ListProfilesRequest(), **rig.auth("root"))
    assert [item.principal for item in listed.profiles] == ["there"]


async def test_an_import_has_one_record_before_it_and_one_after_it(rig: Rig) -> None:
    request = pb.ImportProfilesRequest(profiles=[person("a"), person("b"), Profile(principal="no name")])
    await rig.profiles.ImportProfiles(iter([request]), **rig.auth("root"))
    await rig.parts.audit.flush()
    client = rig.parts.store.server.client
    entries = await client.xrange(rig.parts.store.prefix + "audit:admin")
    events = [json.loads(dict(fields)[b"event"]) for _, fields in entries]
    about = [event for event in events if event["method"].endswith("/ImportProfiles")]
    assert [event["outcome"] for event in about] == ["begun", "done"]
    assert (about[1]["count"], about[1]["refused"], about[1]["caller"]) == (3, 1, "root")


async def test_a_provider_that_is_not_configured_is_told(rig: Rig) -> None:
    root = rig.auth("root")
    made = await rig.profiles.CreateProfile(pb.CreateProfileRequest(profile=person("a", "nowhere")), **root)
    assert list(made.unknown_providers) == ["nowhere"]
    for provider, unknown in (("idp", []), ("elsewhere", ["elsewhere"])):
        link = pb.LinkIdentityRequest(principal="a", identity=Identity(provider=provider, subject="x"))
        assert list((await rig.profiles.LinkIdentity(link, **root)).unknown_providers) == unknown


async def test_an_erased_person_gets_no_token_whatever_on_missing_profile_says(rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), sub="of-ada")
    await rig.create(person("ada"))
    assert (await rig.exchange.ExchangeToken(rig.request(token, OPEN_AUDIENCE), **rig.auth("web"))).subject == "ada"
    first, _ = await erase(rig, "ada")
    assert (first.found, first.identities_count) == (True, 1)
    assert first.audit_retention.admin_events == 100_000
    for audience in (AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE):
        told = await refusal(rig.exchange.ExchangeToken(rig.request(token, audience), **rig.auth("web")))
        assert told.reason == "PRINCIPAL_DISABLED"
    told = await refusal(rig.profiles.GetProfile(pb.GetProfileRequest(principal="ada"), **rig.auth("root")))
    assert told.code is grpc.StatusCode.NOT_FOUND
    await rig.keys.ResealSigningKeys(keys_pb.ResealSigningKeysRequest(), **rig.auth("root"))
    told = await refusal(rig.exchange.ExchangeToken(rig.request(token, OPEN_AUDIENCE), **rig.auth("web")))
    assert told.reason == "PRINCIPAL_DISABLED"


async def test_an_erased_person_that_may_return_is_let_in_as_on_missing_profile_says(rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), sub="of-ada")
    await rig.create(person("ada"))
    await erase(rig, "ada", allow_return=True)
    minted = await rig.exchange.ExchangeToken(rig.request(token, OPEN_AUDIENCE), **rig.auth("web"))
    assert minted.subject.startswith("p_")


async def test_requests_to_erase_that_can_not_be_meant(rig: Rig) -> None:
    for request in (
        pb.EraseProfileRequest(),
        pb.EraseProfileRequest(principal="a b"),
        pb.EraseProfileRequest(principal="a", page_token="tokens.x"),
    ):
        told = await refusal(rig.profiles.EraseProfile(request, **rig.auth("root")))
        assert told.reason == "INVALID_REQUEST"
    first, _ = await erase(rig, "nobody")
    assert not first.found
