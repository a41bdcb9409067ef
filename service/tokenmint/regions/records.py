"""The knowledge of one other region, as data: what it said last, and what must not be forgotten about it.

Pure functions from record to record. A record only moves forward: an older document changes nothing, and a key that was
revoked once is never published again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tokenmint.base.errors import CorruptRecord
from tokenmint.keys.types import RegionKey
from tokenmint.model.policy import MAX_LIFETIME
from tokenmint.regions.document import MOST_REVOKED, Document
from tokenmint.regions.identity import RegionRefused
from tokenmint.storage import streams

VERSION: Final = 1
ANY_RING: Final = ""
"""The ring id of a record after which an operator accepts any document of its region."""
MOST_SEEN: Final = 200
"""Keys that a region may publish, one after the other, within the time in which verifiers may still hold one."""


@dataclass(frozen=True, slots=True)
class Record:
    """The last good document of a region."""

    region: str
    ring_id: str
    generation: int
    as_of: float
    """The keys are complete up to this time, by the region's clock."""
    max_lifetime: float
    keys: tuple[RegionKey, ...]
    revoked: Mapping[str, float] = field(default_factory=dict)
    """Revoked keys by id, each with the time of its revocation. They stay."""
    seen: Mapping[str, float] = field(default_factory=dict)
    """The ids of its keys that verifiers may hold, each with the time at which it was published last."""
    changes: int = 0
    """Counts the changes of its keys."""
    epoch: int = 0
    position: str = streams.BEGINNING
    """The place in its log of revocations up to which this region has them."""
    revocations_as_of: float = 0.0
    """Its revocations are complete up to this time."""
    resets: int = 0
    """The number of times that an operator accepted an older state of it."""


def accepted(record: Record | None, document: Document, *, now: float, skew: float, memory: float) -> Record:
    """Return the record after a document; the same object if it says nothing new.

    Args:
        now: this region's time, Unix seconds.
        skew: the largest difference between two clocks.
        memory: seconds for which a verifier may accept a token of a key that is not published any more.

    Raises:
        RegionRefused: the region went back, has another ring, or has too many keys.
    """
    if document.as_of > now + skew:
        raise RegionRefused(f"it is of {document.as_of - now:.0f} s in the future: is a clock wrong?")
    if record is not None and record.ring_id not in (ANY_RING, document.ring_id):
        raise RegionRefused(
            "it has another key ring than before: was its store replaced? `tokenmint regions accept` accepts it"
        )
    if record is not None and document.generation < record.generation:
        raise RegionRefused(
            f"it went back from generation {record.generation} to {document.generation}: did its store lose changes? "
            "`tokenmint regions accept` accepts it"
        )
    before = record or Record(document.region, document.ring_id, 0, 0.0, 0.0, ())
    if record is not None and document.generation == record.generation and document.as_of <= record.as_of:
        return record
    said = {key_id: min(time, now + skew) for key_id, time in document.revoked.items()}
    revoked = _newest({**said, **before.revoked}, MOST_REVOKED)
    keys = tuple(key for key in document.keys if key.key_id not in revoked)
    seen = {key_id: time for key_id, time in before.seen.items() if time >= now - memory}
    seen |= dict.fromkeys((key.key_id for key in (*before.keys, *keys)), now)
    if len(seen) > MOST_SEEN:
        raise RegionRefused(f"it published more than {MOST_SEEN} keys within the time in which verifiers hold one")
    return replace(
        before,
        ring_id=document.ring_id,
        generation=document.generation,
        as_of=max(before.as_of, document.as_of),
        max_lifetime=max(before.max_lifetime, min(document.max_lifetime, MAX_LIFETIME)),
        keys=keys,
        revoked=revoked,
        seen=seen,
        changes=before.changes + (keys != before.keys),
    )


def forgiven(record: Record) -> Record:
    """Return the record after which any ring and generation of the region is accepted. Its revoked keys stay so."""
    return replace(
        record, ring_id=ANY_RING, generation=0, as_of=0.0, epoch=0, position=streams.BEGINNING, revocations_as_of=0.0,
        resets=record.resets + 1,
    )  # fmt: skip


def differs(one: Record, other: Record) -> bool:
    """Return whether two records differ in more than times."""
    return replace(one, as_of=0.0, seen={}, revocations_as_of=0.0) != replace(
        other, as_of=0.0, seen={}, revocations_as_of=0.0
    )


