"""One running service with both ways into it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.both_ways import BothWays, both_ways
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer, serving

from tokenmint.rpc import fast_exchange


@pytest.fixture
async def ways(
    tmp_path: Path, redis_url: str, redis_prefix: str, clock: FakeClock, entropy: FakeEntropy
) -> AsyncIterator[BothWays]:
    with serving(Issuer()) as issuer:
        async with both_ways(tmp_path, redis_url, redis_prefix, issuer, clock, entropy) as found:
            yield found


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The errors that the fast way came upon: it has to recognise what it can't do."""
    found: list[BaseException] = []
    monkeypatch.setattr(fast_exchange, "log_internal", lambda _, error: found.append(error))
    return found
