"""Answers calls of the native transport by the fast way, in the batches in which they arrive.

A call that is answered here never becomes a task. The exchanges of a batch are recorded before any of its answers is
sent. All other events are passed on.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

from tokenmint.base.capacity import Capacity

BATCH: Final = 16  # calls that are exchanged before the first of them is answered

Event: TypeAlias = tuple[Any, ...]
"""Kind, call, method, message, content type, details: (metadata, peer, seconds that the caller waits).

Without details it ends a call.
"""


class FastMethod(Protocol):
    """The fast way of one method."""

    def answer(self, request: bytes, metadata: Iterable[tuple[str, str | bytes]]) -> bytes | None:
        """Return the answer's bytes, or None if the call takes the full way."""
        ...

    def write(self) -> None:
        """Record the answers since the last call. Never raises."""
        ...


NO_FAST_WAY: Final[Mapping[str, FastMethod]] = MappingProxyType({})


class FastCalls:
    """Answers calls as they arrive.

    Args:
        front: the transport's.
        methods: the fast way of each method, in the order of the transport's table; None: the method has none.
        capacity: the bound on calls in progress; a call beyond it takes the full way.
    """

    def __init__(self, front: Any, methods: Sequence[FastMethod | None], capacity: Capacity) -> None:
        self._front = front
        self._methods = methods
        self._capacity = capacity

    def answer(self, events: list[Event]) -> list[Event]:
        """Answer the recognised calls; return the other events, in their order."""
        ended = {event[1] for event in events if event[5] is None}
        began, others = time.monotonic(), list[Event]()
        answered: list[tuple[int, FastMethod, bytes]] = []
        for event in events:
            answer = self._answer_to(event, began) if event[1] not in ended else None
            if answer is None:
                others.append(event)
                continue
            answered.append(answer)
            if len(answered) == BATCH:
                self._send(answered)
        if answered:
            self._send(answered)
        return others

    def _answer_to(self, event: Event, began: float) -> tuple[int, FastMethod, bytes] | None:
        _, call, method, message, _, details = event
        if details is None or (fast := self._methods[method]) is None or not self._capacity.takes_bounded:
            return None
        metadata, _, remaining = details
        # note_deadline: a caller that no longer waits gets no token. The time of earlier calls of the batch counts.
        if remaining is not None and remaining <= time.monotonic() - began:
            return None
        answer = fast.answer(message, metadata)
        return (call, fast, answer) if answer is not None else None

    def _send(self, answered: list[tuple[int, FastMethod, bytes]]) -> None:
        for fast in {id(fast): fast for _, fast, _ in answered}.values():
            fast.write()
        for call, _, answer in answered:
            self._front.respond(call, answer)
        answered.clear()
