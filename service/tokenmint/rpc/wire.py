"""Protobuf's wire format, for answers that are written without messages.

https://protobuf.dev/programming-guides/encoding/
"""

from typing import Final

_SHORT: Final = tuple(bytes((number,)) for number in range(0x80))


def field(number: int, value: bytes) -> bytes:
    """Return a field with a length; ``number``: at most 15."""
    return _SHORT[number << 3 | 2] + varint(len(value)) + value


def varint(number: int) -> bytes:
    """Return a number that is not negative."""
    if number < 0x80:
        return _SHORT[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
