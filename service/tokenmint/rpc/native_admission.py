"""Refusing calls on the native transport where they come in: on its dispatching thread, before the event loop has them.

What waits for the event loop waits behind everything that was there before. A call that is refused here costs the loop
nothing, however many of them there are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenmint.admission.access import Row
from tokenmint.base.capacity import Capacity
from tokenmint.base.errors import Overloaded
from tokenmint.rpc.refusing import Answers
from tokenmint.rpc.status import code_of, trailers


class AdmittingFront:
    """A front that hands on no more bounded calls than may be in hand at a time; the rest is the transport's.

    Args:
        front: the transport's.
        access: the listener's part of the access table, which says which methods are bounded.
        capacity: how many calls may be in hand; counts those that are refused.
        answers: as of ``Refusals``.
    """

    def __init__(self, front: Any, access: Mapping[str, Row], capacity: Capacity, answers: Answers) -> None:
        self._front = front
        self._access = access
        self._capacity = capacity
        self._bounded: list[bool] = []
        self._messages: list[bytes | None] = []
        self._open: set[int] = set()  # changed by single operations alone: two threads do
        error = Overloaded()
        self._answers = {method: answer(error) for method, answer in answers.items()}
        self._status = code_of(error).value[0], error.message
        self._trailing = list(trailers(error, pushback=False))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._front, name)

    def add_methods(self, methods: Sequence[tuple[str, bool]]) -> None:
        """Serve methods, each a path and whether it streams; calls name them by their place."""
        rows = [self._access.get(path) for path, _ in methods]
        self._bounded += [row is not None and row.bounded for row in rows]
        self._messages += [self._answers.get(path) for path, _ in methods]
        self._front.add_methods(methods)

    def recv_batch_details(self, most: int) -> list[tuple[Any, ...]] | None:
        """Return what has come in, without the calls that are refused; None at the end."""
        while True:
            events = self._front.recv_batch_details(most)
            if events is None:
                return None
            kept = [event for event in events if self._admits(event)]
            if kept:
                return kept

    def _admits(self, event: tuple[Any, ...]) -> bool:
        call, method, details = event[1], event[2], event[5]
        if details is None:  # it begins no call
            self._open.discard(call)
            return True
        if not self._bounded[method]:
            return True
        if len(self._open) >= self._capacity.limit and not self._capacity.stopping:
            self._capacity.count(Overloaded.reason)
            message = self._messages[method]
            if message is not None:
                self._front.respond(call, message)
            else:
                self._front.fail(call, *self._status, trailing_metadata=self._trailing)
            return False
        self._open.add(call)
        return True

    def respond(self, call: int, *answer: Any, **more: Any) -> None:
        """Answer a call."""
        self._open.discard(call)
        self._front.respond(call, *answer, **more)

    def fail(self, call: int, *answer: Any, **more: Any) -> None:
        """Answer a call with a status."""
        self._open.discard(call)
        self._front.fail(call, *answer, **more)
