"""P >= R + L + max(A, C) + S, played in a small model: the real ring, documents and records, and links that are cut.

A tick is a second. The model has real time, and clocks that differ from it. A verifier follows one region.
"""

import itertools
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.keys import ring as rings
from tokenmint.keys.published import own_keys, publish
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, RegionKey, RegionKeys, SigningKey
from tokenmint.regions import records
from tokenmint.regions.document import Document, RevocationPage
from tokenmint.regions.records import Record

SCHEDULE: Final = Schedule(
    replica_lag=2.0,
    max_age=1.0,
    verifier_cache=3.0,
    max_lifetime=4.0,
    skew=1.0,
    rotation_interval=100.0,
    region_lag=5.0,
)
NOWHERE: Final = RevocationPage(0, (), "0-0", more=False)
MEMORY: Final = 100.0


def new_key(region: str, number: int) -> SigningKey:
    """Return a prepared key without material: the model signs nothing."""
    return SigningKey(f"{region}.{number}", "ES256", KeyState.PREPARED, {"kty": "EC"}, 0.0, 0.0, key_ref="model")


def document(region: str, ring: KeyRing, as_of: float) -> Document:
    """Return what a region says of its ring."""
    keys = tuple(RegionKey(key.key_id, key.algorithm, key.public_jwk) for key in own_keys(ring))
    revoked = {key.key_id: key.revoke_time or 0.0 for key in ring.keys if key.state is KeyState.REVOKED}
    return Document(region, "ring-" + region, ring.generation, as_of, 4.0, keys, revoked, (), NOWHERE)


def begun(region: str, now: float) -> KeyRing:
    """Return a ring with a key that signs, and that every verifier knows."""
    old = replace(new_key(region, 0), state=KeyState.ACTIVE, activate_time=now - 1000.0)
    return KeyRing("ring-" + region, generation=1, keys=(old,))


def refused(schedule: Schedule, clocks: tuple[float, float], age: int, lag: int, hold: int) -> bool:
    """Return whether a verifier refuses the first token of a new key, in one arrangement.

    Args:
        schedule: the timing rules.
        clocks: how far the clocks are off of the replica that publishes the key, and of the one that activates it.
        age: how old the other region's document is when the verifier fetches the key set there.
        lag: how old the ring of the key's own region is at the replica where another verifier fetches it.
        hold: how long both verifiers hold the key set.
    """
    start = 1000.0
    publisher, activator = clocks
    before = begun("x", start)
    # A long interval does not matter here: the key that signs is old.
    after = rings.advance(before, schedule, start + publisher, {"ES256": [new_key("x", 1)]}, 1)
    after = replace(after, generation=2)
    now = start
    while after.only("ES256", KeyState.ACTIVE) is before.keys[0]:
        now += 1.0
        spare = {"ES256": [new_key("x", 2)]}
        after = replace(rings.advance(after, schedule, now + activator, spare, 2), generation=after.generation)
    signed_by = after.only("ES256", KeyState.ACTIVE)
    assert signed_by is not None
    fetched = now - hold
    known = document("x", before if fetched - age < start else after, fetched - age)
    record = records.accepted(None, known, now=fetched, skew=schedule.skew, memory=MEMORY)
    union = publish(begun("y", start), schedule, RegionKeys(record.keys))
    own = publish(before if fetched - lag < start else after, schedule)
    return any(signed_by.key_id not in {key["kid"] for key in one.keys} for one in (union, own))


def arrangements(schedule: Schedule) -> list[tuple[tuple[float, float], int, int, int]]:
    """Return every arrangement within the assumptions of the rule."""
    skew = int(schedule.skew)
    clocks = [(one, two) for one in range(-skew, skew + 1) for two in range(-skew, skew + 1) if abs(one - two) <= skew]
    ages, lags = range(int(schedule.region_lag) + 1), range(int(schedule.replica_lag) + 1)
    holds = range(int(max(schedule.max_age, schedule.verifier_cache)) + 1)
    every = itertools.product(clocks, ages, lags, holds)
    return [((float(one), float(two)), age, lag, hold) for (one, two), age, lag, hold in every]


def test_no_verifier_of_any_region_refuses_a_new_key_in_any_arrangement() -> None:
    assert SCHEDULE.ahead == 2 + 5 + 3 + 1
    assert not [one for one in arrangements(SCHEDULE) if refused(SCHEDULE, *one)]


@pytest.mark.parametrize("part", ["region_lag", "verifier_cache", "skew"])
def test_the_rule_needs_each_part_that_concerns_another_region(part: str) -> None:
    """R is for the own region: with L it is more than is needed there. So it is taken away beside each part."""
    missing = SCHEDULE.replica_lag + (1.0 if part != "skew" else SCHEDULE.skew)
    short = replace(SCHEDULE, publish_ahead=SCHEDULE.least_ahead - missing)
    assert short.problems()
    found = [one for one in arrangements(SCHEDULE) if refused(short, *one)]
    assert found
    # Without the uncertainty of that part, the shorter time is enough.
    eased = replace(SCHEDULE, **{part: getattr(SCHEDULE, part) - (1.0 if part != "skew" else SCHEDULE.skew)})
    if part == "verifier_cache":
        eased = replace(eased, max_age=min(eased.max_age, eased.verifier_cache))
    assert not [one for one in arrangements(eased) if refused(short, *one)]


