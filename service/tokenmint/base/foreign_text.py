"""Foreign text in messages, log lines and records: made printable, and bounded in bytes.

A caller or a provider chooses such text, so it may be long, contain line breaks, or control a terminal. The limit
applies after escaping, so that the length of a log line is bounded by the sum of its parts.
"""

from collections.abc import Iterable
from typing import Final

SHORT: Final = 128  # bytes, for an identifier, a code, a member of a header
LONG: Final = 256  # bytes, for a list or a URL
_MORE: Final = "..."


def quoted(value: object, limit: int = SHORT) -> str:
    """Return the Python literal of ``value`` in printable ASCII, in at most ``limit`` bytes.

    A cut text ends with three dots. ``value`` is a text, or JSON whose size was bounded when it was read.
    """
    # An escaped character has one to ten bytes, so no more than `limit` characters are needed.
    text = ascii(value[: limit + 1] if isinstance(value, str) else value)
    return text if len(text) <= limit else text[: limit - len(_MORE)] + _MORE


def clipped(text: str, limit: int = SHORT) -> str:
    """Return ``text`` without quotes, in printable ASCII and at most ``limit`` bytes.

    For fields that hold only the text. A text that fits and is printable ASCII is returned unchanged.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    escaped = text[: limit + 1].encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= limit else escaped[: limit - len(_MORE)] + _MORE


def listed(names: Iterable[str]) -> str:
    """Return names in order, with spaces between them, in at most ``LONG`` bytes: a request may have 64 scopes."""
    return clipped(" ".join(sorted(names)), LONG)
