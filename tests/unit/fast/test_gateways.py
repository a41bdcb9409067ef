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
