"""The order of the tests, for the processes that share them.

A test that waits for processes takes seconds and computes little. So half of the processes begin with such tests, while
the others compute. The quick unit tests come last, so that no process is still busy for long when the others are done.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

Test = TypeVar("Test")
BATCH: Final = 30
"""Tests of a module that one process takes at once: they share what the module starts."""


class Batches(Generic[Test]):
    """Hands out tests, each once. Those of a module stay together, up to ``BATCH`` of them."""

    def __init__(
        self,
        tests: Iterable[Test],
        *,
        module: Callable[[Test], object],
        waits: Callable[[Test], bool],
        long: Callable[[Test], bool],
    ) -> None:
        """``waits``: the test waits for processes; ``long``: it may take seconds."""
        self._waiting: deque[list[Test]] = deque()
        self._computing: deque[list[Test]] = deque()
        short: list[list[Test]] = []
        for _, group in itertools.groupby(tests, module):
            together = list(group)
            for waiting, some in (
                (True, list(filter(waits, together))),
                (False, list(itertools.filterfalse(waits, together))),
            ):
                for start in range(0, len(some), BATCH):
                    batch = some[start : start + BATCH]
                    (self._waiting if waiting else self._computing if any(map(long, batch)) else short).append(batch)
        self._computing.extend(short)

    def take(self, process: int) -> list[Test]:
        """Return the next tests for the process of this number; none if all are taken."""
        first, second = (self._computing, self._waiting) if process % 2 else (self._waiting, self._computing)
        left = first or second
        return left.popleft() if left else []
