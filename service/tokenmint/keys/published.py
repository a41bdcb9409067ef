"""The published key set: a JWK set (RFC 7517 section 5) and the time for which verifiers may cache it."""

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
    """Seconds for which verifiers may cache the set."""
    generation: int
    """The generation of the ring whose set this is."""


def publish(ring: KeyRing, schedule: Schedule) -> PublishedKeySet:
    """Return the prepared, active and retiring keys as a key set: the same bytes on every replica."""
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
    """Return the time of the next scheduled change of the set: a key is withdrawn, or the next one is prepared."""
    changes = [float("inf")]
    for key in ring.keys:
        if key.state is KeyState.RETIRING and key.delete_time is not None:
            changes.append(key.delete_time)
        elif key.state is KeyState.PREPARED:
            changes.append(activation_planned(ring, key, schedule))
    return min(changes)


def max_age_at(change: float, schedule: Schedule, now: float) -> int:
    """Return the seconds for which a set fetched ``now`` may be cached: never past its next change.

    An overdue change (the store is away, a replica lags) may come at any time. Until then verifiers fetch again as
    often as replicas poll the ring.
    """
    if now >= change:
        return int(min(schedule.max_age, schedule.replica_lag))
    return int(min(schedule.max_age, change - now))
