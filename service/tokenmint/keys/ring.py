"""The life of the signing keys, as pure functions from ring to ring.

Key material is made by the caller and handed in, so that everything here can be run any number of times: a change that
lost a compare-and-swap is simply decided again on what is there now.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from tokenmint.errors import NotFound, WrongState
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

MAX_RECORDS: Final = 50  # of retired keys that are kept; revoked ones are kept for ever
_ORDER: Final = {state: index for index, state in enumerate(KeyState)}


def wanted(ring: KeyRing, algorithms: Iterable[str], schedule: Schedule, now: float) -> dict[str, int]:
    """Return for each algorithm how many fresh keys :func:`advance` could use now."""
    counts: dict[str, int] = {}
    for algorithm in algorithms:
        prepared = ring.only(algorithm, KeyState.PREPARED)
        count = 0 if prepared else 1
        if ring.generation == 0 or (prepared is not None and _activation_due(ring, prepared, schedule, now)):
            count += 1
        if count:
            counts[algorithm] = count
    return counts


def advance(ring: KeyRing, schedule: Schedule, now: float, fresh: Mapping[str, list[SigningKey]]) -> KeyRing:
    """Return the ring as it has to be at ``now``: the same object where nothing is due.

    Retired keys leave the published set, keys whose time has come begin to sign, and behind every active key a
    prepared one is published. ``fresh`` are prepared keys by algorithm, as :func:`wanted` counts them; an algorithm
    that has none there keeps what it has. In a ring that never had a key the first one signs at once: there is nobody
    to surprise.
    """
    first = ring.generation == 0 and not ring.keys
    keys = tuple(_retire(key, now) for key in ring.keys)
    for algorithm, supply in fresh.items():
        spare = list(supply)
        if first and len(spare) > 1:
            keys += (replace(spare.pop(0), state=KeyState.ACTIVE, activate_time=now),)
        if spare and not any(key.algorithm == algorithm and key.state is KeyState.PREPARED for key in keys):
            keys += (spare.pop(0),)
        current = replace(ring, keys=keys)
        prepared = current.only(algorithm, KeyState.PREPARED)
        if spare and prepared is not None and _activation_due(current, prepared, schedule, now):
            keys = (*_activated(current, prepared, schedule, now).keys, spare.pop(0))
    if keys == ring.keys:
        return ring
    return replace(ring, keys=_pruned(keys))


def prepare(ring: KeyRing, fresh: SigningKey) -> KeyRing:
    """Publish ``fresh`` as the prepared key of its algorithm, unless there is one."""
    if ring.only(fresh.algorithm, KeyState.PREPARED) is not None:
        return ring
    return replace(ring, keys=(*ring.keys, fresh))


def activate(ring: KeyRing, key_id: str, schedule: Schedule, now: float, *, force: bool) -> KeyRing:
    """Let a prepared key sign, and the one that signed so far retire. The active key stays as it is.

    Raises:
        NotFound: there is no such key.
        WrongState: it is neither prepared nor active, or has not been published for long enough.
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
    return _activated(ring, key, schedule, now)


def rotate(
    ring: KeyRing, algorithm: str, fresh: list[SigningKey], schedule: Schedule, now: float, *, force: bool
) -> KeyRing:
    """Activate the prepared key of an algorithm and publish the next one. Raises as :func:`activate`.

    ``fresh`` holds two keys: where none is prepared (an algorithm that is new), the first takes that place.
    """
    prepared = ring.only(algorithm, KeyState.PREPARED)
    supply = list(fresh)
    if prepared is None:
        prepared = supply.pop(0)
        ring = replace(ring, keys=(*ring.keys, prepared))
    return prepare(activate(ring, prepared.key_id, schedule, now, force=force), supply[0])


