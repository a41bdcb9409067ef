"""The ring after a loss of the store: merges two states of it, notes the loss and its acceptance; pure functions."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from tokenmint.keys import key_life
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

DISOWNED: Final = "revoked before the store lost that"
_ORDER: Final = {state: index for index, state in enumerate(KeyState)}


def merge(stored: KeyRing, held: KeyRing, schedule: Schedule, now: float) -> KeyRing:
    """Combine two rings of one ring id; return ``stored`` itself if it is the later one and lacks nothing.

    A key only moves forward, revocation wins, and the newer of two active keys wins. The store may return an older
    state (after a failover, or a restart from an old file) and continue from it. Such a state must not undo a change
    that was reported as done. A prepared key that the store had lost is published anew, and waits its full time again.
    A disowned key is revoked.
    """
    held_keys = {key.key_id: key for key in held.keys}
    generation = max(stored.generation, held.generation)
    longest = max(stored.max_lifetime, held.max_lifetime)
    disowned = tuple(sorted({*stored.disowned, *held.disowned}))
    keys = []
    for key in stored.keys:
        further = _further(key, held_keys.pop(key.key_id, key), schedule, longest, now)
        if key.state is KeyState.ACTIVE and further.state is KeyState.RETIRING:
            # A replica that follows the store may have signed with it until now.
            further = key_life.retiring(further, schedule, longest, now)
        keys.append(further)
    for missing in held_keys.values():
        key = key_life.retired_when_due(missing, now)
        if key.state is KeyState.RETIRED:
            if not key_life.was_pruned(stored.keys, key):  # else a still older store, where it signs, would revive it
                keys.append(key)
            continue
        prepared = key.state is KeyState.PREPARED
        keys.append(replace(key, publish_generation=generation + 1, publish_time=now if prepared else key.publish_time))
    keys = [key_life.revoked(key, DISOWNED, now) if key.key_id in disowned else key for key in keys]
    for algorithm in sorted({key.algorithm for key in keys}):
        active = [key for key in keys if key.algorithm == algorithm and key.state is KeyState.ACTIVE]
        for rival in sorted(active, key=lambda key: (key.activate_time or 0.0, key.key_id))[:-1]:
            keys[keys.index(rival)] = key_life.retiring(rival, schedule, longest, now)
        prepared_keys = [key for key in keys if key.algorithm == algorithm and key.state is KeyState.PREPARED]
        # The key that has been published longest may sign first.
        for rival in sorted(prepared_keys, key=lambda key: (key.publish_time, key.key_id))[1:]:
            keys[keys.index(rival)] = replace(rival, state=KeyState.RETIRED, sealed=None, delete_time=now)
    merged = replace(
        stored,
        fence=max(stored.fence, held.fence),
        max_lifetime=longest,
        keys=key_life.pruned(tuple(keys)),  # `held` may bring back pruned records
        losses=max(stored.losses, held.losses),
        losses_accepted=max(stored.losses_accepted, held.losses_accepted),
        disowned=disowned,
    )
    if merged == stored and (stored.generation > held.generation or stored == held):
        return stored
    return replace(merged, generation=generation)


def lost(ring: KeyRing) -> KeyRing:
    """Note that the store lost changes. The note stays until :func:`accepted`, and counts once until then."""
    return ring if ring.went_back else replace(ring, losses=ring.losses + 1)


def accepted(ring: KeyRing) -> KeyRing:
    """Note that an operator accepted the loss."""
    return replace(ring, losses_accepted=ring.losses) if ring.went_back else ring


def disown(ring: KeyRing, key_ids: Iterable[str], now: float) -> KeyRing:
    """Revoke keys that a high-water mark lists as revoked, even if the ring no longer has them."""
    revoked = {key.key_id for key in ring.keys if key.state is KeyState.REVOKED}
    missing = set(key_ids) - revoked - set(ring.disowned)
    if not missing:
        return ring
    keys = tuple(key_life.revoked(key, DISOWNED, now) if key.key_id in missing else key for key in ring.keys)
    return replace(ring, keys=keys, disowned=tuple(sorted({*ring.disowned, *missing})))


def _further(one: SigningKey, other: SigningKey, schedule: Schedule, max_lifetime: float, now: float) -> SigningKey:
    """Return the record of a key that is further in its life, or sealed later. A record with a future time ranks last.

    Otherwise a lagging replica would undo :func:`key_life.healed`. A record never loses the fact that its key was
    active: if one record was withdrawn as a rival while the other signs, tokens of that key have yet to expire.
    """

    def rank(key: SigningKey) -> tuple[object, ...]:
        gone = key.state not in (KeyState.PREPARED, KeyState.ACTIVE) and key.key_ref is None
        true = key_life.healed(key, schedule, max_lifetime, now) == key
        return _ORDER[key.state], gone, key.seal_time, true, key.delete_time or 0.0, key.activate_time or 0.0

    further, behind = (other, one) if rank(other) > rank(one) else (one, other)
    if further.activate_time is not None or behind.activate_time is None:
        return further
    if further.state is KeyState.RETIRED:
        return behind if behind.state is not KeyState.ACTIVE else key_life.retiring(behind, schedule, max_lifetime, now)
    return replace(further, activate_time=behind.activate_time)
