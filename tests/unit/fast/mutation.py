"""A mistake in the fast way, made on purpose, and the scenario that has to find it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.both_ways import BothWays
from tests.mutations import mutate
from tests.unit.fast.scenarios import Scenario

from tokenmint.fast import computing, exchange, minting, tokens


@dataclass(frozen=True)
class Mutation:
    """A mistake, and the scenario that finds it."""

    module: Any
    owner: Any
    """The class or module that has the function."""
    function: str
    old: str
    new: str
    found_by: Scenario

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the mistake."""
        mutate(monkeypatch, self.module, self.owner, self.function, self.old, self.new)
        if self.owner in (tokens, minting, computing):  # the name that its user has
            monkeypatch.setattr(exchange, self.function, getattr(self.owner, self.function))


async def find_all(mutations: Iterable[Mutation], ways: BothWays, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a scenario does not find its mutation. One service has them all: each is taken back before the next."""
    survivors = []
    for mutation in mutations:
        await ways.check(recognised=True)  # what was mutated before left nothing behind
        with monkeypatch.context() as patched:
            mutation.apply(patched)
            ways.forget()
            try:
                await mutation.found_by(ways)
            except AssertionError:
                pass
            else:
                survivors.append(f"{mutation.function}: {mutation.old!r} -> {mutation.new!r}")
        ways.forget()
        ways.empty()
    assert not survivors, "\n".join(survivors)