def revoke(ring: KeyRing, key_id: str, reason: str, fresh: list[SigningKey], schedule: Schedule, now: float) -> KeyRing:
    """Take a key out of use and out of the published set at once; its algorithm goes on with the prepared key.

    ``fresh`` holds two keys of its algorithm, for the places that become empty. A revoked key stays as it is.

    Raises:
        NotFound: there is no such key.
    """
    key = ring.find(key_id)
    if key is None:
        raise NotFound("signing key", key_id)
    if key.state is KeyState.REVOKED:
        return ring
    revoked = replace(key, state=KeyState.REVOKED, sealed=None, revoke_time=now, revoke_reason=reason, delete_time=now)
    ring = replace(ring, keys=tuple(revoked if item.key_id == key_id else item for item in ring.keys))
    supply = list(fresh)
    if key.state is KeyState.ACTIVE:
        prepared = ring.only(key.algorithm, KeyState.PREPARED)
        if prepared is None:
            prepared = supply.pop(0)
            ring = replace(ring, keys=(*ring.keys, prepared))
        ring = _activated(ring, prepared, schedule, now)
    if key.state in (KeyState.ACTIVE, KeyState.PREPARED):
        ring = prepare(ring, supply[0])
    return ring


def merge(stored: KeyRing, held: KeyRing) -> KeyRing:
    """Return what both rings of one lineage know: a key moves forward only, revoked wins, the newest active wins.

    The store may come back with an older state (a failover, a restart from an old file); what was acknowledged since
    must not be undone by that.
    """
    if held.generation <= stored.generation or held == stored:
        return stored
    merged: dict[str, SigningKey] = {key.key_id: key for key in stored.keys}
    for key in held.keys:
        other = merged.get(key.key_id)
        if other is None or _ORDER[key.state] > _ORDER[other.state]:
            merged[key.key_id] = key
    keys = list(merged.values())
    for state in (KeyState.ACTIVE, KeyState.PREPARED):
        for algorithm in {key.algorithm for key in keys}:
            rivals = [key for key in keys if key.algorithm == algorithm and key.state is state]
            newest = max(rivals, key=lambda key: (key.activate_time or 0.0, key.publish_time, key.key_id), default=None)
            for rival in rivals:
                if newest is not None and rival is not newest:
                    keys[keys.index(rival)] = _superseded(rival, newest)
    return replace(held, keys=tuple(keys))


def _superseded(rival: SigningKey, newest: SigningKey) -> SigningKey:
    """End a key that a newer one of the same state stands beside, keeping what it signed verifiable."""
    if rival.state is KeyState.PREPARED:
        return replace(rival, state=KeyState.RETIRED, sealed=None, delete_time=newest.publish_time)
    retired = newest.activate_time
    lived = (newest.activate_time or 0.0) + 2 * 86400.0  # longer than any token may live
    return replace(rival, state=KeyState.RETIRING, sealed=None, retire_time=retired, delete_time=lived)


def activation_allowed(key: SigningKey, schedule: Schedule) -> float:
    """Return from when on a prepared key may sign without force."""
    return key.publish_time + schedule.ahead


def _activation_due(ring: KeyRing, prepared: SigningKey, schedule: Schedule, now: float) -> bool:
    if now < activation_allowed(prepared, schedule):
        return False
    active = ring.only(prepared.algorithm, KeyState.ACTIVE)
    return active is None or now >= (active.activate_time or 0.0) + schedule.rotation_interval


def _activated(ring: KeyRing, key: SigningKey, schedule: Schedule, now: float) -> KeyRing:
    def moved(item: SigningKey) -> SigningKey:
        if item.key_id == key.key_id:
            return replace(item, state=KeyState.ACTIVE, activate_time=now)
        if item.algorithm == key.algorithm and item.state is KeyState.ACTIVE:
            return replace(
                item, state=KeyState.RETIRING, sealed=None, retire_time=now, delete_time=now + schedule.retention
            )
        return item

    return replace(ring, keys=tuple(moved(item) for item in ring.keys))


def _retire(key: SigningKey, now: float) -> SigningKey:
    if key.state is KeyState.RETIRING and key.delete_time is not None and now >= key.delete_time:
        return replace(key, state=KeyState.RETIRED)
    return key


def _pruned(keys: tuple[SigningKey, ...]) -> tuple[SigningKey, ...]:
    retired = sorted((key for key in keys if key.state is KeyState.RETIRED), key=lambda key: key.delete_time or 0.0)
    forgotten = {key.key_id for key in retired[:-MAX_RECORDS]}
    return tuple(key for key in keys if key.key_id not in forgotten)
