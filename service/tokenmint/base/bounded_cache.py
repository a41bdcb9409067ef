"""Caches that are bounded in bytes, so that nobody who chooses what is remembered chooses how much memory that takes.

An entry's bytes are what its maker says that it keeps: counted once, when it is remembered, and never when it is found.
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
"""Bytes of an entry beyond its key and value: the dictionary's slot, the list of the order, the pair."""


class Remembered(Generic[Key, Value]):
    """Remembers the latest values, as many and as large as there is room for.

    Args:
        entries: how many values at most.
        size: bytes of all together.
        largest: bytes of one; a larger one is not remembered, so that a few can't push out all others.
    """

    def __init__(self, *, entries: int, size: int, largest: int) -> None:
        self._entries = entries
        self._size = size
        self._largest = largest
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self.size = 0
        """Bytes that the values take now."""

    def __len__(self) -> int:
        return len(self._values)

    def find(self, key: Key) -> Value | None:
        """Return what is remembered under ``key``."""
        found = self._values.get(key)
        return found[0] if found is not None else None

    def remember(self, key: Key, value: Value, size: int) -> None:
        """Remember a value of ``size`` bytes; the oldest are forgotten where there is no room."""
        self.forget(key)
        size += OVERHEAD
        if size > self._largest:
            return
        self._values[key] = value, size
        self.size += size
        while self.size > self._size or len(self._values) > self._entries:
            self.size -= self._values.popitem(last=False)[1][1]

    def forget(self, key: Key) -> None:
        """Forget what is under ``key``."""
        known = self._values.pop(key, None)
        if known is not None:
            self.size -= known[1]


def remembered_where_short(
    entries: int, longest: int
) -> Callable[[Callable[[Argument], Value]], Callable[[Argument], Value]]:
    """Remember what a function of one text returns, the latest ``entries`` of those for at most ``longest`` bytes.

    Longer arguments are worked on each time. The function that is not remembered is ``__wrapped__``.
    """

    def decorate(function: Callable[[Argument], Value]) -> Callable[[Argument], Value]:
        cached = lru_cache(maxsize=entries)(function)

        @wraps(function)
        def remembering(argument: Argument) -> Value:
            return cached(argument) if len(argument) <= longest else function(argument)

        remembering.cache_info = cached.cache_info  # type: ignore[attr-defined]  # as functools' own
        return remembering

    return decorate


def size_of_json(value: Mapping[str, object], most: int) -> int:
    """Return how many bytes parsed JSON takes; a number beyond ``most`` as soon as it is more than that.

    What is in several places is counted in each, and a text beyond ASCII with its UTF-8, which is kept once asked for.
    """
    size, open_ones = 0, list[Any]((value,))
    while open_ones and size <= most:
        one = open_ones.pop()
        size += getsizeof(one)
        parts = one
        if not isinstance(one, list):
            parts = (*one, *one.values())
        for part in parts:
            if type(part) is dict or type(part) is list:
                open_ones.append(part)
            else:
                size += getsizeof(part)
                if type(part) is str and not part.isascii():
                    size += 4 * len(part)
    return size
