"""The order of the tests, for the processes of pytest-xdist that share them.

Each process has an equal share of the list, begins at its front, and when it is done takes half of what another one has
not begun, from the end. A test that waits for processes takes seconds and computes little. So these stand at the front
of every second share: they are not the last ones to run, alone, and meanwhile the other shares compute.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

Test = TypeVar("Test")


def shares(count: int, processes: int) -> list[int]:
    """Return the number of tests of each process, as `--dist worksteal` hands them out."""
    sizes: list[int] = []
    for rest in range(processes, 0, -1):
        sizes.append((count - sum(sizes)) // rest)
    return sizes


def dealt(
    tests: Sequence[Test], processes: int, *, waits: Callable[[Test], bool], module: Callable[[Test], object]
) -> list[Test]:
    """Return the tests with those that wait at the front of every second share, modules together."""
    sizes = shares(len(tests), processes)
    hands: list[list[Test]] = [[] for _ in sizes]
    first = range(0, processes, 2)
    others = [test for test in tests if not waits(test)]
    for _, group in itertools.groupby((test for test in tests if waits(test)), module):
        together = list(group)
        fitting = [at for at in first if len(hands[at]) + len(together) <= sizes[at]]
        if fitting:
            hands[min(fitting, key=lambda at: len(hands[at]))].extend(together)
        else:
            others += together
    rest = iter(others)
    for hand, size in zip(hands, sizes, strict=True):
        hand += itertools.islice(rest, size - len(hand))
    return list(itertools.chain.from_iterable(hands))
