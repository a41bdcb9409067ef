"""The fast way of Envoy's Check agrees with the full way."""

import pytest
from tests.both_ways import BothWays
from tests.gateway_ways import GatewayWays
from tests.unit.fast import gateways
from tests.unit.fast.gateways import ALL
from tests.unit.fast.tokens import tokens_that_are_taken

pytestmark = pytest.mark.slow


@pytest.fixture
async def checks(ways: BothWays) -> GatewayWays:
    return GatewayWays(ways.rig)


@pytest.mark.parametrize("cold", [False, True], ids=["profiles at hand", "profiles read"])
async def test_both_ways_agree_at_gateways(checks: GatewayWays, cold: bool) -> None:
    checks.cold = cold
    for scenario in (*ALL, *ALL):  # what the first time left behind changes nothing
        try:
            await scenario(checks)
        except Exception as error:
            error.add_note(f"the scenario {scenario.__name__}")
            raise
    assert checks.recognised > 100
    assert (checks.waited > 100) is cold


async def test_a_request_at_a_gateway_that_the_fast_way_cannot_use_is_no_error(
    checks: GatewayWays, errors: list[BaseException]
) -> None:
    for scenario in (
        tokens_that_are_taken, gateways.tokens_in_every_place, gateways.requests_without_a_token,
        gateways.audiences_of_hosts, gateways.settings_of_routes, gateways.messages_in_other_spellings,
    ):  # fmt: skip
        await scenario(checks)
    assert errors == []  # each would be a line of the log, which a client could fill


async def test_forgotten_principals_are_known_again_also_where_the_usual_request_is_refused(
    checks: GatewayWays,
) -> None:
    """On a busy machine the near cache forgets in the middle of a scenario."""
    before = checks.rig.config.read_text()
    await checks.warm()
    try:
        setting = 'audiences = ["app"]\ntoken_types = ["access_token"]'
        await checks.configure(before.replace('audiences = ["app"]', setting))
        checks.rig.parts.near.flush()
        assert not checks.knows_ada
        await checks.warm()
        assert checks.knows_ada
    finally:
        await checks.configure(before)
