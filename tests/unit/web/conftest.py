"""Each scenario runs on both event loops that the service may have."""

from functools import partial

import pytest
from tests.listeners import LOOPS, Run, run_on


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scenario on each event loop in turn."""
    return partial(run_on, request.param)
