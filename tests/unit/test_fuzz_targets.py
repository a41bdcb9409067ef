"""The seeds of the targets that need no fuzzer, and inputs that the fuzzer has found."""

from collections.abc import Callable

import pytest
from tests.fuzz import sts_targets
from tests.pages import ROOT

TARGETS = (
    sts_targets.resources, sts_targets.id_jags, sts_targets.plain_grants, sts_targets.assertions,
    sts_targets.protected_resources,
)  # fmt: skip
SEEDS = ROOT / "tests" / "fuzz" / "seeds"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_the_seeds_of_a_target_are_no_findings(target: Callable[[bytes], None]) -> None:
    seeds = list((SEEDS / target.__name__).iterdir())
    assert seeds
    for seed in seeds:
        target(seed.read_bytes())


@pytest.mark.parametrize(
    ("target", "data"),
    [
        (sts_targets.resources, b"hh:/.https://API.@xa"),
        (sts_targets.protected_resources, b"https://api.example/mcp\nDPoP abc.def.ghi\n/\nx"),
        (sts_targets.protected_resources, b"https://api.example/mcp\nBearer a\xa0\n/\nx"),
        (sts_targets.protected_resources, b"https://api.example/mcp\n\n/\nx"),
    ],
)
def test_inputs_that_were_found(target: Callable[[bytes], None], data: bytes) -> None:
    target(data)


def test_a_target_finds_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The targets compare: a resource that is taken for another one is a finding."""
    monkeypatch.setattr(sts_targets, "normal_uri", lambda _: "https://api.example/v2")
    with pytest.raises(AssertionError):
        sts_targets.resources(b"https://api.example/v1")
