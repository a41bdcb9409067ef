"""Names that no other scenario has."""

import itertools

_numbers = itertools.count()


def once() -> str:
    """A name that no other call got."""
    return f"once{next(_numbers)}"
