"""Scenarios of revoked clients, audiences and providers: both ways refuse the same, and accept the same."""

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def _revoked(ways: BothWays, kind: Kind, name: str) -> Iterator[None]:
    now = int(ways.rig.clock.now())
    bulk, one = ways.rig.parts.revoking.following.bulk, Revocation(kind, name, now, now + 600)
    bulk.note(one)
    try:
        yield
    finally:
        bulk.forget(one)


async def bulk_revocations(ways: BothWays) -> None:
    """A revocation refuses what it covers until its second is over, and nothing else."""
    clock = ways.rig.clock
    assert isinstance(clock, FakeClock)
    await ways.check(recognised=True)
    for kind, name, refuses in KINDS:
        token = ways.token()
        with _revoked(ways, kind, name):
            full = await ways.check(ways.request(token), recognised=not refuses)
            assert (full.answer is None) is refuses, (kind, name)
            # A provider's token of that second stays refused. All others are good again once the second is over.
            clock.set(int(clock.now()) + 1.0)
            await ways.rig.parts.signing.clocks.look()
            old = await ways.check(ways.request(token), recognised=kind is not Kind.PROVIDER or not refuses)
            assert (old.answer is None) is (refuses and kind is Kind.PROVIDER), (kind, name)
            assert (await ways.check(recognised=True)).answer is not None
        assert (await ways.check(ways.request(token), recognised=True)).answer is not None


async def one_audience(ways: BothWays) -> None:
    """It is refused alone."""
    if not ways.batch:
        return
    with _revoked(ways, Kind.AUDIENCE, SMALL_AUDIENCE):
        await ways.check(recognised=False)
