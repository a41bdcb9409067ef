"""The head of a request as it arrives: where it ends, and what in it two servers could read differently.

The parser takes a bare LF for the end of a line and joins folded lines, which RFC 9112 permits (sections 2.2 and 5.2).
A proxy in front may see one field where it sees two, so both are refused. It also parses any number of fields.
"""

from typing import Final

MAX_LINES: Final = 100
"""Lines of a request's head: each costs the parser as much as a short request does."""
_END: Final = b"\r\n\r\n"


class Head:
    """The head of one request, part by part."""

    __slots__ = ("_lines", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._lines = 0

    def take(self, data: bytes) -> int:
        """Return how many of the next bytes belong to the head; -1: it is to be refused."""
        window = self._tail + data
        end = window.find(_END)
        head = window if end < 0 else window[: end + len(_END)]
        breaks = head.count(b"\n")
        self._lines += breaks - self._tail.count(b"\n")
        if breaks != head.count(b"\r\n") or b"\r\n " in head or b"\r\n\t" in head or self._lines > MAX_LINES:
            return -1
        length = len(head) - len(self._tail)
        # What the end, or a fold, may begin with. A line feed whose carriage return is cut off was looked at already.
        self._tail = head[-3:].removeprefix(b"\n") if end < 0 else b""
        if end >= 0:
            self._lines = 0
        return length
