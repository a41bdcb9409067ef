"""Reading streams that :meth:`Store.append` writes: a page of one, or ranges of several at once."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tokenmint.storage import scripts
from tokenmint.storage.redis import Store

BEGINNING: Final = "0-0"
"""The position before the first entry of any stream."""
LONGEST: Final = 1 << 20
"""Bytes of an entry. A longer one is not ours, and is read as an empty one."""
_POSITION: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of a stream, oldest first, each with its position."""

    entries: tuple[tuple[str, bytes], ...]
    following: str
    """The position after which the next page begins."""
    more: bool = False
    """Whether the stream has later entries already."""
    gap: bool = False
    """Whether entries between the asked position and this page are gone."""


class Range(NamedTuple):
    """A range of the stream ``key`` that is read onwards from ``start``; without it backwards, down to ``bottom``."""

    key: str
    most_entries: int
    most_bytes: int
    start: str = ""
    """The position of the first entry onwards."""
    skipped: str = ""
    """A position that is left out: onwards ``start``, backwards the one before which the range ends ("": its end)."""
    bottom: str = ""
    """The position after which a range that is read backwards begins."""


class Part(NamedTuple):
    """Entries of a range, in the order in which they were read, each with its position."""

    entries: tuple[tuple[str, bytes], ...]
    more: bool
    """Whether the range has further entries."""
    before: bool
    """Whether the stream has an entry at the start of the range, or before it."""
    last: str
    """The position of the stream's last entry; "" of an empty stream."""


class Held(NamedTuple):
    """The content of a stream that :meth:`Store.append` wrote."""

    oldest: str
    """The position of its oldest entry."""
    entries: int
    size: int
    """In bytes, as the limit of ``append`` counts them."""


def is_position(text: str) -> bool:
    """Return whether ``text`` has the form of a position: the server's milliseconds, and a number within them."""
    found = _POSITION.fullmatch(text)
    return found is not None and all(int(part) < 2**64 for part in found.groups())


def _canonical(position: str) -> str:
    """Return a position as the server writes it: the script compares texts."""
    return "-".join(str(int(part)) for part in position.split("-")) if position else ""


async def after(store: Store, key: str, position: str, *, most_entries: int, most_bytes: int) -> Page:
    """Return the first entries after ``position``.

    A page has at most ``most_entries`` and, beyond its first entry, ``most_bytes``.

    Raises:
        StoreUnavailable: the store can't be read.
        CorruptRecord: the key holds something else than a stream.
    """
    [part] = await read(store, [Range(key, most_entries, most_bytes, position, position)])
    gap = bool(part.entries) and not part.before and position != BEGINNING
    return Page(part.entries, part.entries[-1][0] if part.entries else position, part.more, gap)


async def held(store: Store, key: str) -> Held | None:
    """Return the content of the stream ``key``, which :meth:`Store.append` wrote; None if it has no entry.

    Raises as :func:`after`.
    """
    full = store.prefix + key
    with store.server.translated(writes=False, record=full):
        async with asyncio.timeout(store.options.read_timeout):
            pipeline: Any = store.server.client.pipeline(transaction=False)
            pipeline.xlen(full).xrange(full, count=1).xrevrange(full, count=1)
            entries, first, last = await pipeline.execute()
            if not first or not last:
                return None
            before = _sum(first[0]) - len(first[0][1].get(b"event", b"")) - scripts.ENTRY_BYTES
            return Held(first[0][0].decode(), entries, _sum(last[0]) - max(0, before))


def _sum(entry: tuple[bytes, dict[bytes, bytes]]) -> int:
    """Return the bytes that a stream has had up to an entry; 0 if the entry does not tell."""
    total = entry[1].get(b"sum", b"")
    return int(total[:20]) if total.isdigit() else 0


async def read(store: Store, asked: Sequence[Range]) -> list[Part]:
    """Read ranges of several streams, in one round trip to each server that has some. Raises as :func:`after`."""
    if not asked:
        return []
    full = [store.prefix + one.key for one in asked]
    with store.server.translated(writes=False, record=full[0] if len(full) == 1 else ""):
        async with asyncio.timeout(store.options.read_timeout):
            if len(asked) == 1:
                command = (scripts.READ_STREAM, 1, full[0], *_arguments(asked[0]))
                return [_part(await store.server.client.eval(*command))]
            pipeline: Any = store.server.client.pipeline(transaction=False)
            for key, one in zip(full, asked, strict=True):
                pipeline.eval(scripts.READ_STREAM, 1, key, *_arguments(one))
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
    parts = []
    for key, reply in zip(full, replies, strict=True):
        with store.server.translated(writes=False, record=key, counted=False):
            if isinstance(reply, Exception):
                raise reply
            parts.append(_part(reply))
    return parts


def _arguments(asked: Range) -> tuple[str | int, ...]:
    start, skipped, bottom = map(_canonical, (asked.start, asked.skipped, asked.bottom))
    return start, skipped, asked.most_entries, asked.most_bytes, LONGEST, bottom


def _part(reply: Any) -> Part:
    flat, more, before, last = reply
    places = (place.decode() for place in flat[::2])
    return Part(tuple(zip(places, flat[1::2], strict=True)), bool(more), bool(before), last.decode())
