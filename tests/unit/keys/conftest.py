"""Replicas for the tests of the keys."""

from pathlib import Path

import pytest
from tests.fakes import FakeClock
from tests.unit.keys.replicas import Machine

from tokenmint.storage.redis import Store


@pytest.fixture
def machine(store: Store, clock: FakeClock, tmp_path: Path) -> Machine:
    """Makes replicas on the test's store."""
    return Machine(store, clock, tmp_path)
