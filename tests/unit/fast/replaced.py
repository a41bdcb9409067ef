"""Members of objects that are replaced for a while."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def replaced(target: object, name: str, value: object) -> Iterator[None]:
    """Replace a member of an object, frozen or not, for a while."""
    before = getattr(target, name)
    object.__setattr__(target, name, value)
    try:
        yield
    finally:
        object.__setattr__(target, name, before)
