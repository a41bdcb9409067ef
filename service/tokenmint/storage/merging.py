"""Reading a stream that is spread over shards (:mod:`tokenmint.storage.shards`), page by page, onwards or backwards.

A position has a place in each shard, because there is no time that all have passed: their servers' clocks differ, and
a batch may arrive late. So each entry is read once. Entries of one shard are read in their order. Those of several are
in the order of their ids within what has arrived: a later page may begin with an earlier id of another shard.

All functions raise ``StoreUnavailable`` if a shard can't be read, since a page without its entries would look complete,
``CorruptRecord`` if one of the keys holds something else than a stream, and ``ValueError`` for what is no position.
"""

import asyncio
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tokenmint.storage import streams
from tokenmint.storage.redis import Store
from tokenmint.storage.shards import Place, Places, Position, following, id_of, parse, place_of, preceding
from tokenmint.storage.streams import BEGINNING, LONGEST, Page, Part, Range

LEAST_CHUNK: Final = 64 * 1024
"""Bytes that are read of a shard at a time, or more: one of many may have all entries."""


class Backwards(NamedTuple):
    """Entries, the newest first, each with the position before which a further page ends."""

    entries: list[tuple[str, bytes]]
    more: bool
    """Whether there are further ones."""
    newest: str
    """The position after which entries are newer than these; "" if there are none."""


@dataclass(slots=True)
class _Shard:
    """The part of one shard in a page."""

    number: int
    asked: Range
    """The range that is read next."""
    waiting: list[tuple[Place, bytes]] = field(default_factory=list)
    """Entries that were read, and are not in the page yet; the next one is the last."""
    more: bool = True
    read: bool = False
    first: Place | None = None
    """The id of the first entry that was read."""
    last: Place | None = None
    """The id of the last entry of the shard."""
    before: bool = False

    def put(self, part: Part) -> None:
        """Take what was read of it, once nothing waits."""
        if not self.read:
            self.read, self.before = True, part.before
            self.first = place_of(part.entries[0][0]) if part.entries else None
            self.last = place_of(part.last) if part.last else None
        self.waiting = [(place_of(entry), value) for entry, value in reversed(part.entries)]
        self.more = part.more
        if part.entries:
            at = part.entries[-1][0]
            self.asked = self.asked._replace(start=at if self.asked.start else "", skipped=at)


class _Taken(NamedTuple):
    shard: _Shard
    place: Place
    value: bytes


async def newest(store: Store, keys: Sequence[str], *, most_entries: int, most_bytes: int) -> Page:
    """Return the newest entries of the shards ``keys``, oldest first."""
    shards = await _shards(store, keys, range(len(keys)))
    found, _ = await _page(store, shards, most_entries, most_bytes, backwards=True)
    found.reverse()
    tops = {shard.number: shard.first for shard in shards if shard.first is not None}
    places = tops | _before_the_first(found)
    return Page(_onwards(places, found), Position(tops).text)


async def since(store: Store, keys: Sequence[str], start: Place, *, most_entries: int, most_bytes: int) -> Page:
    """Return the first entries of the shards ``keys`` from ``start`` on: each shard's by its own server's clock."""
    shards = await _shards(store, keys, range(len(keys)), start=id_of(start))
    found, more = await _page(store, shards, most_entries, most_bytes)
    places: dict[int, Place] = {}
    for shard in shards:
        if shard.first is not None:
            places[shard.number] = preceding(shard.first)
        elif shard.last is not None:
            places[shard.number] = shard.last
    return _following(places, found, more=more)


async def after(store: Store, keys: Sequence[str], position: str, *, most_entries: int, most_bytes: int) -> Page:
    """Return the first entries of the shards ``keys`` after ``position``.

    A page has at most ``most_entries`` and, beyond its first entry, ``most_bytes``.
    """
    places = _places(position, keys)
    shards = await _shards(store, keys, range(len(keys)))
    for shard in shards:
        at = id_of(places.get(shard.number, (0, 0)))
        shard.asked = shard.asked._replace(start=at, skipped=at)
    found, more = await _page(store, shards, most_entries, most_bytes)
    gap = any(_has_gap(one.shard, places.get(one.shard.number)) for one in found)
    return _following(places, found, more=more, gap=gap)


