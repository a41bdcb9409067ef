"""The published key set: a JWK set (RFC 7517 section 5), the same keys as a SPIFFE bundle, and the time for which
verifiers may cache them."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from tokenmint.keys.ring import activation_planned
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.signers.local import parts_of
from tokenmint.keys.types import PUBLISHED, KeyRing, KeyState, RegionKey, RegionKeys, SigningKey

K = TypeVar("K", SigningKey, RegionKey, SigningKey | RegionKey)
NO_REGIONS: Final = RegionKeys()
BUNDLED: Final = frozenset({"EC", "RSA"})
"""The types of keys that sign JWT-SVIDs."""
MOST_KEPT: Final = 100
"""The keys of a set that verifiers keep: ours, and this service as a verifier of another one."""


@dataclass(frozen=True, slots=True)
class PublishedKeySet:
    """The set in the forms in which it is served."""

    keys: tuple[dict[str, str], ...]
    jwks_json: bytes
    etag: str
    """A strong validator of ``jwks_json``, without quotes."""
    bundle_json: bytes
    """The keys of JWT-SVIDs (SPIFFE Trust Domain and Bundle, section 4)."""
    bundle_etag: str
    """A strong validator of ``bundle_json``, without quotes."""
    max_age: int
    """Seconds for which verifiers may cache the set."""
    generation: int
    """The generation of the ring whose set this is."""


def own_keys(ring: KeyRing) -> tuple[SigningKey, ...]:
    """Return the prepared, active and retiring keys of a ring, in the order in which they are published."""
    ordered = sorted(ring.keys, key=lambda key: (key.algorithm, key.publish_time, key.key_id))
    return tuple(key for key in ordered if key.state in PUBLISHED)


def by_need(keys: Sequence[K]) -> list[K]:
    """Return keys with those first that verifiers need most: of each region and algorithm its two newest ones, which
    sign now and next, then the third newest of each, and so on.

    Args:
        keys: of each region and algorithm the oldest first, as :func:`own_keys` returns them.
    """
    newer: Counter[tuple[str, str]] = Counter()
    ranks: dict[str, int] = {}
    for key in reversed(keys):
        line = parts_of(key.key_id)[0], key.algorithm
        ranks[key.key_id] = max(1, newer[line])
        newer[line] += 1
    return sorted(keys, key=lambda key: ranks[key.key_id])


def publish(ring: KeyRing, schedule: Schedule, others: RegionKeys = NO_REGIONS) -> PublishedKeySet:
    """Return the prepared, active and retiring keys as a key set, and those of the other regions.

    It is the same bytes on every replica of a region. Of more keys than verifiers keep, those come first that they
    need most.
    """
    published: list[SigningKey | RegionKey] = [*own_keys(ring), *others.keys]
    if len(published) > MOST_KEPT:  # otherwise a set would lose the keys of its last regions or algorithms
        published = by_need(published)
    keys = tuple({"kid": key.key_id, "alg": key.algorithm, "use": "sig", **key.public_jwk} for key in published)
    body, bundle = _json({"keys": keys}), _json(_bundle(keys, ring.generation + others.changes, schedule))
    return PublishedKeySet(
        keys, body, _etag(body), bundle, _etag(bundle), int(schedule.max_age), generation=ring.generation
    )


def _bundle(keys: Sequence[Mapping[str, str]], sequence: int, schedule: Schedule) -> dict[str, object]:
    """Return the SPIFFE bundle. It has no EdDSA keys: a JWT-SVID can't be signed by them (JWT-SVID section 2.1)."""
    return {
        "spiffe_sequence": sequence,
        "spiffe_refresh_hint": int(schedule.max_age),
        "keys": [
            {name: value for name, value in key.items() if name != "alg"} | {"use": "jwt-svid"}
            for key in keys
            if key.get("kty") in BUNDLED
        ],
    }


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


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
