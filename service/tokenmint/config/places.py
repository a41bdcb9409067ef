"""The place of a key: its line in the TOML file, or its environment variable.

``tomllib`` keeps no lines, so the text is read again, statement by statement, after ``tomllib`` has accepted it.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tokenmint.base.foreign_text import clipped
from tokenmint.base.key_path import key_path

LONGEST_LINE: Final = 200
"""Bytes of a line that are shown."""
_SPACE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING: Final = re.compile(
    r"""
    "{3} (?: [^"\\] | \\. | "(?!"") )* "{3,5}    # several lines, with escapes
    | '{3} (?: [^'] | '(?!'') )* '{3,5}          # several lines, literal
    | " (?: [^"\\\n] | \\. )* "
    | ' [^'\n]* '
    """,
    re.DOTALL | re.VERBOSE,
)
_PART: Final = re.compile(r"[ \t]*(?:([A-Za-z0-9_-]+)|(\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'))[ \t]*(\.?)")
_PLAIN: Final = re.compile(r"[^\"'\[\]{}#\n]+")
_LONGEST: Final = 1024  # characters at the beginning of a problem that may be its key
_ENDS: Final = re.compile(r"[:.,\[]")


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a key that the configuration sets."""

    where: str
    """`line 12`, or the name of an environment variable."""
    text: str = ""
    """The line, bounded; "" for a variable, whose value may be a secret."""


def written_places(places: Mapping[str, str], text: str) -> dict[str, Place]:
    """Return the place of each key with its line of ``text``. ``places`` are the places as messages write them."""
    lines = text.split("\n")

    def place(where: str) -> Place:
        number = where.removeprefix("line ")
        line = lines[int(number) - 1].strip() if number.isdecimal() else ""
        return Place(where, clipped(line, LONGEST_LINE))

    return {key: place(where) for key, where in places.items()}


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each key and table, by its path as messages write it."""
    found: dict[str, int] = {}
    arrays: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    at, line, counted = 0, 1, 0
    while True:
        at = _end(_SPACE, text, at)
        if at >= len(text):
            return found
        line, counted = line + text.count("\n", counted, at), at
        if text[at] == "[":
            array = text.startswith("[[", at)
            parts, at = _key(text, at + 1 + array)
            table = _in_arrays(parts[:-1], arrays) + tuple(parts[-1:])
            if array:
                found.setdefault(key_path(*table), line)
                arrays[table] = arrays.get(table, -1) + 1
                table = (*table, str(arrays[table]))
            found[key_path(*table)] = line
            at = text.index("]", at) + 1 + array
        else:
            parts, at = _key(text, at)
            for end in range(1, len(parts) + 1):
                found.setdefault(key_path(*table, *parts[:end]), line)
            at = _after_value(text, at + 1)


def place_of(problem: str, places: Mapping[str, str]) -> str:
    """Return the place of the key at the start of a problem, or of the table that lacks it; "" if it has neither."""
    head = problem[:_LONGEST]
    ends = [match.start() for match in _ENDS.finditer(head)]
    return next((places[head[:end]] for end in reversed(ends) if head[:end] in places), "")


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match is not None else at


def _key(text: str, at: int) -> tuple[list[str], int]:
    parts = []
    while (match := _PART.match(text, at)) is not None:
        at = match.end()
        parts.append(match[1] or _unquoted(match[2]))
        if not match[3]:
            break
    return parts, at


def _unquoted(text: str) -> str:
    return str(tomllib.loads(f"key = {text}")["key"]) if "\\" in text else text[1:-1]


def _in_arrays(parts: Sequence[str], arrays: Mapping[tuple[str, ...], int]) -> tuple[str, ...]:
    """Add the index of the last element after each part that is an array of tables."""
    path: tuple[str, ...] = ()
    for part in parts:
        path = (*path, part)
        if path in arrays:
            path = (*path, str(arrays[path]))
    return path


def _after_value(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        char = text[at]
        if char in "\"'":
            at = max(_end(_STRING, text, at), at + 1)
        elif char == "#":
            at = _end(_SPACE, text, at) if depth else at
            if not depth:
                return at
        elif char == "\n" and not depth:
            return at
        elif char in "[]{}\n":
            depth += (char in "[{") - (char in "]}")
            at += 1
        else:
            at = _end(_PLAIN, text, at)
    return at
