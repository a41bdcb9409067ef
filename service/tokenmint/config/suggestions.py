"""Suggestions for an unknown name: the nearest one that exists."""

import difflib
from collections.abc import Iterable
from itertools import islice
from typing import Final

from tokenmint.base.key_path import key_path

MAX_NAME: Final = 128  # characters; a longer name is not compared
MAX_NAMES: Final = 500


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name in ``names`` that is most like ``name``, None if none is like it."""
    if len(name) > MAX_NAME:
        return None
    usual = (one for one in names if len(one) <= MAX_NAME and one.isprintable())
    candidates = {one.lower(): one for one in islice(usual, MAX_NAMES)}
    found = difflib.get_close_matches(name.lower(), candidates, n=1)
    return candidates[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown ``name``; "" if no other is like it."""
    meant = nearest(name, names)
    return f": did you mean {meant}?" if meant is not None else ""


def no_such_table(section: str, name: str, names: Iterable[str]) -> str:
    """Return the message about a reference to a ``name`` without a table in ``section``."""
    meant = nearest(name, names)
    text = f"there is no [{key_path(section, name)}]"
    return text + (f": did you mean [{key_path(section, meant)}]?" if meant is not None else "")
