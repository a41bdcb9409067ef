"""Mistakes made on purpose: a text in the source of one function is replaced, so that a test has to fail."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest


def mutate(monkeypatch: pytest.MonkeyPatch, module: Any, owner: Any, function: str, old: str, new: str) -> None:
    """Replace ``old`` in ``function`` of ``owner``, a class of ``module`` or that module itself.

    A text that is not in the function fails.
    """
    original: Callable[..., Any] = inspect.getattr_static(owner, function)
    source = textwrap.dedent(inspect.getsource(original))
    assert source.count(old) >= 1, f"{function} has no longer {old!r}"
    names: dict[str, Any] = {}
    exec(compile(source.replace(old, new), "mutated", "exec"), vars(module), names)  # noqa: S102  # as said
    monkeypatch.setattr(owner, function, names[function])
