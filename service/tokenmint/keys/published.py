"""What verifiers are told: the JWK set (RFC 7517 section 5)."""

import hashlib
import json
from dataclasses import dataclass

from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import PUBLISHED, KeyRing


@dataclass(frozen=True, slots=True)
class PublishedKeySet:
    """The set in the forms in which it is served."""

    keys: tuple[dict[str, str], ...]
    jwks_json: bytes
    etag: str
    """A strong validator of ``jwks_json``, without quotes."""
    max_age: int
    """Seconds that it may be cached."""


def publish(ring: KeyRing, schedule: Schedule) -> PublishedKeySet:
    """Return what is published of ``ring``: prepared, active and retiring keys, the same bytes on every replica."""
    keys = tuple(
        {"kid": key.key_id, "alg": key.algorithm, "use": "sig", **key.public_jwk}
        for key in sorted(ring.keys, key=lambda key: (key.algorithm, key.publish_time, key.key_id))
        if key.state in PUBLISHED
    )
    body = json.dumps({"keys": keys}, separators=(",", ":")).encode()
    return PublishedKeySet(keys, body, hashlib.sha256(body).hexdigest()[:32], int(schedule.max_age))
