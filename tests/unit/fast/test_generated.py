"""The fast way agrees with the full way under configurations, tokens, requests and callers that are drawn by chance."""

from collections import Counter
from collections.abc import Mapping

import pytest
from tests.both_ways import BothWays
from tests.depth import depth
from tests.gateway_ways import GatewayWays
from tests.rig import person
from tests.unit.fast import generated, generated_checks
from tests.unit.fast.generated import PROVIDERS, SUBJECTS, Call, Draw

from tokenmint.base.errors import ConfigurationError
from tokenmint.v1.profile_admin_service_pb2 import RevokePrincipalTokensRequest
from tokenmint.v1.profile_pb2 import Identity

pytestmark = pytest.mark.slow

SHARDS = depth(2, 6)
CONFIGURATIONS = depth(3, 30)
CALLS = depth(30, 50)


async def create_people(ways: BothWays) -> None:
    """Principals that the tokens are about: a usual one, one that is disabled, one with revoked tokens."""
    bo = person("bo", "1", "clerk", "caf\u00e9", tenant="engines", nested={"x": [1, 0.5, None, "\u00e4\u2028"]})
    off, revoked = person("off", "2"), person("revoked", "3", tenant='"\\')
    bo.identities.extend(Identity(provider=one, subject=subject) for one in PROVIDERS for subject in SUBJECTS[:5])
    off.disabled = True
    off.identities.extend(Identity(provider=one, subject="off") for one in PROVIDERS)
    revoked.identities.extend(Identity(provider=one, subject="revoked") for one in PROVIDERS)
    await ways.rig.create(bo, off, revoked)
    await ways.rig.profiles.RevokePrincipalTokens(
        RevokePrincipalTokensRequest(principal="revoked"), **ways.rig.auth("root")
    )


async def under(ways: BothWays, draw: Draw, secrets: Mapping[str, str]) -> dict[bool, int]:
    """Compare calls under one configuration; return how many were recognised, of batches and of others."""
    recognised = {True: 0, False: 0}
    for _ in range(CALLS):
        if draw.rarely():
            await ways.rig.set_time(ways.rig.clock.now() + draw.one(0.4, 0.6, 1.0, 7.25, 40.0, -0.5, -3.0))
        call = generated.call(draw, ways.rig.clock.now(), dict(secrets))
        known = ways.recognised
        await compare(ways, call)
        recognised[call.batch] += ways.recognised - known
    return recognised


async def at_gateways(ways: BothWays, draw: Draw, secrets: Mapping[str, str]) -> int:
    """Compare requests at a gateway under one configuration; return how many were recognised."""
    checks = GatewayWays(ways.rig, generated_checks.gateway(draw))
    for _ in range(CALLS):
        await compare(checks, generated_checks.check(draw, ways.rig.clock.now(), dict(secrets)))
    return checks.recognised


async def compare(ways: BothWays, call: Call) -> None:
    """Compare both ways three times: what the first calls left behind changes nothing."""
    ways.batch = call.batch
    try:
        for _ in range(3):
            await ways.check(call.request, call.metadata)
    except AssertionError as error:
        error.add_note(f"the call {call}")
        raise


@pytest.mark.deep
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_both_ways_agree_under_any_configuration(ways: BothWays, shard: int, errors: list[BaseException]) -> None:
    await create_people(ways)
    rig, before, recognised, checked = ways.rig, ways.rig.config.read_text(), Counter[bool](), 0
    secrets = {"web": rig.secrets["web"].reveal(), "drawn": rig.secrets["batch"].reveal()}
    for number in range(CONFIGURATIONS):
        draw = Draw(f"{shard} {number}")
        while True:
            drawn = generated.configuration(draw, rig.secrets["batch"].fingerprint())
            rig.config.write_text(before + drawn)
            try:
                settings = rig.settings()
            except ConfigurationError:
                continue  # some are not valid
            break
        await rig.app.reload(settings)
        try:
            recognised.update(await under(ways, draw, secrets))
            checked += await at_gateways(ways, draw, secrets)
        except AssertionError as error:
            error.add_note(f"the configuration {shard} {number}: {drawn}")
            raise
        assert errors == [], drawn
    assert recognised[False] > CONFIGURATIONS
    assert recognised[True] > CONFIGURATIONS / 2
    assert checked > CONFIGURATIONS
