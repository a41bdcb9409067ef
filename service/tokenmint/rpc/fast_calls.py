"""Answers calls by the fast way, in the batches in which the transport brings them.

A call that is answered here never becomes a task. Calls that have to wait, for a profile or a signature, wait together,
in one task. The exchanges of a batch are recorded before any of its answers is sent. All other events are passed on.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from tokenmint.admission.gate import log_internal
from tokenmint.base.capacity import Capacity, InHand
from tokenmint.base.tasks import END_OF_PROCESS

BATCH: Final = 16  # calls that are exchanged before the first of them is answered
BATCH_BYTES: Final = 16 * 1024  # bytes of answers from which on they are sent: about as many tokens as calls above

Event: TypeAlias = tuple[Any, ...]
"""An event: kind, call, method, message, content type, and details (metadata, peer, seconds that the caller waits).

An event without details ends a call. The transport chooses what stands for a call: a number, or an object.
"""
Pending: TypeAlias = Any
"""A call that waits, in its method's own form."""


class FastMethod(Protocol):
    """The fast way of one method."""

    def answer(self, request: bytes, metadata: Iterable[tuple[str, str | bytes]]) -> bytes | Pending | None:
        """Return the answer's bytes, None if the call takes the full way, or the form of a call that waits."""
        ...

    async def fetch(self, pending: Sequence[Pending]) -> Sequence[Any]:
        """Return the results for which calls wait, for :meth:`finish`. Never raises, except by cancellation."""
        ...

    def finish(self, pending: Pending, fetched: Any) -> bytes | Pending | None:
        """Continue a call that waited. Returns as :meth:`answer`."""
        ...

    def write(self) -> None:
        """Record the answers since the last call. Never raises."""
        ...


NO_FAST_WAY: Final[Mapping[str, FastMethod]] = MappingProxyType({})


@dataclass(slots=True)
class _Held:
    """A call that waits."""

    event: Event | None
    """None once the call waits no longer: a transport may count a call until nothing refers to it any more."""
    fast: FastMethod
    pending: Pending
    until: float
    """The time at which its caller stops waiting, by :func:`time.monotonic`."""
    in_hand: InHand


class _Answered(NamedTuple):
    """A call with its answer."""

    call: Any
    fast: FastMethod
    answer: bytes


