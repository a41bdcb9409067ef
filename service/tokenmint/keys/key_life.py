"""The life of one signing key, as pure functions from key to key: the steps that a ring and its merging share."""

from dataclasses import replace
from typing import Final

from tokenmint.keys.schedule import Schedule
from tokenmint.keys.types import KeyState, SigningKey

MAX_RECORDS: Final = 50  # records of retired keys; those of revoked keys are kept for ever


def retiring(key: SigningKey, schedule: Schedule, max_lifetime: float, now: float) -> SigningKey:
    """Return a key that signs no more, and stays published until its last token has expired."""
    return replace(
        key,
        state=KeyState.RETIRING,
        sealed=None,
        retire_time=now,
        delete_time=now + schedule.retention(max_lifetime),
    )


def revoked(key: SigningKey, reason: str, now: float) -> SigningKey:
    """Return the key as revoked, with the reason; unchanged if it was revoked before."""
    if key.state is KeyState.REVOKED:
        return key
    return replace(key, state=KeyState.REVOKED, sealed=None, revoke_time=now, revoke_reason=reason, delete_time=now)


def healed(key: SigningKey, schedule: Schedule, max_lifetime: float, now: float) -> SigningKey:
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
            return retiring(key, schedule, max_lifetime, now)
    return key


def retired_when_due(key: SigningKey, now: float) -> SigningKey:
    """Return the key as retired once its time in the published set is over, and unchanged before."""
    if key.state is KeyState.RETIRING and key.delete_time is not None and now >= key.delete_time:
        return replace(key, state=KeyState.RETIRED)
    return key


def was_pruned(keys: tuple[SigningKey, ...], key: SigningKey) -> bool:
    """Return whether a retired key is missing among ``keys`` because its record was pruned as one of the oldest.

    Some of the kept keys may have been revoked since. Then fewer retired ones are left than when the record was pruned.
    """
    gone = (KeyState.RETIRED, KeyState.REVOKED)
    return sum(other.state in gone and _age(other) > _age(key) for other in keys) >= MAX_RECORDS


def _age(key: SigningKey) -> tuple[float, str]:
    return key.delete_time or 0.0, key.key_id


def pruned(keys: tuple[SigningKey, ...]) -> tuple[SigningKey, ...]:
    """Return the keys without the oldest records of retired ones, of which ``MAX_RECORDS`` are kept."""
    # A key whose private half an external signer still has to destroy must stay in the ring until then.
    retired = sorted((key for key in keys if key.state is KeyState.RETIRED and key.key_ref is None), key=_age)
    forgotten = {key.key_id for key in retired[:-MAX_RECORDS]}
    return tuple(key for key in keys if key.key_id not in forgotten)
