"""The encoding of a status list, and the order in which its indices are given out (Token Status List sections 4, 12).

One bit for each token: 0 is VALID, 1 is INVALID (section 7.1). Nothing here is ever suspended: a revocation is never
taken back.
"""

import zlib
from hashlib import blake2s
from typing import Final

from tokenmint.base.encoding import encode_segment

BITS: Final = 1
"""The bits of a token's status."""
KEY: Final = 16
"""Bytes of the key of a list's order."""
_ROUNDS: Final = 8


def status_list(statuses: bytes) -> dict[str, int | str]:
    """Return the value of `status_list` for these bytes (section 4.2)."""
    return {"bits": BITS, "lst": encode_segment(compressed(statuses)).decode()}


def compressed(statuses: bytes) -> bytes:
    """Return the bytes in the ZLIB format, at the highest level (section 4.1).

    Only runs are searched, not repeated strings: random bits have none, and the search takes up to a hundred times as
    long for a result that is rarely smaller (``benchmarks/status_lists.py``).
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packer.compress(statuses) + packer.flush()


def mark_invalid(statuses: bytearray, index: int) -> None:
    """Set the bit of an index: the least significant bit of a byte comes first (section 4.1)."""
    statuses[index >> 3] |= 1 << (index & 7)


def is_invalid(statuses: bytes | bytearray, index: int) -> bool:
    """Return whether the bit of an index is set."""
    return bool(statuses[index >> 3] & 1 << (index & 7))


def place_of(number: int, size: int, key: bytes) -> int:
    """Return the index of a list's token by its number: another one for each number, in an order that ``key`` hides.

    A Feistel network over the smallest square that has room, walked until the result is an index of the list. So an
    index tells nothing about the number of tokens, or their order (section 12.5).
    """
    half = (max(2, (size - 1).bit_length()) + 1) // 2
    mask = (1 << half) - 1
    place = number
    while True:
        left, right = place >> half, place & mask
        for turn in range(_ROUNDS):
            digest = blake2s(b"%d:%d" % (turn, right), digest_size=4, key=key).digest()
            left, right = right, left ^ (int.from_bytes(digest) & mask)
        place = left << half | right
        if place < size:
            return place