def place_of(record: Record | None) -> tuple[int, str]:
    """Return the epoch and the place in the region's log of revocations up to which they were taken over."""
    return (0, streams.BEGINNING) if record is None else (record.epoch, record.position)


def read_up_to(record: Record, epoch: int, position: str, as_of: float | None) -> Record:
    """Return the record after revocations were taken over; ``as_of``: they are complete up to then."""
    complete = record.revocations_as_of if as_of is None else max(record.revocations_as_of, as_of)
    return replace(record, epoch=epoch, position=position, revocations_as_of=complete)


def newer(stored: Record | None, held: Record | None) -> Record | None:
    """Return the record that knows more: the stored one, or the copy of a process. What one of them has revoked stays
    revoked.

    The place in the log of revocations is always the stored one: with an older record, a store that lost changes lost
    revocations that were taken over, too.
    """
    if held is None:
        return stored
    if stored is None:
        return replace(held, epoch=0, position=streams.BEGINNING, revocations_as_of=0.0)
    first, second = (stored, held) if _order(stored) >= _order(held) else (held, stored)
    epoch, position = place_of(stored)
    first = replace(first, epoch=epoch, position=position, revocations_as_of=stored.revocations_as_of)
    missing = second.revoked.keys() - first.revoked.keys()
    if not missing:
        return first
    revoked = _newest({**second.revoked, **first.revoked}, MOST_REVOKED)
    return replace(first, revoked=revoked, keys=tuple(key for key in first.keys if key.key_id not in revoked))


def told(record: Record, given_up: float | None) -> dict[str, float]:
    """Return the ids of the region's revoked keys, with the times of their revocation; all of them, once given up.

    A key counts as revoked from its last publication here at the earliest, because verifiers may hold it since then. So
    no region that tells an old time keeps them from hearing of it.
    """
    times = {key_id: max(time, record.seen.get(key_id, 0.0)) for key_id, time in record.revoked.items()}
    if given_up is not None:
        every = {*record.seen, *(key.key_id for key in record.keys)}
        times |= {key_id: max(given_up, times.get(key_id, 0.0)) for key_id in every}
    return times


def _order(record: Record) -> tuple[int, int, float, int]:
    return record.resets, record.generation, record.as_of, record.changes


def _newest(revoked: Mapping[str, float], most: int) -> dict[str, float]:
    if len(revoked) <= most:
        return dict(revoked)
    return dict(sorted(revoked.items(), key=lambda item: (-item[1], item[0]))[:most])


# --- the stored form -------------------------------------------------------------------------------------------------


def dump(record: Record) -> bytes:
    """Return the stored form."""
    keys = [{"kid": key.key_id, "alg": key.algorithm, "jwk": dict(key.public_jwk)} for key in record.keys]
    value = {
        "v": VERSION, "region": record.region, "ring": record.ring_id, "generation": record.generation,
        "as_of": record.as_of, "max_lifetime": record.max_lifetime, "keys": keys, "revoked": dict(record.revoked),
        "seen": dict(record.seen), "changes": record.changes, "epoch": record.epoch, "position": record.position,
        "revocations_as_of": record.revocations_as_of, "resets": record.resets,
    }  # fmt: skip
    return json.dumps(value, separators=(",", ":")).encode()


def parse(key: str, raw: bytes, region: str) -> Record:
    """Read the stored form. Raises ``CorruptRecord`` for anything else, and for the record of another region."""
    try:
        value: Any = json.loads(raw)
        if value["v"] != VERSION or value["region"] != region or not streams.is_position(value["position"]):
            raise TypeError
        return Record(
            region=region,
            ring_id=str(value["ring"]),
            generation=int(value["generation"]),
            as_of=float(value["as_of"]),
            max_lifetime=float(value["max_lifetime"]),
            keys=tuple(RegionKey(str(one["kid"]), str(one["alg"]), dict(one["jwk"])) for one in value["keys"]),
            revoked={str(key_id): float(time) for key_id, time in value["revoked"].items()},
            seen={str(key_id): float(time) for key_id, time in value["seen"].items()},
            changes=int(value["changes"]),
            epoch=int(value["epoch"]),
            position=value["position"],
            revocations_as_of=float(value["revocations_as_of"]),
            resets=int(value["resets"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise CorruptRecord(detail=f"{key}: not the record of region {region}, version {VERSION}") from None
