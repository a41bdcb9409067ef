"""The order in which tests are handed to processes."""

from hypothesis import given
from hypothesis import strategies as st
from tests.order import BATCH, Batches

Test = tuple[str, int]
"""A module and a number. Tests of modules in capitals may take seconds."""


def batches(tests: list[Test], waiting: set[Test]) -> Batches[Test]:
    return Batches(
        tests, module=lambda test: test[0], waits=lambda test: test in waiting, long=lambda test: test[0].isupper()
    )


def taken(some: Batches[Test], *processes: int) -> list[str]:
    """The modules that processes of these numbers get, one after the other."""
    return ["".join(module for module, _ in some.take(process)) for process in processes]


def test_every_second_process_begins_with_tests_that_wait() -> None:
    tests = [(module, number) for module in "AwBxCy" for number in range(2)]
    waiting = {test for test in tests if test[0].islower()}
    assert taken(batches(tests, waiting), 0, 1, 2, 3) == ["ww", "AA", "xx", "BB"]


def test_a_process_goes_on_with_the_other_kind() -> None:
    tests = [("A", 0), ("w", 0), ("B", 0)]
    assert taken(batches(tests, {("w", 0)}), 0, 0, 0, 0) == ["w", "A", "B", ""]


def test_quick_tests_come_last() -> None:
    assert taken(batches([("a", 0), ("B", 0), ("c", 0), ("D", 0)], set()), 1, 0, 1, 0) == ["B", "D", "a", "c"]


def test_a_module_that_waits_in_part_is_two_batches() -> None:
    some = batches([("A", 0), ("A", 1), ("A", 2)], {("A", 1)})
    assert [some.take(1), some.take(1)] == [[("A", 0), ("A", 2)], [("A", 1)]]


def test_a_long_module_is_several_batches() -> None:
    some = batches([("a", number) for number in range(BATCH + 1)], set())
    assert [len(some.take(0)) for _ in range(3)] == [BATCH, 1, 0]


@given(
    st.lists(st.tuples(st.sampled_from("abcDEF"), st.integers(1, 2 * BATCH)), max_size=6, unique_by=lambda it: it[0]),
    st.sets(st.tuples(st.sampled_from("abcDEF"), st.integers(0, 9))),
    st.lists(st.integers(0, 3), min_size=30, max_size=30),
)
def test_none_is_lost_or_doubled_and_modules_keep_their_order(
    groups: list[tuple[str, int]], waiting: set[Test], processes: list[int]
) -> None:
    tests = [(module, number) for module, count in groups for number in range(count)]
    some = batches(tests, waiting)
    begun = [batch for process in processes if (batch := some.take(process))]
    assert sorted(test for batch in begun for test in batch) == sorted(tests)
    for batch in begun:
        assert batch == sorted(batch)
        assert len({module for module, _ in batch}) == 1
