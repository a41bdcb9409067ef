"""Three regions that copy profiles, for the tests of copies and of pulls."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.fakes import FakeClock
from tests.unit.regions.profiles_world import Place, World, make_world


@pytest.fixture
async def world(redis_url: str, redis_prefix: str, clock: FakeClock) -> AsyncIterator[World]:
    async with AsyncExitStack() as closing:
        yield await make_world(redis_url, redis_prefix, clock, closing, "eu", "us", "ap")


@pytest.fixture
def eu(world: World) -> Place:
    return world.places["eu"]


@pytest.fixture
def us(world: World) -> Place:
    return world.places["us"]
