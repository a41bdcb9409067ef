"""Regions of one issuer: each publishes the keys of all, and refuses what another one has revoked."""

from collections.abc import AsyncIterator

import httpx2
import jwt
import pytest
from tests.regions import AUTHORITY, ISSUER, Federation, federation
from tests.rig import AUDIENCE, Rig, Serve, person, refusal

from tokenmint.regions import given_up
from tokenmint.regions.given_up import GivenUp
from tokenmint.regions.identity import REQUEST
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1.token_exchange_service_pb2 import IntrospectTokenRequest, RevokeTokenRequest


@pytest.fixture
async def regions(serve: Serve) -> AsyncIterator[Federation]:
    """Two regions whose keys sign."""
    async with federation(serve) as made:
        await made.begin()
        yield made


async def minted(rig: Rig) -> str:
    """Return a token of a region."""
    return (await rig.exchange.ExchangeToken(rig.request(audience=AUDIENCE), **rig.auth("web"))).token


async def active(rig: Rig, token: str) -> bool:
    """Return whether a region takes a token for active."""
    answer = await rig.exchange.IntrospectToken(IntrospectTokenRequest(token=token), **rig.auth("web"))
    return answer.active


async def test_each_region_signs_with_its_own_keys_and_publishes_those_of_all(regions: Federation) -> None:
    own = {name: regions.own_ids(name) for name in regions.rigs}
    assert all(key_id.startswith(f"{name}.") for name, ids in own.items() for key_id in ids)
    for name in regions.rigs:
        assert await regions.key_ids(name) == own["eu"] | own["us"]


async def test_a_new_region_serves_before_its_first_key_signs(serve: Serve) -> None:
    async with federation(serve) as regions:
        eu = regions.rigs["eu"]
        assert "us" in eu.base.readiness.problems()["regions"]
        await regions.until(lambda: not eu.base.readiness.problems())
        assert "first key" in eu.base.readiness.details()
        await eu.create(person())
        refused = await refusal(eu.exchange.ExchangeToken(eu.request(), **eu.auth("web")))
        assert refused.reason == "SIGNER_UNAVAILABLE"


async def test_a_token_of_one_region_is_active_in_the_other_and_revoked_there_for_both(regions: Federation) -> None:
    eu, us = regions.rigs["eu"], regions.rigs["us"]
    for rig in (eu, us):
        await rig.create(person())
    token = await minted(eu)
    assert await active(us, token)
    await us.exchange.RevokeToken(RevokeTokenRequest(token=token), **us.auth("web"))
    assert not await active(us, token)
    await regions.until(lambda: len(eu.parts.revoking.following) == 1)
    assert not await active(eu, token)
    # What came from the other region is not taken for news there.
    await regions.let_pass(3.0)
    assert len(us.parts.revoking.following) == 1


async def test_a_principal_that_was_revoked_in_one_region_is_refused_in_the_other(regions: Federation) -> None:
    eu, us = regions.rigs["eu"], regions.rigs["us"]
    for rig in (eu, us):
        await rig.create(person())
    token, subject = await minted(us), us.issuer.token(us.clock.now())
    await eu.parts.revoking.many.principal("ada")
    await regions.until(lambda: len(us.parts.revoking.following) == 1)
    assert not await active(us, token)
    refused = await refusal(us.exchange.ExchangeToken(us.request(subject), **us.auth("web")))
    assert refused.reason == "REVOKED"


async def test_a_revoked_key_leaves_every_key_set_and_watchers_are_told(regions: Federation) -> None:
    eu, us = regions.rigs["eu"], regions.rigs["us"]
    await us.create(person())
    token = await minted(us)
    active_key = us.parts.signing_keys.signer("ES256").key_id
    assert active_key in await regions.key_ids("eu")
    request = keys_pb.RevokeSigningKeyRequest(key_id=active_key, reason="test")
    await us.keys.RevokeSigningKey(request, **us.auth("root"))
    await regions.until(lambda: active_key not in {key["kid"] for key in eu.parts.signing_keys.published().keys})
    assert not await active(eu, token)
    await regions.until(lambda: len(eu.parts.revoking.following) == 1)


