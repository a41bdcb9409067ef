"""A service that the tests of a module share: it starts once, where each test's own would take 0.1 s of computing.

A module has a fixture `start` of its scope, which is a `Start`, and takes its `rig` from the fixture `shared_rig`. Its
tests may change nothing that another one sees, or are marked `alone`.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from tests.rig import Rig, Serve

Start: TypeAlias = Callable[[Serve], AbstractAsyncContextManager[Rig]]
"""Runs the service of a module."""