class FastCalls:
    """Answers calls as they arrive.

    Args:
        front: the transport's.
        methods: the fast way of each method, in the order of the transport's table; None: the method has none.
        capacity: the bound on calls in progress; a call beyond it takes the full way.
        pass_on: takes the events of calls that waited and take the full way now.
    """

    def __init__(
        self,
        front: Any,
        methods: Sequence[FastMethod | None],
        capacity: Capacity,
        pass_on: Callable[[list[Event]], None],
    ) -> None:
        self._front = front
        self._methods = methods
        self._capacity = capacity
        self._pass_on = pass_on
        self._held: dict[Any, _Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def answer(self, events: list[Event]) -> list[Event]:
        """Answer the recognised calls; return the other events, in their order."""
        ended = {event[1] for event in events if event[5] is None}
        for call in ended:
            self._let_go(call)
        began, others = time.monotonic(), list[Event]()
        answered: list[_Answered] = []
        held: list[_Held] = []
        size = 0
        try:
            for event in events:
                found = self._answer_to(event, began) if event[1] not in ended else None
                if found is None:
                    others.append(event)
                elif isinstance(found, _Held):
                    held.append(found)
                else:
                    answered.append(found)
                    size += len(found.answer)
                    if len(answered) == BATCH or size >= BATCH_BYTES:
                        self._send(answered)
                        size = 0
            self._send(answered)
        finally:
            if held:
                self._wait(held)
        return others

    def holds(self, call: Any) -> bool:
        """Return whether a call waits."""
        return call in self._held

    def _answer_to(self, event: Event, began: float) -> "_Answered | _Held | None":
        _, call, method, message, _, details = event
        if details is None or (fast := self._methods[method]) is None or not self._capacity.takes_bounded:
            return None
        metadata, _, remaining = details
        # note_deadline: a caller that no longer waits gets no token. The time of earlier calls of the batch counts.
        if remaining is not None and remaining <= time.monotonic() - began:
            return None
        try:
            answer = fast.answer(message, metadata)
        except END_OF_PROCESS:
            raise
        except BaseException as error:  # noqa: BLE001  # the other calls of the batch are answered
            log_internal("", error)
            return None
        if answer is None:
            return None
        if isinstance(answer, bytes):
            return _Answered(call, fast, answer)
        in_hand = self._capacity.enter()
        in_hand.begin()
        until = began + remaining if remaining is not None else float("inf")
        return _Held(event, fast, answer, until, in_hand)

    def _send(self, answered: list[_Answered]) -> None:
        for fast in {id(one.fast): one.fast for one in answered}.values():
            fast.write()
        for one in answered:
            self._front.respond(one.call, one.answer)
        answered.clear()

    # --- calls that wait -----------------------------------------------------------------------------------------

    def _wait(self, held: list[_Held]) -> None:
        by_method: dict[int, list[_Held]] = {}
        for one in held:
            if one.event is not None:
                self._held[one.event[1]] = one
            by_method.setdefault(id(one.fast), []).append(one)
        for group in by_method.values():
            task = asyncio.get_running_loop().create_task(self._finish(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _finish(self, held: list[_Held]) -> None:
        """Answer the calls of one method once the results for which they wait are there. Others take the full way."""
        fast = held[0].fast
        waiting = [(one, one.pending) for one in held]
        try:
            while waiting:
                fetched = await fast.fetch([pending for _, pending in waiting])
                waiting = self._continue(fast, waiting, fetched)
        finally:
            left = [one for one in held if one.event is not None]
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the process ends
                for one in left:
                    self._let_go(one.event[1] if one.event is not None else None)
            else:  # a failure: what was fetched may have been cancelled elsewhere
                self._decline(left)

    def _continue(
        self, fast: FastMethod, waiting: Sequence[tuple[_Held, Pending]], fetched: Sequence[Any]
    ) -> list[tuple[_Held, Pending]]:
        """Finish calls; return those that have to wait once more."""
        now, answered, still, declined = time.monotonic(), list[_Answered](), [], list[_Held]()
        for (one, pending), found in zip(waiting, fetched, strict=True):
            if one.event is None:  # its caller left
                continue
            answer = _finished(fast, pending, found) if now < one.until else None
            if answer is None:
                declined.append(one)
            elif isinstance(answer, bytes):
                call = one.event[1]
                answered.append(_Answered(call, fast, answer))
                self._let_go(call)  # before its answer: the caller's next call may come at once
            else:
                still.append((one, answer))
        self._send(answered)
        self._decline(declined)
        return still

    def _decline(self, declined: list[_Held]) -> None:
        now = time.monotonic()
        events = [_later(one.event, one.until - now) for one in declined if one.event is not None]
        for event in events:
            self._let_go(event[1])
        if events:
            self._pass_on(events)

    def _let_go(self, call: Any) -> None:
        one = self._held.pop(call, None)
        if one is not None:
            one.event = None
            one.in_hand(None)


def _finished(fast: FastMethod, pending: Pending, fetched: Any) -> bytes | Pending | None:
    try:
        return fast.finish(pending, fetched)
    except END_OF_PROCESS:
        raise
    except BaseException as error:  # noqa: BLE001  # as in _answer_to
        log_internal("", error)
        return None


def _later(event: Event, waits: float) -> Event:
    """Return the event of a call, with the seconds that its caller still waits."""
    *first, (metadata, peer, remaining) = event
    return (*first, (metadata, peer, None if remaining is None else waits))
