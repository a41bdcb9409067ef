"""How much is played of random and long histories: the usual amount, that of `make test-deep`, or of `make fast`."""

import os

import pytest
from hypothesis import HealthCheck, settings

DEPTH = os.environ.get("TOKENMINT_TEST_DEPTH", "usual")
DEEP = DEPTH == "deep"
EXAMPLES = {"quick": 10, "usual": 20, "deep": 400}
"""Of each property."""


def depth(usual: int, deep: int) -> int:
    """Return a number of examples, histories or calls. A test that asks is marked ``deep``, so that both are run."""
    return deep if DEEP else usual


def set_up_hypothesis() -> None:
    """Give tests of properties their number of examples. No deadline: it would judge what else the machine does."""
    settings.register_profile(
        "tokenmint", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=EXAMPLES[DEPTH]
    )
    settings.load_profile("tokenmint")


def mark_properties(items: list[pytest.Item]) -> None:
    """Mark every test of a property ``deep``: with more examples it may find more."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("deep")
