"""The fast way agrees with the full way, in every scenario."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.both_ways import BothWays, both_ways
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer, serving
from tests.unit.fast.scenarios import ALL, Scenario


@pytest.fixture
async def ways(
    tmp_path: Path, redis_url: str, redis_prefix: str, clock: FakeClock, entropy: FakeEntropy
) -> AsyncIterator[BothWays]:
    with serving(Issuer()) as issuer:
        async with both_ways(tmp_path, redis_url, redis_prefix, issuer, clock, entropy) as found:
            yield found


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.__name__)
async def test_both_ways_agree(ways: BothWays, scenario: Scenario) -> None:
    await scenario(ways)
    await scenario(ways)  # what the first time left behind changes nothing
