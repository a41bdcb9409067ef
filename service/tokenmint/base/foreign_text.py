"""Foreign text in our own: made printable, and bounded in bytes, where it enters a message, a log line or a record.

A caller or a provider chooses such text, so it may be long, end a line, or steer a terminal. The limit holds for the
result, after escaping, so that a line of the log can be bounded by the sum of its parts.
"""

from typing import Final

SHORT: Final = 128  # bytes of an identifier, a code, a header's member
LONG: Final = 256  # bytes of what is a list, or a URL
_MORE: Final = "..."


def quoted(value: object, limit: int = SHORT) -> str:
    """Return ``value`` as Python writes it, in printable ASCII and at most ``limit`` bytes.

    Where it was cut it ends with three dots. ``value`` is a text, or JSON of a size that was bounded when it was read.
    """
    # A character has up to ten bytes once it is escaped, and one at least: more than `limit` are never looked at.
    text = ascii(value[: limit + 1] if isinstance(value, str) else value)
    return text if len(text) <= limit else text[: limit - len(_MORE)] + _MORE


def clipped(text: str, limit: int = SHORT) -> str:
    """Return ``text`` without quotes, in printable ASCII and at most ``limit`` bytes.

    For fields that hold nothing but the text: what fits and is printable ASCII already stays as it was sent.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    escaped = text[: limit + 1].encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= limit else escaped[: limit - len(_MORE)] + _MORE
