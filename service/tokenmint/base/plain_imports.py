"""Imports of libraries without optional packages that this service never uses.

Some libraries load such a package whenever it is installed. A worker would keep its code in memory for nothing:

- structlog loads rich, by which it draws tracebacks. The log never has one (:mod:`tokenmint.base.logs`). rich is
  installed, because the command line draws tables with it.
- httpcore2 loads h2, for HTTP/2. Requests to providers use HTTP/1.1. h2 is installed, because Firebase's SDK brings it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Let imports within the block find no ``package``, unless it is loaded already. Later imports find it.

    None in ``sys.modules`` is Python's own way to block an import
    (https://docs.python.org/3/reference/import.html#the-module-cache).
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # documented, but not typed
    try:
        yield
    finally:
        del sys.modules[package]