async def test_a_region_that_is_cut_off_keeps_the_keys_and_says_so_after_l(regions: Federation) -> None:
    eu, us = regions.rigs["eu"], regions.rigs["us"]
    for link in regions.links.values():
        link.cut()
    before = await regions.key_ids("eu")
    await regions.until(lambda: "other regions" in eu.base.readiness.details())
    assert "us was not heard" in eu.base.readiness.details()["other regions"]
    assert not eu.base.readiness.problems()
    assert await regions.key_ids("eu") == before
    # The other one needs nothing from it to rotate.
    prepared = keys_pb.RotateSigningKeyRequest(force=True)
    await us.keys.RotateSigningKey(prepared, **us.auth("root"))
    for link in regions.links.values():
        link.mend()
    await regions.until(lambda: "other regions" not in eu.base.readiness.details())
    assert await regions.key_ids("eu") == regions.own_ids("eu") | regions.own_ids("us")


async def test_a_region_that_was_given_up_is_refused_everywhere_for_ever(serve: Serve) -> None:
    async with federation(serve, ("ap", "eu", "us")) as regions:
        await regions.begin()
        rigs = regions.rigs
        for rig in rigs.values():
            await rig.create(person())
        token = await minted(rigs["us"])
        assert await active(rigs["ap"], token)
        # An operator tells one region. It is not linked to the third, which learns of it by the second.
        regions.links["ap", "us"].cut()
        statement = given_up.state(regions.identities[AUTHORITY], ISSUER, "us", rigs["eu"].clock.now())
        await regions.directory("eu").store.give_up({"us": GivenUp(statement, rigs["eu"].clock.now())})
        for name in ("eu", "ap"):
            await regions.until(lambda: regions.directory(name).given_up)  # noqa: B023
            assert await regions.key_ids(name) == regions.own_ids("eu") | regions.own_ids("ap")
            assert not await active(rigs[name], token)
            await regions.until(lambda: len(rigs[name].parts.revoking.following))  # noqa: B023
        # The region itself is told too if it still asks; and it is not answered any more.
        assert "was given up" in (await _document(regions, "us", "eu")).json()["error_description"]


async def test_a_region_that_learns_that_it_was_given_up_mints_no_more(regions: Federation) -> None:
    us = regions.rigs["us"]
    await us.create(person())
    statement = given_up.state(regions.identities[AUTHORITY], ISSUER, "us", us.clock.now())
    await regions.directory("us").store.give_up({"us": GivenUp(statement, us.clock.now())})
    await regions.until(lambda: us.base.readiness.problems())
    assert "was given up" in us.base.readiness.problems()["regions"]
    refused = await refusal(us.exchange.ExchangeToken(us.request(), **us.auth("web")))
    assert refused.reason == "DEPENDENCY_UNAVAILABLE"


async def test_a_document_is_only_for_a_region_that_proves_itself(regions: Federation) -> None:
    us = regions.rigs["us"]
    assert (await _document(regions, "us", "eu")).status_code == 200
    found = jwt.decode((await _document(regions, "us", "eu")).text, options={"verify_signature": False})
    assert (found["region"], found["aud"], found["iss"]) == ("eu", "us", ISSUER)
    now = int(us.clock.now())
    for changed in (
        {"region": "eu"}, {"aud": "us"}, {"iss": "https://other.example"}, {"iat": now - 400}, {"iat": now + 400},
        {"iat": None}, {"iat": "now"},
    ):  # fmt: skip
        answer = await _document(regions, "us", "eu", **changed)
        assert (answer.status_code, answer.headers["cache-control"]) == (401, "no-store"), changed
    assert (await _document(regions, "us", "eu", signer=AUTHORITY)).status_code == 401
    assert (await _document(regions, "us", "eu", typ="at+jwt")).status_code == 401
    assert (await _document(regions, "us", "eu", asking="nobody")).status_code == 401
    async with httpx2.AsyncClient() as http:
        plain = await http.get(regions.rigs["eu"].url("http", "/regions/document?for=us"))
        assert plain.status_code == 401
    for place in ("epoch=x&after=0-0", "epoch=1&after=x", "epoch=1&after=99999999999999999999999-0"):
        assert (await _document(regions, "us", "eu", place=place)).status_code == 400


async def _document(
    regions: Federation,
    own: str,
    asked: str,
    *,
    signer: str = "",
    typ: str = REQUEST,
    asking: str = "",
    place: str = "epoch=0&after=0-0",
    **changed: object,
) -> httpx2.Response:
    """Ask a region for its document, with a request that may be wrong in a part."""
    rig = regions.rigs[asked]
    claims = {"iss": ISSUER, "region": own, "aud": asked, "iat": int(rig.clock.now())} | changed
    token = regions.identities[signer or own].sign(typ, claims)
    url = rig.url("http", f"/regions/document?for={asking or own}&{place}")
    async with httpx2.AsyncClient() as http:
        return await http.get(url, headers={"Authorization": f"Bearer {token}"})
