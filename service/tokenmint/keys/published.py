"""What verifiers are told: the JWK set (RFC 7517 section 5), and for how long they may keep it."""

import hashlib
import json
from dataclasses import dataclass

from tokenmint.keys.ring import activation_planned
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import PUBLISHED, KeyRing, KeyState


@dataclass(frozen=True, slots=True)
class PublishedKeySet:
    """The set in the forms in which it is served."""

    keys: tuple[dict[str, str], ...]
    jwks_json: bytes
    etag: str
    """A strong validator of ``jwks_json``, without quotes."""
    max_age: int
    """Seconds that it may be cached."""
    generation: int
    """The generation of the ring that it was first published with."""


def publish(ring: KeyRing, schedule: Schedule) -> PublishedKeySet:
    """Return what is published of ``ring``: prepared, active and retiring keys, the same bytes on every replica."""
    keys = tuple(
        {"kid": key.key_id, "alg": key.algorithm, "use": "sig", **key.public_jwk}
        for key in sorted(ring.keys, key=lambda key: (key.algorithm, key.publish_time, key.key_id))
        if key.state in PUBLISHED
    )
    body = json.dumps({"keys": keys}, separators=(",", ":")).encode()
    return PublishedKeySet(
        keys, body, hashlib.sha256(body).hexdigest()[:32], int(schedule.max_age), generation=ring.generation
    )


def next_change(ring: KeyRing, schedule: Schedule) -> float:
    """Return when the published set changes by itself: a key is withdrawn, or the next one is prepared."""
    changes = [float("inf")]
    for key in ring.keys:
        if key.state is KeyState.RETIRING and key.delete_time is not None:
            changes.append(key.delete_time)
        elif key.state is KeyState.PREPARED:
            changes.append(activation_planned(ring, key, schedule))
    return min(changes)


def max_age_at(change: float, schedule: Schedule, now: float) -> int:
    """Return for how many seconds a set that is fetched ``now`` may be cached: not past its next change.

    A change that is overdue (the store is away, a replica lags) may come at any time; looking again as often as the
    replicas do is soon enough.
    """
    if now >= change:
        return int(min(schedule.max_age, schedule.replica_lag))
    return int(min(schedule.max_age, change - now))
