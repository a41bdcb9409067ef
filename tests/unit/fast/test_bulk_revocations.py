"""Revocations of a client, an audience and a provider: both ways refuse the same, and accept the same."""

import pytest
from tests.both_ways import SMALL_AUDIENCE, BothWays
from tests.fakes import FakeClock
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE

from tokenmint.revocation.entries import Kind, Revocation

KINDS = [
    (Kind.CLIENT, "web", True),
    (Kind.AUDIENCE, AUDIENCE, True),
    (Kind.PROVIDER, "idp", True),
    (Kind.CLIENT, "batch", False),
    (Kind.AUDIENCE, OPEN_AUDIENCE, False),
    (Kind.AUDIENCE, LEGACY_AUDIENCE, False),
    (Kind.PROVIDER, "other", False),
    (Kind.AUDIENCE, "web", False),
    (Kind.CLIENT, AUDIENCE, False),
    (Kind.PRINCIPAL, "ada", False),
    (Kind.TOKEN, "web", False),
]


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
async def test_bulk_revocations_are_the_same_on_both_ways(ways: BothWays, batch: bool) -> None:
    ways.batch = batch
    clock = ways.rig.clock
    assert isinstance(clock, FakeClock)
    await ways.check(recognised=True)
    for kind, name, refuses in KINDS:
        bulk = ways.rig.parts.revoking.following.bulk
        now = int(clock.now())
        token = ways.token()
        one = Revocation(kind, name, now, now + 600)
        bulk.note(one)
        full = await ways.check(ways.request(token), recognised=not refuses)
        assert (full.answer is None) is refuses, (kind, name)
        # A provider's token of that second stays refused. All others are good again once the second is over.
        clock.set(now + 1.0)
        await ways.rig.parts.signing.clocks.look()
        old = await ways.check(ways.request(token), recognised=kind is not Kind.PROVIDER or not refuses)
        assert (old.answer is None) is (refuses and kind is Kind.PROVIDER), (kind, name)
        assert (await ways.check(recognised=True)).answer is not None
        bulk.forget(one)
        assert (await ways.check(ways.request(token), recognised=True)).answer is not None


async def test_one_revoked_audience_of_a_batch_is_refused_alone(ways: BothWays) -> None:
    ways.batch = True
    now = int(ways.rig.clock.now())
    ways.rig.parts.revoking.following.bulk.note(Revocation(Kind.AUDIENCE, SMALL_AUDIENCE, now, now + 600))
    await ways.check(recognised=False)
