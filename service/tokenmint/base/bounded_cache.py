"""Caches that are bounded in bytes, so that callers who choose the entries can't fill the memory.

The size of an entry is measured once, when it is stored, by the code that makes it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache, wraps
from sys import getsizeof
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Argument = TypeVar("Argument", bytes, str)

OVERHEAD = 400
"""Bytes of an entry beyond its key and value: dictionary slot, order list, tuple."""


class Remembered(Generic[Key, Value]):
    """Keeps the latest values within limits of number and size.

    Args:
        entries: the largest number of values.
        size: the largest size of all together, in bytes.
        largest: the largest size of one, in bytes; larger ones are not stored: a few could displace all others.
    """

    def __init__(self, *, entries: int, size: int, largest: int) -> None:
        self._entries = entries
        self._size = size
        self._largest = largest
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self.size = 0
        """The number of bytes that the values take now."""

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def find(self, key: Key) -> Value | None:
        """Return the value stored under ``key``, or None."""
        entry = self._values.get(key)
        return entry[0] if entry is not None else None

    def remember(self, key: Key, value: Value, size: int) -> None:
        """Store a value of ``size`` bytes; the oldest values make room."""
        self.forget(key)
        size += OVERHEAD
        if size > self._largest:
            return
        self._values[key] = value, size
        self.size += size
        while self.size > self._size or len(self._values) > self._entries:
            self.size -= self._values.popitem(last=False)[1][1]

    def forget(self, key: Key) -> None:
        """Remove the value under ``key``."""
        entry = self._values.pop(key, None)
        if entry is not None:
            self.size -= entry[1]


def remembered_where_short(
    entries: int, longest: int
) -> Callable[[Callable[[Argument], Value]], Callable[[Argument], Value]]:
    """Cache the latest ``entries`` results of a function of one text, for arguments of at most ``longest`` bytes.

    Longer arguments are not cached. The uncached function is ``__wrapped__``.
    """

    def decorate(function: Callable[[Argument], Value]) -> Callable[[Argument], Value]:
        cached = lru_cache(maxsize=entries)(function)

        @wraps(function)
        def remembering(argument: Argument) -> Value:
            return cached(argument) if len(argument) <= longest else function(argument)

        remembering.cache_info = cached.cache_info  # type: ignore[attr-defined]  # like functools' own
        return remembering

    return decorate


def size_of_json(value: Mapping[str, object], most: int) -> int:
    """Return the size of parsed JSON in bytes, or, as soon as it exceeds ``most``, a number above that.

    A value that occurs in several places counts each time. A text beyond ASCII counts with its UTF-8 form, which Python
    keeps once it is computed.
    """
    size, containers = 0, list[Any]((value,))
    while containers and size <= most:
        one = containers.pop()
        size += getsizeof(one)
        parts = one
        if not isinstance(one, list):
            parts = (*one, *one.values())
        for part in parts:
            if type(part) is dict or type(part) is list:
                containers.append(part)
            else:
                size += getsizeof(part)
                if type(part) is str and not part.isascii():
                    size += 4 * len(part)
    return size
