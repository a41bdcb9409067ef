"""A stream that is spread over several keys, its shards: their names, and a position in all of them.

The keys do not depend on the number of shards in use: so entries stay where readers look for them if that number
changes. Shard 0 has the stream's own name, and is the whole stream while it is not spread. The others have hash tags
whose slots divide a Cluster's slots evenly for 3, 6, 12 and 24 of them. Such a key's slot does not depend on the
prefix.
"""

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

MOST: Final = 24
"""Shards that a stream is spread over at most."""
TAGS: Final = (
    "1-792", "2-490", "3-856", "4-951", "5-26", "6-793", "7-705", "8-656", "9-196", "10-416", "11-576", "12-562",
    "13-292", "14-905", "15-723", "16-917", "17-521", "18-472", "19-209", "20-202", "21-669", "22-91", "23-637",
    "24-101",
)  # fmt: skip
LONGEST: Final = 45 * (MOST + 1)
"""Characters of a position in all shards."""
_PART: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,20})(?:/([0-9]{1,2}))?")
_LAST: Final = 2**64 - 1

Place: TypeAlias = tuple[int, int]
"""The id of an entry: the server's milliseconds, and a number within them."""
Places: TypeAlias = Mapping[int, Place]
"""For each shard the id of an entry. A shard that is missing is at its beginning."""


def names(stream: str) -> tuple[str, ...]:
    """Return the keys of all shards of ``stream``, by their number."""
    return (stream, *(f"{stream}:{{{tag}}}" for tag in TAGS))


def in_use(stream: str, count: int) -> tuple[str, ...]:
    """Return the keys that a stream of ``count`` shards is written to."""
    return names(stream)[1 : count + 1] if count > 1 else (stream,)


def parse(position: str, shards: int) -> dict[int, Place] | None:
    """Return the places of a position in all of ``shards``; None if it has not the form of one."""
    places: dict[int, Place] = {}
    parts = position.split(",", shards) if len(position) <= LONGEST else []
    for part in parts:
        found = _PART.fullmatch(part)
        if found is None:
            return None
        place, number = (int(found[1]), int(found[2])), int(found[3] or 0)
        if max(place) > _LAST or number >= shards or number in places:
            return None
        places[number] = place
    return places or None


def place_of(entry: str) -> Place:
    """Return the id of an entry, as the server writes it."""
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)


def id_of(place: Place) -> str:
    """Return the id of an entry as a text."""
    return f"{place[0]}-{place[1]}"


def preceding(place: Place) -> Place:
    """Return the id before ``place``: there is none between the two."""
    milliseconds, number = place
    if number:
        return milliseconds, number - 1
    return (milliseconds - 1, _LAST) if milliseconds else (0, 0)


def following(place: Place) -> Place:
    """Return the id after ``place``: there is none between the two. The last id of all is its own."""
    milliseconds, number = place
    if number < _LAST:
        return milliseconds, number + 1
    return (milliseconds + 1, 0) if milliseconds < _LAST else place


class Position:
    """A position in all shards that moves from entry to entry."""

    def __init__(self, places: Places) -> None:
        self._parts = {number: _part(number, place) for number, place in sorted(places.items())}

    def moved(self, number: int, place: Place) -> str:
        """Move to an entry of a shard. Returns the position there; it begins with the id of the entry."""
        self._parts[number] = own = _part(number, place)
        return ",".join([own, *(part for other, part in self._parts.items() if other != number)])

    @property
    def text(self) -> str:
        """The position; "0-0" at the beginning of all shards."""
        return ",".join(self._parts.values()) or "0-0"


def _part(number: int, place: Place) -> str:
    return f"{place[0]}-{place[1]}/{number}" if number else f"{place[0]}-{place[1]}"
