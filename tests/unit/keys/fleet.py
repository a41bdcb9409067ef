"""Random histories of a fleet: what may happen to it, and what always holds."""

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test
from tests.unit.keys.world import ALGORITHM, ORDER, STEP, Played

from tokenmint.base.errors import WrongState
from tokenmint.keys import ring as rings
from tokenmint.keys import ring_merge
from tokenmint.keys.types import PUBLISHED, KeyState

STEPS = 50  # of each history


class Fleet(Played):
    """Random histories of a fleet."""

    @initialize()
    def start(self) -> None:
        for index in range(len(self.replicas)):
            self._start(index)

    # --- what happens --------------------------------------------------------------------------------------------

    @rule(steps=st.integers(1, 60), signer=st.integers(0, 2), fetched=st.integers(0, 2), racing=st.booleans())
    def quiet(self, steps: int, signer: int, fetched: int, racing: bool) -> None:
        """Time passes; everybody does what it does by itself. ``racing``: two believe that they hold the lease."""
        for step in range(steps):
            self.world.now += STEP
            for index in range(len(self.replicas)):
                self._refresh(index)
            self._tick((signer + step) % 3, *([(signer + step + 1) % 3] if racing else []))
            self.what_was_answered_for_is_overwritten_by_nobody()
            self._sign(self.replicas[(signer + step) % 3])
            for verifier in self.verifiers:
                if verifier.until <= self.world.now:
                    self._fetch(verifier, self.replicas[(fetched + step) % 3])
            self._check_verifiers()
        ring = self.world.ring
        if steps > 10 and ring is not None and any(replica.held and replica.connected for replica in self.replicas):
            assert self.settled is not None or self.lost, "a replica that knows of a revocation puts it back"
            if any(one.held and one.connected and self._trusts_its_clock(one) for one in self.replicas):
                assert ring.only(ALGORITHM, KeyState.ACTIVE), "something signs"
                assert ring.only(ALGORITHM, KeyState.PREPARED), "something stands behind it"

    @rule(seconds=st.floats(0, 30))
    def nobody_hears_of_anything(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(index=st.integers(0, 2))
    def refresh(self, index: int) -> None:
        self._refresh(index)

    @rule(index=st.integers(0, 2))
    def decide(self, index: int) -> None:
        self._decide(index)

    @rule(index=st.integers(0, 2))
    def change(self, index: int) -> None:
        self._change(index)

    @rule(index=st.integers(0, 2), verifier=st.integers(0, 2))
    def fetch(self, index: int, verifier: int) -> None:
        self._fetch(self.verifiers[verifier], self.replicas[index])

    @rule(index=st.integers(0, 2))
    def sign(self, index: int) -> None:
        self._sign(self.replicas[index])

    @rule(index=st.integers(0, 2))
    def crash(self, index: int) -> None:
        replica = self.replicas[index]
        self._leaves(index)
        replica.held, replica.decided, replica.confirmed = None, None, float("-inf")

    def teardown(self) -> None:
        self.counts["histories"] += 1
        self.counts["lost"] += self.lost

    @rule(index=st.integers(0, 2))
    def restart(self, index: int) -> None:
        if self.replicas[index].held is None and self.replicas[index].connected:
            self._start(index)

    @rule(index=st.integers(0, 2), connected=st.booleans())
    def network(self, index: int, connected: bool) -> None:
        if not connected:
            self._leaves(index)
        self.replicas[index].connected = connected

    @rule(index=st.integers(0, 2), seconds=st.sampled_from([3.5, -3.5, 40.0, -40.0, 600.0, -600.0, 1e8, -1e8]))
    def a_clock_jumps(self, index: int, seconds: float) -> None:
        self.replicas[index].wrong = seconds
        self.counts["jumps"] += 1

    @rule(index=st.integers(0, 2))
    def a_clock_is_put_right(self, index: int) -> None:
        self.replicas[index].wrong = 0.0

    @rule(index=st.integers(0, 2), force=st.booleans())
    def rotate(self, index: int, force: bool) -> None:
        replica, stored = self.replicas[index], self.world.ring
        if replica.held is None or not replica.connected or stored is None or not self._trusts_its_clock(replica):
            return
        if ring_merge.merge(stored, replica.held, self.SCHEDULE, self._clock(replica)) is not stored:
            return
        prepared = stored.only(ALGORITHM, KeyState.PREPARED)
        if prepared is None:
            return
        try:
            changed = rings.rotate(
                stored, ALGORITHM, self._key(replica), self.SCHEDULE, self._clock(replica), force=force,
                acknowledged=self._acknowledged(replica.held),
            )  # fmt: skip
        except WrongState:
            return
        changed = replace(changed, generation=stored.generation + 1)
        self._swap(stored, changed)
        self._adopt(index, changed)
        if force:
            self._told(prepared)

    @rule(index=st.integers(0, 2), which=st.integers(0, 5), with_prepared=st.booleans(), ends=st.booleans())
    def revoke(self, index: int, which: int, with_prepared: bool, ends: bool) -> None:
        """``ends``: the replica is not there any more to have a key follow."""
        replica, stored = self.replicas[index], self.world.ring
        if replica.held is None or not replica.connected or stored is None:
            return
        if ring_merge.merge(stored, replica.held, self.SCHEDULE, self._clock(replica)) is not stored:
            return
        key = stored.keys[-1 - which % len(stored.keys)]
        changed = rings.revoke(
            stored, key.key_id, "drill", None, self.SCHEDULE, self._clock(replica),
            with_prepared=with_prepared, acknowledged=self._acknowledged(replica.held),
        )  # fmt: skip
        if changed is stored:
            return
        changed = replace(changed, generation=stored.generation + 1)
        self._swap(stored, changed)
        self._adopt(index, changed)
        for item in changed.keys:
            if item.state is KeyState.REVOKED:
                self.revoked.setdefault(item.key_id, self.world.now)
            elif item.state in (KeyState.PREPARED, KeyState.ACTIVE):
                self._told(item)  # it signs at once, or as soon as every replica publishes it
        if not ends:
            self._tick(index)  # where it trusts its clock

    @precondition(lambda self: len(self.world.past) > 1)
    @rule(back=st.integers(1, 6))
    def the_store_goes_back(self, back: int) -> None:
        stored = self.world.ring
        old = self.world.past[max(0, len(self.world.past) - 1 - back)]
        if stored is None or self._knows(old, stored):
            return
        connected = [one.held for one in self.replicas if one.held is not None and one.connected]
        if not any(self._knows(held, stored) for held in connected):
            self.lost = True
        self.world.ring = old
        self.confirmed = {key.key_id: key.state for key in old.keys}
        if not all(self._is_revoked(old, key_id) for key_id in self.revoked):
            self.settled = None
        # Keys whose publication it forgot are published anew, and wait anew.
        for key in stored.keys:
            known = old.find(key.key_id)
            if known is None or known.state is not key.state:
                self.grace[key.key_id] = self.world.now + self.SCHEDULE.ahead + self.SCHEDULE.retention()

    # --- what always holds ---------------------------------------------------------------------------------------

    def _check_verifiers(self) -> None:
        if self.lost:
            return
        now = self.world.now
        self.tokens = [token for token in self.tokens if token.expires > now]
        for token in self.tokens:
            if token.key_id in self.revoked or now < self.grace.get(token.key_id, 0.0):
                continue
            for verifier in self.verifiers:
                if verifier.until > now:
                    self.counts["verifications"] += 1
                    assert token.key_id in verifier.kids, f"{token} is refused by {verifier}"

    @invariant()
    def no_verifier_meets_a_key_that_it_has_not_and_no_token_outlives_its_key(self) -> None:
        self._check_verifiers()

    @invariant()
    def what_replicas_publish_holds_every_living_token(self) -> None:
        if self.lost:
            return
        for replica in self.replicas:
            if replica.held is None or not self._signs(replica):
                continue
            published = {key.key_id for key in replica.held.keys if key.state in PUBLISHED}
            for token in self.tokens:
                fresh = token.expires > self.world.now
                excused = token.key_id in self.revoked or self.world.now < self.grace.get(token.key_id, 0.0)
                assert token.key_id in published or excused or not fresh

    @invariant()
    def one_active_key_at_most_and_one_prepared(self) -> None:
        for ring in [self.world.ring, *(replica.held for replica in self.replicas)]:
            if ring is not None:
                states = [key.state for key in ring.keys]
                assert states.count(KeyState.ACTIVE) <= 1
                assert states.count(KeyState.PREPARED) <= 1

    @invariant()
    def what_was_answered_for_is_overwritten_by_nobody(self) -> None:
        for key_id, state in self.confirmed.items():
            key = self.world.ring.find(key_id) if self.world.ring is not None else None
            if key is None:
                assert state is KeyState.RETIRED, "only records of retired keys are pruned"
            elif self.lost and (state, key.state) == (KeyState.RETIRED, KeyState.RETIRING):
                # The store went back to a history that had been lost, with another prepared key. The first replica to
                # merge knew the key as unused; another one had seen it sign, so it is published for its tokens.
                continue
            else:
                assert ORDER[key.state] >= ORDER[state]

    @invariant()
    def states_only_move_forward(self) -> None:
        for index, replica in enumerate(self.replicas):
            if replica.held is None:
                self.seen.pop(index, None)
                continue
            seen = self.seen.setdefault(index, {})
            for key in replica.held.keys:
                assert ORDER[key.state] >= ORDER[seen.get(key.key_id, KeyState.PREPARED)]
                seen[key.key_id] = key.state

    @invariant()
    def private_halves_exist_only_while_they_are_needed(self) -> None:
        for key in self.world.ring.keys if self.world.ring is not None else ():
            assert (key.sealed is not None) == (key.state in (KeyState.PREPARED, KeyState.ACTIVE))

    @invariant()
    def what_was_revoked_stays_revoked(self) -> None:
        if self.lost or self.settled is None:
            return
        for key_id, when in self.revoked.items():
            everywhere = max(when, self.settled) + self.SCHEDULE.replica_lag
            for replica in self.replicas:
                if replica.held is not None and self._signs(replica) and self.world.now > everywhere:
                    assert self._is_revoked(replica.held, key_id)

    def everything_holds(self) -> None:
        """Raise ``AssertionError`` where an invariant does not hold: for histories that a test directs."""
        for one in self.invariants:
            one.function(self)


def broken(**changes: Any) -> type[Fleet]:
    """Return a fleet in which one rule does not hold."""
    return type("BrokenFleet", (Fleet,), {"counts": Counter(), **changes})


def play(machine: type[Fleet], number: int, examples: int) -> None:
    """Play random histories, the same ones for the same number. Raises the ``AssertionError`` of what does not hold."""
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
