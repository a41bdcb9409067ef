"""Profiles with a home region: copied to the others, where they are read-only, and refused as soon as at home."""

from collections.abc import AsyncIterator
from functools import partial

import httpx2
import pytest
from tests.fakes import FakeClock
from tests.polling import until
from tests.regions import ISSUER, Federation, federation
from tests.rig import AUDIENCE, OPEN_AUDIENCE, Rig, Serve, person, refusal

from tokenmint.model.profile import Profile
from tokenmint.regions.identity import REQUEST
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb

POLL = 1.0


@pytest.fixture
async def regions(serve: Serve) -> AsyncIterator[Federation]:
    """Two regions whose keys sign, and that copy profiles; `eu` is the home of Ada."""
    async with federation(serve, profiles=True) as made:
        await made.begin()
        await made.rigs["eu"].create(person())
        await until_copied(made)
        yield made


async def until_copied(regions: Federation) -> None:
    while await regions.rigs["us"].parts.profiles.stored("ada") is None:
        await regions.let_pass(POLL / 4)


async def disable(rig: Rig) -> None:
    request = profiles_pb.UpdateProfileRequest(profile=person())
    request.profile.disabled = True
    request.update_mask.paths.append("disabled")
    await rig.profiles.UpdateProfile(request, **rig.auth("root"))


@pytest.mark.parametrize("audience", [AUDIENCE, OPEN_AUDIENCE], ids=["fast way", "full way"])
async def test_a_principal_that_was_disabled_at_home_is_refused_elsewhere_after_a_poll_and_one_request(
    regions: Federation, audience: str
) -> None:
    """A single-use token is exchanged on the full way. The near cache has the profile before."""
    eu, us = regions.rigs["eu"], regions.rigs["us"]
    call = us.auth("web")
    first = await us.exchange.ExchangeToken(us.request(audience=audience), **call)
    assert first.subject == "ada"
    await disable(eu)
    for _ in range(2):  # a pull that was on its way before tells nothing of it, and the next one does
        await until(partial(_rests, us))
        await regions.let_pass(POLL)
    await until(partial(_is_disabled, us))  # the clocks stand still: nothing else is asked for
    token = us.issuer.token(us.clock.now() + 3, jti="another")
    refused = await refusal(us.exchange.ExchangeToken(us.request(token, audience), **call))
    assert refused.reason == "PRINCIPAL_DISABLED"


async def _rests(rig: Rig) -> bool:
    """Return whether its copying waits for the next pull."""
    return isinstance(rig.clock, FakeClock) and rig.clock.sleeps("profiles of eu")


async def _is_disabled(rig: Rig) -> bool:
    return (await rig.parts.profiles.get("ada")).disabled


async def test_a_change_of_a_copy_is_refused_and_names_the_home(regions: Federation) -> None:
    us = regions.rigs["us"]
    refused = await refusal(disable(us))
    assert (refused.reason, "the region 'eu'" in refused.message) == ("WRONG_STATE", True)
    assert "PROFILE_OF_ANOTHER_REGION" in str(refused.status)


async def test_a_profile_shows_its_home_and_the_age_of_the_copy(regions: Federation) -> None:
    request = profiles_pb.GetProfileRequest(principal="ada")
    shown = {
        name: (await rig.profiles.GetProfile(request, **rig.auth("root"))).profile for name, rig in regions.rigs.items()
    }
    assert {name: one.home_region for name, one in shown.items()} == {"eu": "", "us": "eu"}
    assert not shown["eu"].HasField("copied_time")
    now = regions.rigs["us"].clock.now()
    assert now - 60 <= shown["us"].copied_time.seconds <= now


async def test_the_state_of_copies_is_shown(regions: Federation) -> None:
    us = regions.rigs["us"]
    regions.links["us", "eu"].cut()
    await regions.until(lambda: "copies of profiles" in us.base.readiness.details())
    assert "those of eu are" in us.base.readiness.details()["copies of profiles"]
    assert us.base.readiness.problems() == {}
    async with httpx2.AsyncClient() as http:
        text = (await http.get(us.url("ops", "/metrics"))).text
    assert 'tokenmint_region_profiles_age_seconds{region="eu"}' in text


async def test_a_stranger_reads_no_profiles(regions: Federation) -> None:
    """Neither without a request that a configured region has signed, nor with one for another region."""
    eu = regions.rigs["eu"]
    now, identity = int(eu.clock.now()), regions.identities["us"]
    good = {"iss": ISSUER, "region": "us", "aud": "eu", "iat": now}
    signed = [identity.sign(REQUEST, good | change) for change in ({}, {"aud": "us"}, {"iat": now - 3600})]
    signed += [regions.identities["authority"].sign(REQUEST, good), "x.y.z", ""]
    query = {"for": "us", "part": "all", "epoch": "0", "after": ""}
    async with httpx2.AsyncClient() as http:
        place = eu.url("http", "/regions/profiles")
        answers = [
            await http.get(place, params=query, headers={"authorization": f"Bearer {one}"} if one else {})
            for one in signed
        ]
        assert [one.status_code for one in answers] == [200, 401, 401, 401, 401, 401]
        given = {"authorization": f"Bearer {signed[0]}"}
        for change in ({"part": "other"}, {"after": "KEYS *"}, {"part": "ends", "after": "x"}, {"epoch": "x"}):
            assert (await http.get(place, params=query | change, headers=given)).status_code == 400


async def test_regions_without_the_setting_tell_no_profiles(serve: Serve) -> None:
    async with federation(serve) as regions:
        eu = regions.rigs["eu"]
        request = regions.identities["us"].sign(
            REQUEST, {"iss": ISSUER, "region": "us", "aud": "eu", "iat": int(eu.clock.now())}
        )
        async with httpx2.AsyncClient() as http:
            answer = await http.get(
                eu.url("http", "/regions/profiles"),
                params={"for": "us", "part": "ends", "epoch": "0", "after": "0-0"},
                headers={"authorization": f"Bearer {request}"},
            )
        assert (answer.status_code, "set regions.profiles" in answer.text) == (401, True)
        await eu.parts.profiles.create(Profile("bob"))
        _, keys = await eu.parts.store.scan("profile-*", "", 1000)
        assert keys == []
