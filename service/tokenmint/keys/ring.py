"""The life of the signing keys, as pure functions from ring to ring.

The caller makes the key material and passes it in, so every function here can run any number of times. A change that
loses a compare-and-swap is decided again on the new ring.

``acknowledged`` is the generation that every live replica serves at least. A key must not sign before every replica
publishes it: a verifier that fetches from a lagging replica would not find the key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tokenmint.base.clock import rfc3339
from tokenmint.base.errors import NotFound, WrongState
from tokenmint.keys import key_life
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

# --- by itself -------------------------------------------------------------------------------------------------------


def fresh_keys_needed(
    ring: KeyRing, algorithms: Iterable[str], schedule: Schedule, now: float, acknowledged: int
) -> dict[str, int]:
    """Return for each algorithm the number of fresh keys that :func:`advance` can use now."""
    counts: dict[str, int] = {}
    for algorithm in algorithms:
        prepared = ring.only(algorithm, KeyState.PREPARED)
        count = 0 if prepared else 1
        if (ring.generation == 0 and not schedule.region_lag) or (
            prepared is not None and _activation_due(ring, prepared, schedule, now, acknowledged)
        ):
            count += 1
        if count:
            counts[algorithm] = count
    return counts


def advance(
    ring: KeyRing, schedule: Schedule, now: float, fresh: Mapping[str, list[SigningKey]], acknowledged: int
) -> KeyRing:
    """Return the ring as the schedule requires at ``now``; the same object if nothing is due.

    Retired keys leave the published set, prepared keys begin to sign when due, and each active key gets a prepared
    successor. ``fresh`` holds prepared keys by algorithm, as many as :func:`fresh_keys_needed` counts; an algorithm
    without an entry stays as it is. In a new ring the first key signs at once, because no verifier caches an older set.
    """
    first = ring.generation == 0 and not ring.keys
    healed = (key_life.healed(key, schedule, ring.max_lifetime, now) for key in ring.keys)
    keys = tuple(key_life.retired_when_due(key, now) for key in healed)
    for algorithm, supply in fresh.items():
        spare = [_published(ring, key, now) for key in supply]
        if first and len(spare) > 1:
            keys += (replace(spare.pop(0), state=KeyState.ACTIVE, activate_time=now),)
        if spare and not any(key.algorithm == algorithm and key.state is KeyState.PREPARED for key in keys):
            keys += (spare.pop(0),)
        current = replace(ring, keys=keys)
        prepared = current.only(algorithm, KeyState.PREPARED)
        if spare and prepared is not None and _activation_due(current, prepared, schedule, now, acknowledged):
            keys = (*_activated(current, prepared, schedule, now).keys, spare.pop(0))
    if keys == ring.keys:
        return ring
    return replace(ring, keys=key_life.pruned(keys))


def with_lifetime(ring: KeyRing, schedule: Schedule) -> KeyRing:
    """Record the longest lifetime that this replica may give a token, before it issues one.

    Retiring keys stay published longer accordingly: a replica that lags may sign with such a key, and with this
    lifetime, for another R.
    """
    if schedule.max_lifetime <= ring.max_lifetime:
        return ring
    retention = schedule.retention()

    def extended(key: SigningKey) -> SigningKey:
        if key.state is not KeyState.RETIRING or key.retire_time is None or key.delete_time is None:
            return key
        return replace(key, delete_time=max(key.delete_time, key.retire_time + retention))

    return replace(ring, max_lifetime=schedule.max_lifetime, keys=tuple(extended(key) for key in ring.keys))


# --- by an operator --------------------------------------------------------------------------------------------------


def prepare(ring: KeyRing, fresh: SigningKey, now: float) -> KeyRing:
    """Publish ``fresh`` as the prepared key of its algorithm, unless there is one."""
    if ring.only(fresh.algorithm, KeyState.PREPARED) is not None:
        return ring
    return replace(ring, keys=(*ring.keys, _published(ring, fresh, now)))


def activate(ring: KeyRing, key_id: str, schedule: Schedule, now: float, *, force: bool, acknowledged: int) -> KeyRing:
    """Let a prepared key sign and the current active key retire. No change if the key is active already.

    Raises:
        NotFound: there is no such key.
        WrongState: it is neither prepared nor active, has not been published for long enough, or a replica does not
            publish it yet.
    """
    key = ring.find(key_id)
    if key is None:
        raise NotFound("signing key", key_id)
    if key.state is KeyState.ACTIVE:
        return ring
    if key.state is not KeyState.PREPARED:
        raise WrongState(
            f"the key is {key.state}: only a prepared one can be activated", violation="KEY_STATE", subject=key_id
        )
    allowed = activation_allowed(key, schedule)
    if now < allowed and not force:
        instant = rfc3339(allowed)
        raise WrongState(
            f"the key has not been published for long enough: verifiers may lack it before {instant}; "
            "wait until then, or force it, and some verifiers will refuse tokens until then",
            violation="PUBLISH_AHEAD",
            subject=key_id,
            metadata={"allowed_time": instant},
        )
    if key.publish_generation > acknowledged:
        raise WrongState(
            "a replica does not publish the key yet, and force does not skip this check: retry in a moment",
            violation="REPLICA_BEHIND",
            subject=key_id,
        )
    return _activated(ring, key, schedule, now)


def rotate(
    ring: KeyRing,
    algorithm: str,
    fresh: SigningKey,
    schedule: Schedule,
    now: float,
    *,
    force: bool,
    acknowledged: int,
) -> KeyRing:
    """Activate the prepared key of an algorithm and publish ``fresh`` as the next one. Raises as :func:`activate`."""
    prepared = ring.only(algorithm, KeyState.PREPARED)
    if prepared is None:
        raise NotFound("prepared key of algorithm", algorithm)
    return prepare(activate(ring, prepared.key_id, schedule, now, force=force, acknowledged=acknowledged), fresh, now)


def revoke(
    ring: KeyRing,
    key_id: str,
    reason: str,
    fresh: SigningKey | None,
    schedule: Schedule,
    now: float,
    *,
    with_prepared: bool = False,
    acknowledged: int,
) -> KeyRing:
    """Remove a key from use and from the published set at once; the prepared key of its algorithm takes over.

    ``with_prepared`` also revokes the prepared key of the algorithm. If the active key is revoked and some replica does
    not publish a prepared one yet, nothing signs until :func:`advance` activates one. ``fresh`` fills the prepared
    place if it becomes empty; without it :func:`advance` does. A key that is revoked already stays as it is.

    Raises:
        NotFound: there is no such key.
    """
    key = ring.find(key_id)
    if key is None:
        raise NotFound("signing key", key_id)
    revoked = {key_id}
    prepared = ring.only(key.algorithm, KeyState.PREPARED)
    if with_prepared and prepared is not None and key.state is not KeyState.REVOKED:
        revoked.add(prepared.key_id)
    if all(item.state is KeyState.REVOKED for item in ring.keys if item.key_id in revoked):
        return ring
    ring = replace(
        ring, keys=tuple(key_life.revoked(item, reason, now) if item.key_id in revoked else item for item in ring.keys)
    )
    prepared = ring.only(key.algorithm, KeyState.PREPARED)
    if key.state is KeyState.ACTIVE and prepared is not None and prepared.publish_generation <= acknowledged:
        ring = _activated(ring, prepared, schedule, now)
    return prepare(ring, fresh, now) if fresh is not None else ring


def reseal(ring: KeyRing, sealed: Mapping[str, str], now: float) -> KeyRing:
    """Replace the sealed private keys by those in ``sealed`` (by key id); destroyed ones stay destroyed."""

    def changed(key: SigningKey) -> SigningKey:
        if key.sealed is None or key.key_id not in sealed or sealed[key.key_id] == key.sealed:
            return key
        return replace(key, sealed=sealed[key.key_id], seal_time=max(now, key.seal_time + 1e-3))

    keys = tuple(changed(key) for key in ring.keys)
    return ring if keys == ring.keys else replace(ring, keys=keys)


def destroyed(ring: KeyRing, key_ids: Iterable[str]) -> KeyRing:
    """Record that external signers have destroyed the private halves of these keys."""
    gone = set(key_ids)
    keys = tuple(replace(key, key_ref=None) if key.key_id in gone else key for key in ring.keys)
    return ring if keys == ring.keys else replace(ring, keys=keys)


# --- parts -----------------------------------------------------------------------------------------------------------


def activation_allowed(key: SigningKey, schedule: Schedule) -> float:
    """Return the time from which a prepared key may sign without force."""
    return key.publish_time + schedule.ahead


def activation_planned(ring: KeyRing, prepared: SigningKey, schedule: Schedule) -> float:
    """Return the time at which a prepared key begins to sign on schedule, unless a replica lags."""
    allowed = activation_allowed(prepared, schedule)
    active = ring.only(prepared.algorithm, KeyState.ACTIVE)
    if active is None:
        return prepared.publish_time if in_use(ring, prepared.algorithm) else allowed
    return max(allowed, (active.activate_time or 0.0) + schedule.rotation_interval)


def in_use(ring: KeyRing, algorithm: str) -> bool:
    """Return whether a key of the algorithm signs or has ever signed."""
    return any(key.algorithm == algorithm and key.activate_time is not None for key in ring.keys)


def _activation_due(ring: KeyRing, prepared: SigningKey, schedule: Schedule, now: float, acknowledged: int) -> bool:
    return prepared.publish_generation <= acknowledged and now >= activation_planned(ring, prepared, schedule)


def _published(ring: KeyRing, key: SigningKey, now: float) -> SigningKey:
    """Return the key as published from now on, which may be long after its generation."""
    return replace(key, publish_generation=ring.generation + 1, publish_time=now)


def _activated(ring: KeyRing, key: SigningKey, schedule: Schedule, now: float) -> KeyRing:
    def moved(item: SigningKey) -> SigningKey:
        if item.key_id == key.key_id:
            return replace(item, state=KeyState.ACTIVE, activate_time=now)
        if item.algorithm == key.algorithm and item.state is KeyState.ACTIVE:
            return key_life.retiring(item, schedule, ring.max_lifetime, now)
        return item

    return replace(ring, keys=tuple(moved(item) for item in ring.keys))
