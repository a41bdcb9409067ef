"""Tells other regions of this region's own profiles: each change once, in pages, or every profile.

The store notes the keys of changed records in two streams, in the step that changes them (`storage/feed.py`). A page
has the records of some keys as they are now, so a record that changed often is told once in its last form.
"""

from dataclasses import dataclass, field
from typing import Final

import orjson
import structlog

from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.model.copies import Part, ProfilePage
from tokenmint.profiles.erasure import Erasures
from tokenmint.storage import streams
from tokenmint.storage.feed import Feed
from tokenmint.storage.redis import Store

log = structlog.get_logger(__name__)

ENDS: Final = "profile-ends"
CHANGES: Final = "profile-changes"
MOST: Final = 100_000  # changes that a region can be behind without copying every profile
PREFIXES: Final = ("profile:", "identity:")
PAGE: Final = 200  # keys of a page of changes
SCAN: Final = 25  # keys of a round trip for every profile, about: they can't be divided further
ROUNDS: Final = 40  # of these for one page
LONGEST_KEY: Final = 256  # bytes, about
LARGEST: Final = 352 * 1024  # bytes of such a record: no document has room for a larger one, from before its limits
PAGE_BYTES: Final = 160 * 1024  # of a page's records, as they stand in a document (regions/profile_document.py)


def own_changes() -> Feed:
    """Return the note of changes that the store makes."""
    return Feed(PREFIXES, ends, (ENDS, CHANGES), MOST)


def ends(key: str, raw: bytes | None) -> bool:
    """Return whether a new value refuses somebody, or old tokens: it is told before other changes."""
    if raw is None:
        return True
    value = orjson.loads(raw)
    if key.startswith("identity:"):
        return bool(value["unlinked"])
    return "delete_time" in value or value["disabled"] or value["tokens_valid_after"] is not None


class ProfileFeed:
    """Reads pages of this region's own profiles.

    Args:
        store: the store.
        erasures: knows who was erased.
    """

    def __init__(self, store: Store, erasures: Erasures | None) -> None:
        self._store = store
        self._erasures = erasures

    async def page(self, part: Part, place: str) -> ProfilePage:
        """Return the page after a place, which is a cursor ("" at the beginning) for every profile.

        Raises:
            StoreUnavailable: the store can't be read.
            CorruptRecord: a stream is of another type.
        """
        return await self._all(place) if part is Part.ALL else await self._changes(part, place)

    async def _changes(self, part: Part, place: str) -> ProfilePage:
        name = ENDS if part is Part.ENDS else CHANGES
        page = await streams.after(self._store, name, place, most_entries=PAGE, most_bytes=PAGE_BYTES)
        keys = [raw.decode("utf-8", "replace") for _, raw in page.entries]
        found = _Told()
        left = set(await self._read([key for key in dict.fromkeys(keys) if key.startswith(PREFIXES)], found))
        # The page ends before the first change of a key that had no room.
        end = min((index for index, key in enumerate(keys) if key in left), default=len(keys))
        following = page.following if end == len(keys) else page.entries[end - 1][0]
        gap = page.gap and part is Part.CHANGES  # changes that refuse somebody are among all profiles, too
        return found.page(following, more=page.more or end < len(keys), gap=gap)

    async def _all(self, cursor: str) -> ProfilePage:
        [newest] = await streams.read(self._store, [streams.Range(CHANGES, most_entries=1, most_bytes=1)])
        found = _Told()
        for _ in range(ROUNDS):
            cursor, keys = await self._store.scan("*", cursor, SCAN)
            keys = [key for key in dict.fromkeys(keys) if key.startswith(PREFIXES)]
            left = await self._read(keys, found)
            if left:  # they are told by the changes, which are read after these pages
                again = [key.encode() for key in left]
                await self._store.append(
                    CHANGES, again, most_entries=MOST, most_bytes=MOST * LONGEST_KEY, durable=False
                )
            if not cursor or found.size > PAGE_BYTES / 2:
                break
        return found.page(cursor, more=bool(cursor), newest=newest.last or streams.BEGINNING)

    async def _read(self, keys: list[str], found: "_Told") -> list[str]:
        """Add what is to be told of some keys; return those that had no room."""
        answers = await self._store.get_many(keys, fenced=False) if keys else []
        absent: list[str] = []
        left: list[str] = []
        for key, raw in zip(keys, answers, strict=True):
            if isinstance(raw, StoreUnavailable):
                raise raw
            if isinstance(raw, CorruptRecord):
                continue  # nobody can read it: it keeps no other record from being told
            if raw is None:
                absent.append(key)
            elif not _is_told(raw):
                continue
            elif _size(raw) > LARGEST:
                log.error("a profile is too large to be told to other regions: unlink some identities", key=key)
            elif not found.add(raw):
                left.append(key)
        marked: frozenset[str] = frozenset()
        if self._erasures is not None and absent:
            marked = await self._erasures.marked_among(absent)
        found.erased += [key for key in absent if key in marked]
        found.gone += [key for key in absent if key not in marked]
        return left


@dataclass(slots=True)
class _Told:
    """The content of a page."""

    records: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, raw: bytes) -> bool:
        """Add a record, if it has room beside the others."""
        text = raw.decode("utf-8", "replace")
        size = self.size + _size(raw)
        if self.records and size > PAGE_BYTES:
            return False
        self.records.append(text)
        self.size = size
        return True

    def page(self, following: str, *, more: bool, gap: bool = False, newest: str = "") -> ProfilePage:
        """Return the page."""
        told = tuple(self.records), tuple(self.erased), tuple(self.gone)
        return ProfilePage(*told, following, more, gap, newest)


def _size(raw: bytes) -> int:
    """Return the bytes of a record as it stands in a document."""
    return len(orjson.dumps(raw.decode("utf-8", "replace")))


def _is_told(raw: bytes) -> bool:
    """Return whether a value is a profile or tombstone of this region, or a marker of an unlinked identity."""
    try:
        value = orjson.loads(raw)
    except ValueError:
        return False
    if not isinstance(value, dict) or value.get("home") or value.get("registered", True) is False:
        return False
    return value.get("unlinked", True) is True
