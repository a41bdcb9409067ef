"""How long an answer may be kept: never beyond the token, its subject token, or the audience's limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.exchange.retention import RESERVE, seconds_to_keep

NOW = 1_800_000_000.0
ENDS = st.floats(NOW - 10_000, NOW + 10_000)
BOUNDS = st.integers(0, 300)
FRACTIONS = st.floats(0, 1, exclude_max=True)


@given(BOUNDS, ENDS, ENDS, FRACTIONS, st.floats(-20, 20), st.booleans())
def test_a_kept_answer_outlives_nothing(
    bound: int, token_ends: float, subject_ends: float, fraction: float, took: float, single_use: bool
) -> None:
    """Also after an exchange that took long, or in which the clock was set back."""
    now = NOW + fraction
    keep = seconds_to_keep(
        bound=bound, ends=(token_ends, subject_ends), began=now - took, now=now, single_use=single_use
    )
    assert isinstance(keep, int)
    assert 0 <= keep <= bound
    if keep:
        assert not single_use
        assert keep + max(0.0, took) < bound + 1
        # A cache that counts in whole seconds may keep it for up to a second longer.
        assert now + keep + 1 < min(token_ends, subject_ends)


@given(BOUNDS, st.floats(0, 5_000), FRACTIONS)
def test_an_answer_is_kept_for_as_long_as_it_may_be(bound: int, left: float, fraction: float) -> None:
    now = NOW + fraction
    keep = seconds_to_keep(bound=bound, ends=(now + left, now + 10_000), began=now, now=now, single_use=False)
    assert keep == bound or keep + 1 > left - RESERVE - 0.001


def test_a_slow_exchange_is_kept_for_less() -> None:
    def keep(took: float) -> int:
        return seconds_to_keep(bound=5, ends=(NOW + 600, NOW + 600), began=NOW - took, now=NOW, single_use=False)

    assert [keep(took) for took in (0, 0.9, 1, 4.5, 5, 9)] == [5, 5, 4, 1, 0, 0]


@pytest.mark.parametrize(
    ("case", "bound", "token", "subject", "single_use", "expected"),
    [
        ("the audience's limit", 1, 600, 3600, False, 1),
        ("a longer one", 60, 600, 3600, False, 60),
        ("none is kept", 0, 600, 3600, False, 0),
        ("the minted token ends first", 300, 35, 3600, False, 30),
        ("the subject token ends first", 300, 600, 25, False, 20),
        ("the subject token is about to end", 300, 600, 5, False, 0),
        ("it has ended: within the allowed skew it was accepted", 300, 600, -30, False, 0),
        ("a token that may be used only once", 300, 600, 3600, True, 0),
    ],
)
def test_each_limit(case: str, bound: int, token: float, subject: float, single_use: bool, expected: int) -> None:
    keep = seconds_to_keep(bound=bound, ends=(NOW + token, NOW + subject), began=NOW, now=NOW, single_use=single_use)
    assert keep == expected, case
