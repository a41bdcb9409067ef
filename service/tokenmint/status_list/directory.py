"""The directory of status lists in the store: one value, from which processes take blocks of indices.

A block is taken by a confirmed compare-and-swap, so no two processes have the same index, and none after a restart.
The rest of a block that a process did not use is never given out again. A list is closed when it is full, or old
enough; it goes when the last token that may be in it has expired.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.revocation.entries import MARGIN
from tokenmint.status_list.encoding import KEY
from tokenmint.storage.redis import Store

NAME: Final = "status-lists"
VERSION: Final = 1
BLOCK: Final = 256
"""Indices that a process takes together."""
LEASE: Final = 600.0
"""Seconds for which a process uses a block."""
OPEN: Final = 3600.0
"""Seconds for which a list gets new tokens, or as long as they may live if that is longer. Else a list that fills
slowly would hold the records of tokens that expired long ago."""
MOST_LISTS: Final = 2000
ATTEMPTS: Final = 32  # rounds against other processes that take blocks
_ID: Final = 16


@dataclass(frozen=True, slots=True)
class StatusList:
    """A list, as the directory has it."""

    list_id: str
    """128 random bits in base64url."""
    audience: str
    algorithm: str
    """The algorithm of its signature: that of the audience's tokens."""
    key: bytes
    """Hides the order of its indices (``encoding.place_of``)."""
    size: int
    """The number of its indices."""
    next: int
    """The number of the first index that no process has."""
    opened: int
    epoch: int
    """The number of losses of the store when it was opened. After a loss, indices may be given out twice."""
    until: int
    """The end of the last token that may be in it, with a margin; Unix seconds."""


@dataclass(frozen=True, slots=True)
class Block:
    """Indices of a list that one process has."""

    of: StatusList
    first: int
    end: int
    lease: float
    """The time until which the process may use them."""
    until: int
    """The end of the last token that may use them, with a margin."""


@dataclass(frozen=True, slots=True)
class Need:
    """The tokens that a block is for."""

    audience: str
    algorithm: str
    longest: int
    """Seconds that the longest token of the audience lives."""


class Directory:
    """Reads the directory, and takes blocks.

    Args:
        store: the store.
        now: the time by the store's clock, Unix seconds.
        entropy: returns random bytes.
        epoch: the number of losses of the store so far.
        size: the indices of a new list.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], float],
        entropy: Callable[[int], bytes],
        epoch: Callable[[], int],
        *,
        size: int,
    ) -> None:
        self._store = store
        self._now = now
        self._entropy = entropy
        self._size = size
        self.epoch = epoch
        """Returns the number of losses of the store so far."""

    @property
    def now(self) -> float:
        """The time by the store's clock, Unix seconds."""
        return self._now()

    async def lists(self) -> dict[str, StatusList]:
        """Return the lists whose tokens may be valid. Raises ``StoreUnavailable``, ``CorruptRecord``."""
        return self._live(await self._store.current(NAME))

    async def take(self, need: Need) -> Block:
        """Take a block of indices, confirmed as durable.

        Raises:
            StoreUnavailable: the store can't be reached, or there are too many lists.
            OutcomeUnknown, CorruptRecord
        """
        for _ in range(ATTEMPTS):
            raw = await self._store.current(NAME)
            lists, now = self._live(raw), self._now()
            block = self._block(self._open(lists, need, now) or self._new(need, now), need, now)
            lists[block.of.list_id] = replace(block.of, next=block.end, until=max(block.of.until, block.until))
            if len(lists) > MOST_LISTS:
                raise StoreUnavailable(detail=f"there are more than {MOST_LISTS} status lists: raise status_lists.size")
            if await self._store.swap(NAME, raw, _dump(lists)):
                return block
        raise StoreUnavailable(detail=f"{NAME}: other processes change it all the time")

    def _live(self, raw: bytes | None) -> dict[str, StatusList]:
        lists = _parse(raw) if raw is not None else {}
        return {name: one for name, one in lists.items() if one.until > self._now()}

    def _open(self, lists: Mapping[str, StatusList], need: Need, now: float) -> StatusList | None:
        """Return the list that has room for a new token of this audience."""
        for one in lists.values():
            same = (one.audience, one.algorithm, one.size) == (need.audience, need.algorithm, self._size)
            young = now - one.opened < max(OPEN, need.longest)
            if same and young and one.epoch == self.epoch() and one.next < one.size:
                return one
        return None

    def _new(self, need: Need, now: float) -> StatusList:
        name = encode_segment(self._entropy(_ID)).decode()
        key, epoch = self._entropy(KEY), self.epoch()
        return StatusList(name, need.audience, need.algorithm, key, self._size, 0, int(now), epoch, 0)

    def _block(self, one: StatusList, need: Need, now: float) -> Block:
        end = min(one.size, one.next + BLOCK)
        return Block(one, one.next, end, now + LEASE, math.ceil(now + LEASE + need.longest + MARGIN))


def _dump(lists: Mapping[str, StatusList]) -> bytes:
    rows = [
        [one.list_id, one.audience, one.algorithm, one.key.hex(), one.size, one.next, one.opened, one.epoch, one.until]
        for one in lists.values()
    ]
    return json.dumps({"v": VERSION, "lists": rows}, ensure_ascii=False, separators=(",", ":")).encode()


def _parse(raw: bytes) -> dict[str, StatusList]:
    try:
        value = json.loads(raw)
        if value["v"] != VERSION:
            raise ValueError("another version")
        lists = [_list_of(row) for row in value["lists"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorruptRecord(detail=f"{NAME}: not a directory of version {VERSION}") from None
    return {one.list_id: one for one in lists}


def _list_of(row: Any) -> StatusList:
    list_id, audience, algorithm, key, *numbers = row
    if not all(isinstance(text, str) for text in (list_id, audience, algorithm)):
        raise ValueError("not a text")
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("not a number")
    size, following, opened, epoch, until = numbers
    return StatusList(list_id, audience, algorithm, bytes.fromhex(key), size, following, opened, epoch, until)
