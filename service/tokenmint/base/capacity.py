"""The limit on calls that one process serves at a time, and the stop of new calls.

A call that can't be finished in time wastes work, and delays the calls behind it. So a call beyond the limit is refused
at once, before the process reads any part of it. A call whose deadline has passed is not started, and not continued.
While the process stops, it finishes the calls in hand and starts no others.
"""

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from tokenmint.base.errors import DeadlinePassed, Overloaded, Stopping, TokenmintError

UNFINISHED: Final = 1.0  # seconds that a stop waits for calls of which a part is still on its way
_waits_until: ContextVar[float] = ContextVar("waits_until")
_LONG: Final = 366 * 24 * 3600.0  # seconds; transports report more than this for a call without a deadline


class Capacity:
    """Counts the calls in hand over all listeners of one process.

    Args:
        limit: the largest number of bounded calls in hand.
        count: called with the reason of each refusal.
    """

    def __init__(self, limit: int, count: Callable[[str], None] = lambda _: None) -> None:
        self.limit = limit
        self.in_flight = 0
        """Calls in hand, including unbounded ones."""
        self.stopping = False
        self.answered = 0
        """Calls that ended since the stop began."""
        self.refused = 0
        """Calls that the stop refused."""
        self._bounded = 0
        self.count = count
        self._whole = 0
        self._idle, self._none_whole = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._none_whole.set()

    def refusal(self, *, bounded: bool) -> TokenmintError | None:
        """Return the error for a call that arrives now, and count it; None if the call may enter.

        No part of a refused call was read or done, so a retry is safe.
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

    @property
    def takes_bounded(self) -> bool:
        """Return whether a bounded call that arrives now may enter. Counts nothing."""
        return not self.stopping and self._bounded < self.limit

    def enter(self) -> "InHand":
        """Admit a call whose request may still be incomplete."""
        self.in_flight += 1
        self._idle.clear()
        return InHand(self)

    def take_place(self, in_hand: "InHand") -> None:
        """Give a place to a call whose request is complete. Raises ``Overloaded``."""
        if self._bounded >= self.limit:
            self.count(Overloaded.reason)
            raise Overloaded
        in_hand.has_place = True
        self._bounded += 1
        self.note_whole(in_hand)

    def note_whole(self, in_hand: "InHand") -> None:
        """Record that the whole request of a call has arrived."""
        in_hand.is_whole = True
        self._whole += 1
        self._none_whole.clear()

    def leave(self, in_hand: "InHand") -> None:
        """Record the end of a call."""
        self._bounded -= in_hand.has_place
        self._whole -= in_hand.is_whole
        if not self._whole:
            self._none_whole.set()
        self.in_flight -= 1
        self.answered += self.stopping
        if not self.in_flight:
            self._idle.set()

    async def idle(self, patience: float) -> bool:
        """Wait up to ``patience`` seconds until no call is in hand. Returns whether none is.

        The wait for calls whose requests are incomplete is shorter, because no work on them has begun.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(UNFINISHED):
                        await self._idle.wait()
                await self._none_whole.wait()
        return not self.in_flight


class InHand:
    """A call in hand. Calling the object, with any argument, records the end of the call.

    The call takes a place only when its request is complete: a caller that never sends the rest blocks no other.
    """

    __slots__ = ("_capacity", "has_place", "is_whole")

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self.has_place = self.is_whole = False

    def arrived(self, *, bounded: bool) -> None:
        """Record that the whole request has arrived; a bounded call takes its place. Raises ``Overloaded``."""
        if bounded:
            self.begin()
        else:
            self._capacity.note_whole(self)

    def begin(self) -> None:
        """Take a place among the bounded calls. Raises ``Overloaded``."""
        self._capacity.take_place(self)

    def __call__(self, _: object) -> None:
        self._capacity.leave(self)


def note_deadline(remaining: float | None) -> float:
    """Store the caller's deadline, ``remaining`` seconds from now; None means no deadline. Returns the seconds, or
    infinity.

    Raises:
        DeadlinePassed: the deadline has passed.
    """
    if remaining is None or remaining > _LONG:
        _waits_until.set(float("inf"))
        return float("inf")
    if remaining <= 0:
        raise DeadlinePassed
    _waits_until.set(asyncio.get_running_loop().time() + remaining)
    return remaining


def check_deadline() -> None:
    """Raise ``DeadlinePassed`` if the deadline of this call has passed, because its result would be lost."""
    until = _waits_until.get(None)
    if until is not None and asyncio.get_running_loop().time() >= until:
        raise DeadlinePassed
