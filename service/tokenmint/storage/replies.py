"""The server's replies as values, and texts in its patterns."""

from typing import Any, Final

from redis.exceptions import InvalidResponse

MOST_DIGITS: Final = 19
"""The most digits of a counter, which the server keeps in 64 bits. Python refuses to read thousands of digits."""


def number(value: object) -> int | None:
    """Return the number of a counter's value; None for a value that is no counter's."""
    counts = isinstance(value, bytes) and value.isdigit() and len(value) <= MOST_DIGITS
    return int(value) if counts else None  # type: ignore[call-overload]  # bytes, as was just checked


def value_of(reply: Any) -> bytes | None:
    """Return a value as it was read. Raises ``InvalidResponse``."""
    if reply is not None and not isinstance(reply, bytes):
        raise InvalidResponse("no value")
    return reply


def taken(reply: Any) -> tuple[int, float]:
    """Return the tokens that were taken from a bucket, and the seconds until there are some."""
    given, wait = reply
    return int(given), float(wait)


def members_of(reply: Any) -> dict[str, str]:
    """Return the members of a group with their values."""
    texts = [item.decode() for item in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def glob_escape(text: str) -> str:
    """Return a text as a pattern that only this text matches."""
    return "".join("\\" + char if char in "*?[]\\" else char for char in text)
