"""The head of a request as it arrives: it finds the end, and refuses parts that two servers could read differently.

RFC 9112 permits a parser to take a bare LF as the end of a line, and to join folded lines (sections 2.2 and 5.2). Ours
does. A proxy in front may see one field where the parser sees two, so both forms are refused. The number of lines is
limited here too, because the parser has no limit.
"""

from typing import Final

MAX_LINES: Final = 100
"""Lines of a request's head; each costs the parser as much as a short request."""
_END: Final = b"\r\n\r\n"


class Head:
    """The head of one request, in parts."""

    __slots__ = ("_lines", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._lines = 0

    @property
    def is_new(self) -> bool:
        """Whether no byte of the head was taken so far."""
        return not self._tail and not self._lines

    def take(self, data: bytes) -> int:
        """Return the number of the next bytes that belong to the head; -1 refuses the request."""
        window = self._tail + data
        end = window.find(_END)
        head = window if end < 0 else window[: end + len(_END)]
        breaks = head.count(b"\n")
        self._lines += breaks - self._tail.count(b"\n")
        if breaks != head.count(b"\r\n") or b"\r\n " in head or b"\r\n\t" in head or self._lines > MAX_LINES:
            return -1
        length = len(head) - len(self._tail)
        # This may be the beginning of the end, or of a folded line. A line feed without a carriage return was counted
        # already.
        self._tail = head[-3:].removeprefix(b"\n") if end < 0 else b""
        if end >= 0:
            self._lines = 0
        return length