def test_without_other_regions_the_rule_is_as_before() -> None:
    alone = replace(SCHEDULE, region_lag=0.0)
    assert alone.ahead == 2 + 3 + 1
    assert SCHEDULE.serve_unconfirmed == alone.serve_unconfirmed


# --- histories -------------------------------------------------------------------------------------------------------

NAMES: Final = ("x", "y", "z")
TOGETHER: Final = replace(SCHEDULE, rotation_interval=SCHEDULE.ahead)
"""A key signs as early as it may."""


@dataclass
class Region:
    """A region of the model: its ring, what it knows of the others, and a verifier that follows it."""

    name: str
    schedule: Schedule
    off: float
    """How far its clock is off."""
    ring: KeyRing
    known: dict[str, Record] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    heard: dict[str, float] = field(default_factory=dict)
    cached: frozenset[str] = frozenset()
    cached_until: float = 0.0
    made: int = 1

    def tick(self, now: float, force_fetch: bool, hold: int) -> None:
        """Advance the ring by the schedule, and let the verifier fetch when its key set is over."""
        clock = now + self.off
        generation = self.ring.generation
        needed = rings.fresh_keys_needed(self.ring, ["ES256"], self.schedule, clock, generation).get("ES256", 0)
        fresh = [new_key(self.name, self.made + number) for number in range(needed)]
        self.made += needed
        advanced = rings.advance(self.ring, self.schedule, clock, {"ES256": fresh}, generation)
        if advanced is not self.ring:
            self.ring = replace(advanced, generation=generation + 1)
        if force_fetch or now >= self.cached_until:
            self.cached, self.cached_until = self.published(), now + hold

    def published(self) -> frozenset[str]:
        """Return the ids of the key set."""
        others = [key for name, record in self.known.items() if name not in self.given_up for key in record.keys]
        return frozenset(key["kid"] for key in publish(self.ring, self.schedule, RegionKeys(tuple(others))).keys)

    def pull(self, other: "Region", now: float) -> None:
        """Take over what another region says."""
        if self.name in other.given_up:
            return
        self.given_up |= other.given_up - {self.name}
        if other.name in self.given_up:
            return
        told = document(other.name, other.ring, now + other.off)
        held = self.known.get(other.name)
        self.known[other.name] = records.accepted(held, told, now=now + self.off, skew=1.0, memory=MEMORY)
        self.heard[other.name] = now


@given(st.integers(0, 2**32))
def test_links_that_are_cut_for_up_to_l_refuse_no_token_and_a_region_that_was_given_up_stays_so(seed: int) -> None:
    play(TOGETHER, seed)


def test_the_histories_find_a_key_that_signs_too_early() -> None:
    # A tick each: a document is pulled, and a key set fetched, before it is older than L, or than C.
    early = TOGETHER.region_lag + TOGETHER.verifier_cache - 2
    short = replace(TOGETHER, publish_ahead=early, rotation_interval=early)

    def play_many() -> None:
        for seed in range(50):
            play(short, seed)

    with pytest.raises(AssertionError):
        play_many()


def play(schedule: Schedule, seed: int) -> None:
    """Play a history, and check every verification in it."""
    now, random = 1000.0, Random(seed)
    regions = {
        name: Region(name, schedule, random.choice((0.0, 0.5)), begun(name, now - number * 5.0))
        for number, name in enumerate(NAMES)
    }
    pairs = [(one, other) for one in NAMES for other in NAMES if one != other]
    for one, other in pairs:
        regions[one].pull(regions[other], now)
    lost, lost_at = random.choice(NAMES), random.randint(5, 70)
    told: dict[str, float] = {}
    for tick in range(80):
        now += 1.0
        if tick == lost_at:
            first = random.choice([name for name in NAMES if name != lost])
            regions[first].given_up.add(lost)
        for one, other in pairs:
            # A link is cut at will, but no region is without another's keys for longer than L.
            due = now - regions[one].heard[other] >= schedule.region_lag
            if due or random.random() < 0.1:
                regions[one].pull(regions[other], now)
        for region in regions.values():
            region.tick(now, random.random() < 0.1, random.choice((0, 2, 3, 3, 3)))
            if lost in region.given_up:
                told.setdefault(region.name, now)
        _verify(regions, told, lost, now)
    others = set(NAMES) - {lost}
    assert told.keys() >= others
    assert max(told.values()) <= 1000.0 + lost_at + 1 + schedule.region_lag


def _verify(regions: dict[str, Region], told: dict[str, float], lost: str, now: float) -> None:
    """Every token of a live region is accepted; none of a lost one, once the key sets of its time are over."""
    for region in regions.values():
        assert (
            region.name == lost
            or all(not key.startswith(f"{lost}.") for key in region.published())
            or (region.name not in told)
        )
        for other in regions.values():
            active = other.ring.only("ES256", KeyState.ACTIVE)
            assert active is not None
            if other.name == lost and region.name in told:
                assert active.key_id not in region.cached or now < told[region.name] + TOGETHER.verifier_cache
            elif region.name != lost or other.name == lost:
                assert active.key_id in region.cached or lost in (region.name, other.name), (region.name, other.name)
