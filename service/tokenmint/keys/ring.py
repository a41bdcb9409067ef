"""The life of the signing keys, as pure functions from ring to ring.

Key material is made by the caller and handed in, so that everything here can be run any number of times: a change that
lost a compare-and-swap is simply decided again on what is there now.

``acknowledged`` is the generation that every live replica serves at least. A key that a replica does not publish yet
may not sign: a verifier that asks that replica for it would be told that there is no such key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from tokenmint.base.errors import NotFound, WrongState
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

MAX_RECORDS: Final = 50  # of retired keys that are kept; revoked ones are kept for ever
DISOWNED: Final = "revoked before the store lost that"
_ORDER: Final = {state: index for index, state in enumerate(KeyState)}

# --- by itself -------------------------------------------------------------------------------------------------------


def wanted(
    ring: KeyRing, algorithms: Iterable[str], schedule: Schedule, now: float, acknowledged: int
) -> dict[str, int]:
    """Return for each algorithm how many fresh keys :func:`advance` could use now."""
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
    """Return the ring as it has to be at ``now``: the same object where nothing is due.

    Retired keys leave the published set, keys whose time has come begin to sign, and behind every active key a
    prepared one is published. ``fresh`` are prepared keys by algorithm, as :func:`wanted` counts them; an algorithm
    that has none there keeps what it has. In a ring that never had a key the first one signs at once: there is nobody
    to surprise.
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
    """Note the longest lifetime that this replica may give a token, before it gives it.

    Keys that retire now stay published for as long as that asks for: a replica that has not heard of their retirement
    may give such a token for another R.
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
    """Let a prepared key sign, and the one that signed so far retire. The active key stays as it is.

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
            f"the key has not been published for long enough: verifiers may not know it before {instant}; "
            "wait until then, or force it and let some refuse tokens meanwhile",
            violation="PUBLISH_AHEAD",
            subject=key_id,
            metadata={"allowed_time": instant},
        )
    if key.publish_generation > acknowledged:
        raise WrongState(
            "a replica does not publish the key yet, which even force does not skip: retry in a moment",
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
    """Take a key out of use and out of the published set at once; its algorithm goes on with the prepared key.

    ``with_prepared`` revokes the prepared key of the algorithm too. Where the active key is revoked and no prepared
    one is published by every replica, nothing signs until :func:`advance` finds that it is. ``fresh`` takes the
    prepared key's place where that becomes empty; without it :func:`advance` fills it. A revoked key stays as it is.

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
    """Replace the seals of the keys in ``sealed`` (by key id) that still have one."""

    def changed(key: SigningKey) -> SigningKey:
        if key.sealed is None or key.key_id not in sealed or sealed[key.key_id] == key.sealed:
            return key
        return replace(key, sealed=sealed[key.key_id], seal_time=max(now, key.seal_time + 1e-3))

    keys = tuple(changed(key) for key in ring.keys)
    return ring if keys == ring.keys else replace(ring, keys=keys)


def destroyed(ring: KeyRing, key_ids: Iterable[str]) -> KeyRing:
    """Note that other signers have destroyed the private halves of these keys."""
    gone = set(key_ids)
    keys = tuple(replace(key, key_ref=None) if key.key_id in gone else key for key in ring.keys)
    return ring if keys == ring.keys else replace(ring, keys=keys)


# --- after a loss ----------------------------------------------------------------------------------------------------


def merge(stored: KeyRing, held: KeyRing, schedule: Schedule, now: float) -> KeyRing:
    """Return what both rings of one lineage know; ``stored`` itself where that knows everything and is the later one.

    A key moves forward only, revoked wins, and of two active keys the newest wins. The store may come back with an
    older state (a failover, a restart from an old file) and go on from there; what was answered for before that must
    not be undone by it. A prepared key that the store had lost is published anew, and so waits anew. A key that is
    disowned is revoked.
    """
    known = {key.key_id: key for key in held.keys}
    generation = max(stored.generation, held.generation)
    longest = max(stored.max_lifetime, held.max_lifetime)
    disowned = tuple(sorted({*stored.disowned, *held.disowned}))
    keys = []
    for key in stored.keys:
        further = _further(key, known.pop(key.key_id, key), schedule, longest, now)
        if key.state is KeyState.ACTIVE and further.state is KeyState.RETIRING:
            # Whoever followed the store has signed with it until now.
            further = _retiring(further, schedule, longest, now)
        keys.append(further)
    for key in known.values():
        if key.state is KeyState.RETIRED:  # or a still older store, in which it signs, would bring it back to life
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
        # The one that has been published for longest is the first that may sign.
        for rival in sorted(prepared_keys, key=lambda key: (key.publish_time, key.key_id))[1:]:
            keys[keys.index(rival)] = replace(rival, state=KeyState.RETIRED, sealed=None, delete_time=now)
    merged = replace(
        stored,
        fence=max(stored.fence, held.fence),
        max_lifetime=longest,
        keys=_pruned(tuple(keys)),  # what was pruned there is pruned again
        losses=max(stored.losses, held.losses),
        losses_accepted=max(stored.losses_accepted, held.losses_accepted),
        disowned=disowned,
    )
    if merged == stored and (stored.generation > held.generation or stored == held):
        return stored
    return replace(merged, generation=generation)


def lost(ring: KeyRing) -> KeyRing:
    """Note that the store lost changes. It stays noted until :func:`accepted`, however often the store goes back."""
    return ring if ring.went_back else replace(ring, losses=ring.losses + 1)


def accepted(ring: KeyRing) -> KeyRing:
    """Note that an operator goes on with what is left after a loss."""
    return replace(ring, losses_accepted=ring.losses) if ring.went_back else ring


def disown(ring: KeyRing, key_ids: Iterable[str], now: float) -> KeyRing:
    """Revoke keys that were revoked before, as a high-water mark says; the ring may not even know them (any more)."""
    known = {key.key_id for key in ring.keys if key.state is KeyState.REVOKED}
    missing = set(key_ids) - known - set(ring.disowned)
    if not missing:
        return ring
    keys = tuple(_revoked(key, DISOWNED, now) if key.key_id in missing else key for key in ring.keys)
    return replace(ring, keys=keys, disowned=tuple(sorted({*ring.disowned, *missing})))


def _further(one: SigningKey, other: SigningKey, schedule: Schedule, max_lifetime: float, now: float) -> SigningKey:
    """Return the state of a key that is further in its life, or sealed later. A time that can't be true counts least.

    Or what was healed would be put back by a replica that has not heard of it. That it was active is never forgotten:
    where one record has it withdrawn as another's rival and the other has it signing, its tokens have yet to expire.
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
    """Return from when on a prepared key may sign without force."""
    return key.publish_time + schedule.ahead


def activation_planned(ring: KeyRing, prepared: SigningKey, schedule: Schedule) -> float:
    """Return when a prepared key begins to sign by itself, unless a replica lags."""
    allowed = activation_allowed(prepared, schedule)
    active = ring.only(prepared.algorithm, KeyState.ACTIVE)
    if active is None:
        return prepared.publish_time if in_use(ring, prepared.algorithm) else allowed
    return max(allowed, (active.activate_time or 0.0) + schedule.rotation_interval)


def in_use(ring: KeyRing, algorithm: str) -> bool:
    """Return whether a key of the algorithm signs or ever did."""
    return any(key.algorithm == algorithm and key.activate_time is not None for key in ring.keys)


def _activation_due(ring: KeyRing, prepared: SigningKey, schedule: Schedule, now: float, acknowledged: int) -> bool:
    return prepared.publish_generation <= acknowledged and now >= activation_planned(ring, prepared, schedule)


def _published(ring: KeyRing, key: SigningKey, now: float) -> SigningKey:
    """Return the key as published from now on, which may be long after it was made."""
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
    """Return the key without times that are yet to come, which only a wrong clock can have written.

    What has happened by now counts as having happened now: no key signs earlier for that, or leaves the published set
    before its last token has expired, and none waits for a year that was never meant.
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


def _pruned(keys: tuple[SigningKey, ...]) -> tuple[SigningKey, ...]:
    # One whose private half is still to be destroyed elsewhere is not forgotten before that.
    retired = [key for key in keys if key.state is KeyState.RETIRED and key.key_ref is None]
    retired.sort(key=lambda key: (key.delete_time or 0.0, key.key_id))  # the same ones on every replica
    forgotten = {key.key_id for key in retired[:-MAX_RECORDS]}
    return tuple(key for key in keys if key.key_id not in forgotten)
