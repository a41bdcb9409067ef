"""The fast way agrees with the full way, in every scenario."""

import pytest
from tests.both_ways import BothWays
from tests.unit.fast.scenarios import ALL

pytestmark = pytest.mark.slow


async def test_both_ways_agree(ways: BothWays) -> None:
    for scenario in (*ALL, *ALL):  # what the first time left behind changes nothing
        try:
            await scenario(ways)
        except Exception as error:
            error.add_note(f"the scenario {scenario.__name__}")
            raise
    assert ways.recognised > 100
