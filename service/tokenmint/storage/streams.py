"""Reading of capped streams, the newest entries first, in bounded pages."""

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from tokenmint.storage.redis import Store

_ID: Final = re.compile(r"[0-9]{1,19}-[0-9]{1,19}\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream."""

    entry_id: str
    value: bytes
    """The value that was appended; empty for an entry of another form."""


def is_entry_id(text: str) -> bool:
    """Return whether ``text`` is the id of an entry."""
    return bool(_ID.match(text))


async def newest(store: Store, key: str, *, count: int, before: str = "", after: str = "") -> list[Entry]:
    """Return at most ``count`` entries of the stream ``key`` (without prefix), the newest first.

    ``before`` and ``after`` are ids of entries, both exclusive; "": no bound.

    Raises:
        StoreUnavailable: the store can't be reached.
        CorruptRecord: the key holds a value of another type.
        ValueError: a bound is not an id.
    """
    if any(bound and not is_entry_id(bound) for bound in (before, after)):
        raise ValueError("not the id of an entry")
    top, bottom = f"({before}" if before else "+", f"({after}" if after else "-"
    with store.server.translated(writes=False, record=store.prefix + key):
        async with asyncio.timeout(store.options.read_timeout):
            entries = await store.server.client.xrevrange(store.prefix + key, top, bottom, count)
            return [Entry(entry_id.decode(), fields.get(b"event", b"")) for entry_id, fields in entries]
