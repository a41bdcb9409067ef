"""A fleet in one process: replicas, a store that may lose writes, clocks that differ, and verifiers that cache.

The service's own functions decide; only the store, the network between and the passing of time are played here.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import ClassVar

from hypothesis.stateful import RuleBasedStateMachine

from tokenmint.keys import ring as rings
from tokenmint.keys import ring_merge
from tokenmint.keys.clock_check import Offset
from tokenmint.keys.high_water_mark import Mark
from tokenmint.keys.published import max_age_at, next_change, publish
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

START = 1_000_000.0
UNCERTAIN = 2.0  # seconds either way that an offset may be larger or smaller than it was measured
STEP = 3.0  # seconds: less than a third of R
ORDER = {state: index for index, state in enumerate(KeyState)}
ALGORITHM = "ES256"
TIMING = {"replica_lag": 10.0, "max_age": 30.0, "verifier_cache": 60.0, "max_lifetime": 50.0, "skew": 4.0}


@dataclass
class Replica:
    """A process: what it holds is lost when it dies, its mark is not."""

    offset: float
    """How far the ring's time is off by which it decides, seconds: what it can't know of the store's clock."""
    wrong: float = 0.0
    """How far its own clock is off beside that: what it does know, as soon as it looks, and goes by."""
    held: KeyRing | None = None
    confirmed: float = float("-inf")
    connected: bool = True
    mark: Mark | None = None
    decided: tuple[KeyRing, KeyRing] | None = None
    """A change that it has decided on and not yet made: what it read, and what is to be."""


@dataclass
class Verifier:
    """Keeps its contract: a set is kept for as long as the headers say, or for C and not longer."""

    fixed: bool
    """Keeps every set for C, against what the headers say."""
    kids: frozenset[str] = frozenset()
    until: float = float("-inf")


@dataclass
class Token:
    key_id: str
    expires: float


