"""Reading a stream that :meth:`Store.append` writes, page by page, onwards or backwards."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final

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


def is_position(text: str) -> bool:
    """Return whether ``text`` has the form of a position: the server's milliseconds, and a number within them."""
    found = _POSITION.fullmatch(text)
    return found is not None and all(int(part) < 2**64 for part in found.groups())


def _canonical(position: str) -> str:
    """Return a position as the server writes it: the script compares texts."""
    return "-".join(str(int(part)) for part in position.split("-")) if position else ""


def at(seconds: float) -> str:
    """Return the position of an entry that would be the first at this time of the server's clock (Unix seconds)."""
    return f"{max(0, int(seconds * 1000))}-0"


async def newest(store: Store, key: str, *, most_entries: int, most_bytes: int) -> Page:
    """Return the newest entries of the stream ``key``. Raises as :func:`after`."""
    page, _, _, last = await _read(store, key, "", "", most_entries, most_bytes)
    return Page(page[::-1], last or BEGINNING)


async def since(store: Store, key: str, start: str, *, most_entries: int, most_bytes: int) -> Page:
    """Return the first entries from the position ``start`` on, itself included. Raises as :func:`after`."""
    page, more, _, last = await _read(store, key, start, "", most_entries, most_bytes)
    return Page(page, page[-1][0] if page else last or BEGINNING, more)


async def after(store: Store, key: str, position: str, *, most_entries: int, most_bytes: int) -> Page:
    """Return the first entries after ``position``.

    A page has at most ``most_entries`` and, beyond its first entry, ``most_bytes``.

    Raises:
        StoreUnavailable: the store can't be read.
        CorruptRecord: the key holds something else than a stream.
    """
    page, more, before, _ = await _read(store, key, position, position, most_entries, most_bytes)
    gap = bool(page) and not before and position != BEGINNING
    return Page(page, page[-1][0] if page else position, more, gap)


async def backwards(
    store: Store, key: str, *, count: int, before: str = "", after: str = ""
) -> tuple[list[tuple[str, bytes]], bool]:
    """Return at most ``count`` entries, the newest first, each with its position, and whether there are further ones.

    ``before`` and ``after`` are positions, both exclusive; "": no bound. An entry of another form is read as empty.
    Beyond its first entry, a page has at most ``LONGEST`` bytes: another program may write entries of any size.

    Raises:
        ValueError: a bound is not a position.
        As :func:`after`.
    """
    if any(bound and not is_position(bound) for bound in (before, after)):
        raise ValueError("not a position")
    page, more, _, _ = await _read(store, key, "", before, count, LONGEST, after)
    return list(page), more


async def _read(
    store: Store, key: str, start: str, skipped: str, most_entries: int, most_bytes: int, bottom: str = ""
) -> tuple[tuple[tuple[str, bytes], ...], bool, bool, str]:
    """Return entries, whether there are later ones, whether there is one at or before the start, and the last place.

    Without a ``start`` it reads backwards, from ``skipped`` or the end, down to ``bottom``; both are left out.
    """
    start, skipped, bottom = map(_canonical, (start, skipped, bottom))
    arguments = (start, skipped, most_entries, most_bytes, LONGEST, bottom)
    full = store.prefix + key
    with store.server.translated(writes=False, record=full):
        async with asyncio.timeout(store.options.read_timeout):
            reply: Any = await store.server.client.eval(scripts.READ_STREAM, 1, full, *arguments)
            flat, more, before, last = reply
            places = (place.decode() for place in flat[::2])
            return tuple(zip(places, flat[1::2], strict=True)), bool(more), bool(before), last.decode()
