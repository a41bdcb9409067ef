"""How far the profiles of one other region were copied, as data."""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from tokenmint.base.errors import CorruptRecord
from tokenmint.storage import streams

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Copied:
    """The state of the copies of a region's profiles. Places are those of the region's own store."""

    region: str
    epoch: int = 0
    ends: str = streams.BEGINNING
    """The place up to which its changes that refuse somebody were taken over."""
    changes: str = ""
    """The place up to which all changes were taken over; "": every profile has to be copied first."""
    cursor: str | None = ""
    """The place at which the copying of every profile goes on ("": the beginning); None: it is complete."""
    whole_at: float = 0.0
    """The time at which every profile was copied last, Unix seconds; 0: never, or not since changes were missed."""
    as_of: float = 0.0
    """The copies are complete up to this time, by the region's clock; 0: they never were."""
    count: int = 0
    """About how many copies there are."""


def anew(copied: Copied, epoch: int) -> Copied:
    """Return the state after the region's store lost changes: all is read again. What was copied stays."""
    return replace(copied, epoch=epoch, ends=streams.BEGINNING, changes="", cursor="", whole_at=0.0)


def dump(copied: Copied) -> bytes:
    """Return the stored form."""
    value = {
        "v": VERSION, "region": copied.region, "epoch": copied.epoch, "ends": copied.ends, "changes": copied.changes,
        "cursor": copied.cursor, "whole_at": copied.whole_at, "as_of": copied.as_of, "count": copied.count,
    }  # fmt: skip
    return json.dumps(value, separators=(",", ":")).encode()


def parse(key: str, raw: bytes | None, region: str) -> Copied:
    """Read the stored form. Raises ``CorruptRecord`` for anything else."""
    if raw is None:
        return Copied(region)
    try:
        value: Any = json.loads(raw)
        cursor, places = value["cursor"], (value["ends"], value["changes"] or streams.BEGINNING)
        if value["v"] != VERSION or value["region"] != region or not all(map(streams.is_position, places)):
            raise TypeError
        if cursor is not None and not isinstance(cursor, str):
            raise TypeError
        return Copied(
            region, int(value["epoch"]), value["ends"], value["changes"], cursor,
            float(value["whole_at"]), float(value["as_of"]), int(value["count"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise CorruptRecord(detail=f"{key}: not the state of copies of {region}, version {VERSION}") from None