@dataclass
class World:
    now: float = START
    ring: KeyRing | None = None
    past: list[KeyRing] = field(default_factory=list)
    acknowledged: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By replica: the generation that it serves, and until when it counts as live."""
    made: int = 0


class Played(RuleBasedStateMachine):
    """The acts of replicas, store and verifiers. A test may break the class attributes on purpose."""

    SCHEDULE: ClassVar[Schedule] = Schedule(**TIMING, rotation_interval=200.0)
    COMPARE_AND_SWAP: ClassVar[bool] = True
    CLOCK_CHECK: ClassVar[bool] = True
    counts: ClassVar[Counter[str]] = Counter()
    """Counts over the histories, so that a test can tell that they came to something."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.replicas = [Replica(offset) for offset in (-2.0, 0.0, 2.0)]
        self.verifiers = [Verifier(fixed=False), Verifier(fixed=False), Verifier(fixed=True)]
        self.tokens: list[Token] = []
        self.grace: dict[str, float] = {}
        """By key id: until when verifiers may miss it, as the operator was told."""
        self.revoked: dict[str, float] = {}
        self.seen: dict[int, dict[str, KeyState]] = {}
        self.confirmed: dict[str, KeyState] = {}
        """By key id: the furthest state that the store was ever told, but for what it has forgotten by itself."""
        self.lost = False
        """Whether a change was lost that nobody knows any more."""
        self.settled: float | None = START
        """Since when the store knows every revocation; None after it has forgotten one."""

    # --- the store -----------------------------------------------------------------------------------------------

    def _swap(self, expected: KeyRing | None, new: KeyRing) -> bool:
        if self.world.ring is not expected and self.COMPARE_AND_SWAP:
            return False
        self.world.ring = new
        self.world.past.append(new)
        for key in new.keys:
            before = self.confirmed.get(key.key_id, KeyState.PREPARED)
            self.confirmed[key.key_id] = max(key.state, before, key=lambda state: ORDER[state])
        if self.settled is None and all(self._is_revoked(new, key_id) for key_id in self.revoked):
            self.settled = self.world.now
        return True

    def _is_revoked(self, ring: KeyRing, key_id: str) -> bool:
        key = ring.find(key_id)
        return key is not None and key.state is KeyState.REVOKED

    def _acknowledged(self, own: KeyRing) -> int:
        live = [generation for generation, until in self.world.acknowledged.values() if until > self.world.now]
        return min([*live, own.generation])

    # --- replicas ------------------------------------------------------------------------------------------------

    def _clock(self, replica: Replica) -> float:
        """The ring's time, as the replica tells it: by its own clock, less what is certainly wrong of that."""
        certain = self._certain(replica) if self.CLOCK_CHECK else 0.0
        return self.world.now + replica.offset + replica.wrong - certain

    def _certain(self, replica: Replica) -> float:
        ahead = replica.offset + replica.wrong
        return Offset(ahead - UNCERTAIN, ahead + UNCERTAIN).certain

    def _trusts_its_clock(self, replica: Replica) -> bool:
        return not self.CLOCK_CHECK or abs(self._certain(replica)) <= self.SCHEDULE.skew

    def _key(self, replica: Replica) -> SigningKey:
        self.world.made += 1
        key_id, now = f"key-{self.world.made}", self._clock(replica)
        return SigningKey(key_id, ALGORITHM, KeyState.PREPARED, {"x": key_id}, now, now, sealed="s", seal_time=now)

    def _fresh(self, replica: Replica, ring: KeyRing, acknowledged: int) -> dict[str, list[SigningKey]]:
        counts = rings.fresh_keys_needed(ring, [ALGORITHM], self.SCHEDULE, self._clock(replica), acknowledged)
        return {name: [self._key(replica) for _ in range(count)] for name, count in counts.items()}

    def _start(self, index: int) -> None:
        replica = self.replicas[index]
        self.world.acknowledged[index] = (0, self.world.now + self.SCHEDULE.replica_lag)
        if replica.mark is not None and replica.mark.missing(self.world.ring):
            return  # refused: the store is older than the state that was served here
        if self.world.ring is None and not self._trusts_its_clock(replica):
            return  # refused: no first keys by a wrong clock
        if self.world.ring is None:
            empty = KeyRing("line")
            fresh = self._fresh(replica, empty, 0)
            first = replace(rings.advance(empty, self.SCHEDULE, self._clock(replica), fresh, 0), generation=1)
            self._swap(None, first)
        ring = self.world.ring
        assert ring is not None
        self._adopt(index, ring)

    def _adopt(self, index: int, ring: KeyRing) -> None:
        replica = self.replicas[index]
        if replica.held is None or ring.generation >= replica.held.generation:
            replica.held = ring
        replica.confirmed = self.world.now
        self.world.acknowledged[index] = (replica.held.generation, self.world.now + self.SCHEDULE.replica_lag)
        mark = Mark.of(ring)
        if replica.mark is not None:
            mark = Mark(
                mark.ring_id, max(mark.generation, replica.mark.generation), mark.revoked | replica.mark.revoked
            )
        replica.mark = mark

    def _refresh(self, index: int) -> None:
        replica = self.replicas[index]
        if replica.held is None or not replica.connected:
            return
        stored = self.world.ring or KeyRing("line")
        merged = ring_merge.merge(stored, replica.held, self.SCHEDULE, self._clock(replica))
        if merged is not stored:
            merged = replace(merged, generation=merged.generation + 1)
            if not self._swap(self.world.ring, merged):
                return
            self._emergency(merged)  # where what signed had been revoked before the store forgot that
        self._adopt(index, merged)

    def _tick(self, *indices: int) -> None:
        """Decide and change without anything between. Of several each decides before the first has changed anything."""
        for index in indices:
            self._decide(index)
        for index in indices:
            self._change(index)

    def _decide(self, index: int) -> None:
        replica, stored = self.replicas[index], self.world.ring
        if replica.held is None or not replica.connected or stored is None or not self._trusts_its_clock(replica):
            return
        acknowledged = self._acknowledged(replica.held)
        fresh = self._fresh(replica, stored, acknowledged)
        advanced = rings.advance(stored, self.SCHEDULE, self._clock(replica), fresh, acknowledged)
        replica.decided = None if advanced is stored else (stored, advanced)

    def _change(self, index: int) -> None:
        replica = self.replicas[index]
        decided, replica.decided = replica.decided, None
        if decided is None or replica.held is None or not replica.connected:
            return
        stored, changed = decided
        if ring_merge.merge(stored, replica.held, self.SCHEDULE, self._clock(replica)) is not stored:
            return  # the store went back: that is put right first
        changed = replace(changed, generation=stored.generation + 1)
        if self._swap(stored, changed):
            self._adopt(index, changed)
            before, after = stored.only(ALGORITHM, KeyState.ACTIVE), changed.only(ALGORITHM, KeyState.ACTIVE)
            self.counts["rotations"] += before != after
            self._emergency(changed)

    def _signs(self, replica: Replica) -> bool:
        fresh = self.world.now - replica.confirmed <= self.SCHEDULE.replica_lag
        return replica.held is not None and fresh and self._trusts_its_clock(replica)

    def _serves(self, replica: Replica) -> bool:
        return replica.held is not None and self.world.now - replica.confirmed <= self.SCHEDULE.serve_unconfirmed

    def _sign(self, replica: Replica) -> None:
        if not self._signs(replica) or replica.held is None:
            return
        key = replica.held.only(ALGORITHM, KeyState.ACTIVE)
        if key is None:
            return
        assert key.sealed is not None
        if self.world.ring is not None and not self.lost:
            stored = self.world.ring.find(key.key_id)
            if stored is not None and stored.state is KeyState.RETIRING:
                ended = stored.retire_time or 0.0
                assert self.world.now <= ended + self.SCHEDULE.replica_lag + 2 * self.SCHEDULE.skew
            if key.key_id in self.revoked and self.settled is not None:
                assert self.world.now <= max(self.revoked[key.key_id], self.settled) + self.SCHEDULE.replica_lag
        own = self.world.now + replica.offset + replica.wrong
        self.tokens.append(Token(key.key_id, own + self.SCHEDULE.max_lifetime))

    def _fetch(self, verifier: Verifier, replica: Replica) -> None:
        if not self._serves(replica) or replica.held is None:
            return
        if verifier.fixed and not self._signs(replica):
            return  # who ignores the headers is promised nothing by a replica that was cut off
        published = publish(replica.held, self.SCHEDULE)
        verifier.kids = frozenset(key["kid"] for key in published.keys)
        change = next_change(replica.held, self.SCHEDULE)
        age = max_age_at(change, self.SCHEDULE, self._clock(replica))
        verifier.until = self.world.now + (self.SCHEDULE.verifier_cache if verifier.fixed else age)

    def _leaves(self, index: int) -> None:
        """A change that the store has lost is known to those who hold it, and to nobody once they are gone."""
        held, stored = self.replicas[index].held, self.world.ring
        if held is None or stored is None or self._knows(stored, held):
            return
        others = [one for one in self.replicas if one is not self.replicas[index] and one.connected and one.held]
        if not any(self._knows(one.held, held) for one in others if one.held is not None):
            self.lost = True

    def _knows(self, ring: KeyRing, other: KeyRing) -> bool:
        return ring_merge.merge(ring, other, self.SCHEDULE, self.world.now) is ring

    def _emergency(self, ring: KeyRing) -> None:
        """A prepared key signs as soon as every replica publishes it, if no other key signs."""
        prepared = ring.only(ALGORITHM, KeyState.PREPARED)
        if ring.only(ALGORITHM, KeyState.ACTIVE) is None and prepared is not None:
            self._told(prepared)

    def _told(self, key: SigningKey) -> None:
        allowed = rings.activation_allowed(key, self.SCHEDULE) + self.SCHEDULE.skew
        self.grace[key.key_id] = max(allowed, self.grace.get(key.key_id, 0.0))