async def backwards(store: Store, keys: Sequence[str], *, count: int, before: str = "", after: str = "") -> Backwards:
    """Return at most ``count`` entries of the shards ``keys``, the newest first.

    ``before`` and ``after`` are positions, both exclusive; "": no bound. An entry of another form is read as empty.
    Beyond its first entry, a page has at most ``streams.LONGEST`` bytes: another program may write entries of any size.
    """
    low = _places(after, keys) if after else {}
    high = _places(before, keys) if before else None
    shards = await _shards(store, keys, range(len(keys)) if high is None else high)
    for shard in shards:
        bottom, top = low.get(shard.number), None if high is None else high[shard.number]
        shard.asked = shard.asked._replace(
            bottom=id_of(bottom) if bottom is not None else "", skipped=id_of(top) if top is not None else ""
        )
    found, more = await _page(store, shards, count, LONGEST, backwards=True)
    tops = {**low, **{shard.number: shard.first for shard in shards if shard.first is not None}}
    bounds = high if high is not None else {number: following(place) for number, place in tops.items()}
    at = Position(bounds)
    entries = [(at.moved(one.shard.number, one.place), one.value) for one in found]
    return Backwards(entries, more, Position(tops).text if tops else "")


def is_position(text: str, keys: Sequence[str]) -> bool:
    """Return whether ``text`` has the form of a position in the shards ``keys``."""
    return parse(text, len(keys)) is not None


def _places(position: str, keys: Sequence[str]) -> dict[int, Place]:
    places = parse(position, len(keys))
    if places is None:
        raise ValueError("not a position")
    return places


async def present(store: Store, keys: Sequence[str]) -> list[int]:
    """Return the indices of the ``keys`` that exist. Raises ``StoreUnavailable``."""
    with store.server.translated(writes=False):
        async with asyncio.timeout(store.options.read_timeout):
            pipeline: Any = store.server.client.pipeline(transaction=False)
            for key in keys:
                pipeline.exists(store.prefix + key)
            replies: list[Any] = await pipeline.execute()
    return [index for index, reply in enumerate(replies) if reply]


async def _shards(store: Store, keys: Sequence[str], wanted: Iterable[int], *, start: str = "") -> list[_Shard]:
    """Return the wanted shards that exist, or the only one: to ask for it takes as long as to read it."""
    numbers = sorted(set(wanted) & set(range(len(keys))))
    if len(numbers) > 1:
        there = await present(store, [keys[number] for number in numbers])
        numbers = [numbers[index] for index in there]
    return [_Shard(number, Range(keys[number], 1, 1, start)) for number in numbers]


async def _page(
    store: Store, shards: Sequence[_Shard], most_entries: int, most_bytes: int, *, backwards: bool = False
) -> tuple[list[_Taken], bool]:
    """Return the first entries of all shards in the order of their ids, and whether there are further ones."""
    found: list[_Taken] = []
    size, sign = 0, -1 if backwards else 1
    chunk = max(LEAST_CHUNK, most_bytes // len(shards)) if len(shards) > 1 else most_bytes
    heads: list[tuple[int, int, int, _Shard]] = []

    def head(shard: _Shard) -> tuple[int, int, int, _Shard]:
        milliseconds, number = shard.waiting[-1][0]
        return sign * milliseconds, sign * number, sign * shard.number, shard

    while True:
        empty = [shard for shard in shards if shard.more and not shard.waiting]
        if found and empty and len(found) >= most_entries:
            return found, True
        asked = [shard.asked._replace(most_entries=most_entries - len(found), most_bytes=chunk) for shard in empty]
        for shard, part in zip(empty, await streams.read(store, asked), strict=True):
            shard.put(part)
            if shard.waiting:
                heapq.heappush(heads, head(shard))
        while heads:
            shard = heads[0][3]
            place, value = shard.waiting[-1]
            if len(found) >= most_entries or (found and size + len(value) > most_bytes):
                return found, True
            shard.waiting.pop()
            found.append(_Taken(shard, place, value))
            size += len(value)
            if shard.waiting:
                heapq.heapreplace(heads, head(shard))
                continue
            heapq.heappop(heads)
            if shard.more:
                break
        else:
            return found, False


def _has_gap(shard: _Shard, place: Place | None) -> bool:
    """Return whether entries of a shard after ``place`` are gone: it has none at that place, or before the first."""
    if place is None or place == (0, 0) or shard.before or shard.first is None:
        return False
    return shard.first != following(place)


def _before_the_first(found: Sequence[_Taken]) -> dict[int, Place]:
    """Return for each shard the place before the first of its entries."""
    places: dict[int, Place] = {}
    for one in found:
        places.setdefault(one.shard.number, preceding(one.place))
    return places


def _onwards(places: Places, found: Sequence[_Taken]) -> tuple[tuple[str, bytes], ...]:
    at = Position(places)
    return tuple((at.moved(one.shard.number, one.place), one.value) for one in found)


def _following(places: dict[int, Place], found: Sequence[_Taken], *, more: bool, gap: bool = False) -> Page:
    last = places | {one.shard.number: one.place for one in found}
    return Page(_onwards(places, found), Position(last).text if last else BEGINNING, more, gap)
