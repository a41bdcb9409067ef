"""The order in which tests are handed to processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.order import dealt, shares

Test = tuple[str, int]
"""A module and a number."""


def order(tests: list[Test], processes: int, waiting: set[str]) -> list[Test]:
    return dealt(tests, processes, waits=lambda test: test[0] in waiting, module=lambda test: test[0])


@pytest.mark.parametrize(
    ("count", "processes", "sizes"), [(10, 4, [2, 2, 3, 3]), (8, 2, [4, 4]), (1, 3, [0, 0, 1]), (5, 1, [5])]
)
def test_shares_are_those_of_worksteal(count: int, processes: int, sizes: list[int]) -> None:
    assert shares(count, processes) == sizes


def test_those_that_wait_begin_every_second_share() -> None:
    tests = [(module, number) for module in "abcdwxyz" for number in range(2)]
    begun = order(tests, 4, set("wxyz"))
    assert [begun[at][0] for at in range(0, 16, 4)] == ["w", "a", "x", "c"]
    assert "".join(module for module, _ in begun) == "wwyyaabbxxzzccdd"


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 9)), max_size=6, unique_by=lambda group: group[0]),
    st.integers(1, 9),
    st.sets(st.sampled_from("abcdef")),
)
def test_none_is_lost_or_doubled_and_modules_keep_their_order(
    groups: list[tuple[str, int]], processes: int, waiting: set[str]
) -> None:
    tests = [(module, number) for module, count in groups for number in range(count)]
    begun = order(tests, processes, waiting)
    assert sorted(begun) == sorted(tests)
    for module in {module for module, _ in tests}:
        assert [number for name, number in begun if name == module] == [n for name, n in tests if name == module]
