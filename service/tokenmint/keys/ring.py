"""The life of the signing keys, as pure functions from ring to ring.

The caller makes the key material and passes it in, so every function here can run any number of times. A change that
loses a compare-and-swap is decided again on the new ring.

``acknowledged`` is the generation that every live replica serves at least. A key must not sign before every replica
publishes it: a verifier that fetches from a lagging replica would not find the key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from tokenmint.base.errors import NotFound, WrongState
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

MAX_RECORDS: Final = 50  # records of retired keys; those of revoked keys are kept for ever
DISOWNED: Final = "revoked before the store lost that"
_ORDER: Final = {state: index for index, state in enumerate(KeyState)}

# --- by itself -------------------------------------------------------------------------------------------------------


def fresh_keys_needed(
    ring: KeyRing, algorithms: Iterable[str], schedule: Schedule, now: float, acknowledged: int
) -> dict[str, int]:
    """Return for each algorithm the number of fresh keys that :func:`advance` can use now."""
    counts: dict[str, int] = {}
    for algorithm in algorithms:
        prepared = ring.only(algorithm, KeyState.PREPARED)
        count = 0 if prepared else 1
        if ring.generation == 0 or (
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
    healed = (_healed(key, schedule, ring.max_lifetime, now) for key in ring.keys)
    keys = tuple(_retire(key, now) for key in healed)
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
    return replace(ring, keys=_pruned(keys))


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
        instant = datetime.fromtimestamp(allowed, UTC).isoformat(timespec="seconds")
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
        ring, keys=tuple(_revoked(item, reason, now) if item.key_id in revoked else item for item in ring.keys)
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


# --- after a loss ----------------------------------------------------------------------------------------------------


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
            further = _retiring(further, schedule, longest, now)
        keys.append(further)
    for missing in held_keys.values():
        key = _retire(missing, now)
        if key.state is KeyState.RETIRED:
            if not _was_pruned(stored.keys, key):  # else a still older store, where it signs, would revive it
                keys.append(key)
            continue
        prepared = key.state is KeyState.PREPARED
        keys.append(replace(key, publish_generation=generation + 1, publish_time=now if prepared else key.publish_time))
    keys = [_revoked(key, DISOWNED, now) if key.key_id in disowned else key for key in keys]
    for algorithm in sorted({key.algorithm for key in keys}):
        active = [key for key in keys if key.algorithm == algorithm and key.state is KeyState.ACTIVE]
        for rival in sorted(active, key=lambda key: (key.activate_time or 0.0, key.key_id))[:-1]:
            keys[keys.index(rival)] = _retiring(rival, schedule, longest, now)
        prepared_keys = [key for key in keys if key.algorithm == algorithm and key.state is KeyState.PREPARED]
        # The key that has been published longest may sign first.
        for rival in sorted(prepared_keys, key=lambda key: (key.publish_time, key.key_id))[1:]:
            keys[keys.index(rival)] = replace(rival, state=KeyState.RETIRED, sealed=None, delete_time=now)
    merged = replace(
        stored,
        fence=max(stored.fence, held.fence),
        max_lifetime=longest,
        keys=_pruned(tuple(keys)),  # `held` may bring back pruned records
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
    keys = tuple(_revoked(key, DISOWNED, now) if key.key_id in missing else key for key in ring.keys)
    return replace(ring, keys=keys, disowned=tuple(sorted({*ring.disowned, *missing})))


def _further(one: SigningKey, other: SigningKey, schedule: Schedule, max_lifetime: float, now: float) -> SigningKey:
    """Return the record of a key that is further in its life, or sealed later. A record with a future time ranks last.

    Otherwise a lagging replica would undo :func:`_healed`. A record never loses the fact that its key was active: if
    one record was withdrawn as a rival while the other signs, tokens of that key have yet to expire.
    """

    def rank(key: SigningKey) -> tuple[object, ...]:
        gone = key.state not in (KeyState.PREPARED, KeyState.ACTIVE) and key.key_ref is None
        true = _healed(key, schedule, max_lifetime, now) == key
        return _ORDER[key.state], gone, key.seal_time, true, key.delete_time or 0.0, key.activate_time or 0.0

    further, behind = (other, one) if rank(other) > rank(one) else (one, other)
    if further.activate_time is not None or behind.activate_time is None:
        return further
    if further.state is KeyState.RETIRED:
        return behind if behind.state is not KeyState.ACTIVE else _retiring(behind, schedule, max_lifetime, now)
    return replace(further, activate_time=behind.activate_time)


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
            return _retiring(item, schedule, ring.max_lifetime, now)
        return item

    return replace(ring, keys=tuple(moved(item) for item in ring.keys))


def _retiring(key: SigningKey, schedule: Schedule, max_lifetime: float, now: float) -> SigningKey:
    return replace(
        key,
        state=KeyState.RETIRING,
        sealed=None,
        retire_time=now,
        delete_time=now + schedule.retention(max_lifetime),
    )


def _revoked(key: SigningKey, reason: str, now: float) -> SigningKey:
    if key.state is KeyState.REVOKED:
        return key
    return replace(key, state=KeyState.REVOKED, sealed=None, revoke_time=now, revoke_reason=reason, delete_time=now)


def _healed(key: SigningKey, schedule: Schedule, max_lifetime: float, now: float) -> SigningKey:
    """Replace future times, which only a wrong clock can have written, by ``now``.

    No key then signs earlier than allowed, leaves the published set before its last token has expired, or waits for a
    date far in the future.
    """
    latest = now + schedule.skew
    match key.state:
        case KeyState.PREPARED if key.publish_time > latest:
            return replace(key, publish_time=now)
        case KeyState.ACTIVE if (key.activate_time or 0.0) > latest:
            return replace(key, activate_time=now)
        case KeyState.RETIRING if (key.retire_time or 0.0) > latest:
            return _retiring(key, schedule, max_lifetime, now)
    return key


def _retire(key: SigningKey, now: float) -> SigningKey:
    if key.state is KeyState.RETIRING and key.delete_time is not None and now >= key.delete_time:
        return replace(key, state=KeyState.RETIRED)
    return key


def _was_pruned(keys: tuple[SigningKey, ...], key: SigningKey) -> bool:
    """Tell whether a retired key is missing among ``keys`` because as many went after it as records are kept.

    Some of these may have been revoked since: then fewer retired ones are left than were there when it was pruned.
    """
    gone = (KeyState.RETIRED, KeyState.REVOKED)
    return sum(other.state in gone and _age(other) > _age(key) for other in keys) >= MAX_RECORDS


def _age(key: SigningKey) -> tuple[float, str]:
    return key.delete_time or 0.0, key.key_id


def _pruned(keys: tuple[SigningKey, ...]) -> tuple[SigningKey, ...]:
    # A key whose private half an external signer still has to destroy must stay in the ring until then.
    retired = sorted((key for key in keys if key.state is KeyState.RETIRED and key.key_ref is None), key=_age)
    forgotten = {key.key_id for key in retired[:-MAX_RECORDS]}
    return tuple(key for key in keys if key.key_id not in forgotten)
