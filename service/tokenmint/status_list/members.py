"""The tokens of one list in memory, and their bits: the join of records and revocations.

Both only grow, so neither order nor repetition matters: a new record is compared with all revocations that count, and a
new revocation with all records. Rows are packed, because there may be a million of them.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Mapping, Set
from typing import Final

from tokenmint.revocation.entries import DIGEST
from tokenmint.status_list.directory import StatusList
from tokenmint.status_list.encoding import is_invalid, mark_invalid
from tokenmint.status_list.records import TokenRecord
from tokenmint.storage import streams

FEW: Final = 16
"""Revocations that are searched one by one; more are compared with each row, in one pass."""
_ROW: Final = struct.Struct(f">{DIGEST}sII")

Revoked = Mapping[bytes, int]
"""Revocations: by the digest of a name, the second up to which its tokens are revoked; 0: all of them."""


class Members:
    """The tokens of a list.

    Args:
        of: the list.
    """

    def __init__(self, of: StatusList) -> None:
        self.of = of
        self.statuses = bytearray((of.size + 7) // 8)
        self.invalid = 0
        """The number of bits that are set."""
        self.position = streams.BEGINNING
        """The place up to which the list's records have been read."""
        self.names = 0
        """The number of names."""
        self._own = bytearray()
        self._shared: dict[bytes, array[int]] = {}

    @property
    def size(self) -> int:
        """The bytes of its rows."""
        return sum(map(sys.getsizeof, (self._own, *self._shared.values())))

    def rows(self) -> Set[bytes]:
        """Return all rows, for records that are read again (:meth:`add`)."""
        own = {bytes(self._own[start : start + _ROW.size]) for start in range(0, len(self._own), _ROW.size)}
        return own | {
            _ROW.pack(name, row & 0xFFFFFFFF, row >> 32) for name, rows in self._shared.items() for row in rows
        }

    def add(self, records: Iterable[TokenRecord], revoked: Revoked, known: Set[bytes] = frozenset()) -> None:
        """Add tokens; those that are revoked already are marked. ``known``: rows that are here already."""
        for record in records:
            index, issued_at = record.index, record.issued_at
            if index >= self.of.size:  # not ours
                continue
            for name in record.own:
                row = _ROW.pack(name, index, issued_at)
                if not known or row not in known:
                    self._own += row
                    self.names += 1
            for name in record.shared:
                if not known or _ROW.pack(name, index, issued_at) not in known:
                    self._shared.setdefault(name, array("Q")).append(issued_at << 32 | index)
                    self.names += 1
            if any(_covers(revoked.get(name), issued_at) for name in (*record.own, *record.shared)):
                self._mark(index)

    def apply(self, revoked: Revoked) -> None:
        """Mark the tokens that these new revocations cover."""
        for name in self._shared.keys() & revoked.keys():
            after = revoked[name]
            for row in self._shared[name]:
                if _covers(after, row >> 32):
                    self._mark(row & 0xFFFFFFFF)
        if len(revoked) <= FEW:
            for name, after in revoked.items():
                self._search(name, after)
            return
        for name, index, issued_at in _ROW.iter_unpack(self._own):
            if name in revoked and _covers(revoked[name], issued_at):
                self._mark(index)

    def _search(self, name: bytes, after: int) -> None:
        start = self._own.find(name)
        while start >= 0:
            if start % _ROW.size:  # the bytes lie across two names
                start = self._own.find(name, start + 1)
                continue
            _, index, issued_at = _ROW.unpack_from(self._own, start)
            if _covers(after, issued_at):
                self._mark(index)
            start = self._own.find(name, start + _ROW.size)

    def _mark(self, index: int) -> None:
        if not is_invalid(self.statuses, index):
            mark_invalid(self.statuses, index)
            self.invalid += 1


def _covers(after: int | None, issued_at: int) -> bool:
    """Return whether a revocation covers a token: of all (0), or of those up to a second."""
    return after is not None and (after == 0 or issued_at <= after)
