"""How much one process takes on at a time, and when it takes on nothing more.

Work that can't be finished in time is lost twice: for its own caller, and for the callers behind it. So a call beyond
what the process can have in hand is refused at once, before anything of it is looked at; a call whose caller waits no
more is not begun, and not gone on with. While the process stops, what has begun is finished and nothing else is begun.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from tokenmint.base.errors import DeadlinePassed, Overloaded, Stopping, TokenmintError

_waits_until: ContextVar[float] = ContextVar("waits_until")
_LONG: Final = 366 * 24 * 3600.0  # seconds; transports name more than this where a call has no deadline


class Capacity:
    """Counts the calls in hand, over all listeners of one process.

    Args:
        limit: the most calls in hand, of those that are bounded.
        count: is told the reason of each refusal.
    """

    def __init__(self, limit: int, count: Callable[[str], None] = lambda _: None) -> None:
        self.limit = limit
        self.in_flight = 0
        """Calls in hand, those that are not bounded included."""
        self.stopping = False
        self.answered = 0
        """Calls that ended since the stop began."""
        self.refused = 0
        """Calls that were refused because of the stop."""
        self._bounded = 0
        self.count = count
        self._idle = asyncio.Event()
        self._idle.set()

    def refusal(self, *, bounded: bool) -> TokenmintError | None:
        """Return why a call that comes now is refused, and count it; None: it may enter.

        Of a refused call nothing was looked at and nothing done, so that a retry is safe.
        """
        error: TokenmintError
        if self.stopping:
            self.refused += 1
            error = Stopping()
        elif bounded and self._bounded >= self.limit:
            error = Overloaded()
        else:
            return None
        self.count(error.reason)
        return error

    def enter(self) -> "InHand":
        """Take a call on, of which a part may still be on its way."""
        self.in_flight += 1
        self._idle.clear()
        return InHand(self)

    def take_place(self, in_hand: "InHand") -> None:
        """Give one of the places to a call that is here as a whole. Raises ``Overloaded``."""
        if self._bounded >= self.limit:
            self.count(Overloaded.reason)
            raise Overloaded
        in_hand.has_place = True
        self._bounded += 1

    def leave(self, in_hand: "InHand") -> None:
        """Note that a call has ended."""
        self._bounded -= in_hand.has_place
        self.in_flight -= 1
        self.answered += self.stopping
        if not self.in_flight:
            self._idle.set()

    async def idle(self, patience: float) -> bool:
        """Wait until no call is in hand, at most ``patience`` seconds. Returns whether none is."""
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


class InHand:
    """A call in hand. Called once with anything, when it has ended.

    It gets its place only when its request is here as a whole: a caller that never sends the rest keeps nobody out.
    """

    __slots__ = ("_capacity", "has_place")

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self.has_place = False

    def begin(self) -> None:
        """Take one of the places of calls that are bounded. Raises ``Overloaded``."""
        self._capacity.take_place(self)

    def __call__(self, _: object) -> None:
        self._capacity.leave(self)


def note_deadline(remaining: float | None) -> float:
    """Note that the caller waits ``remaining`` seconds more, None: for ever. Returns them, infinite for ever.

    Raises:
        DeadlinePassed: it waits no more.
    """
    if remaining is None or remaining > _LONG:
        _waits_until.set(float("inf"))
        return float("inf")
    if remaining <= 0:
        raise DeadlinePassed
    _waits_until.set(asyncio.get_running_loop().time() + remaining)
    return remaining


def check_deadline() -> None:
    """Raise ``DeadlinePassed`` where the caller of this call waits no more: what is made now would be lost."""
    until = _waits_until.get(None)
    if until is not None and asyncio.get_running_loop().time() >= until:
        raise DeadlinePassed
