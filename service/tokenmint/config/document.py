"""Reading a partly usable document: bad keys are reported and left out, so that the rest is checked too."""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tokenmint.base.config_values import Table, problem_of
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.key_path import key_path
from tokenmint.config.suggestions import did_you_mean

MAX_DEPTH: Final = 32
"""The deepest nesting of tables and lists. The deepest useful document has 7."""
PLACEHOLDER: Final = "CHANGE-ME"
"""Written by `tokenmint init` for a value that only the operator can supply."""
T = TypeVar("T", bound=Table)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """A table, and the problems of its document."""

    table: T
    problems: tuple[str, ...]
    dropped: tuple[str, ...]
    """Paths of the keys that were left out."""


def parsed(
    model: type[T], document: Mapping[str, Any], prefix: tuple[str, ...] = (), more_keys: Iterable[str] = ()
) -> Outcome[T]:
    """Read the usable part of a document.

    Args:
        prefix: the beginning of the paths of its keys.
        more_keys: further keys to suggest for a misspelt one.
    """
    rest: dict[str, Any] = deepcopy(dict(document))
    problems: dict[str, None] = {}
    dropped: dict[str, None] = {}
    while True:
        try:
            return Outcome(model.model_validate(rest), tuple(problems), tuple(dropped))
        except ValidationError as error:
            items = error.errors(include_url=False, include_context=True, include_input=False)
        before = len(dropped)
        for item in items:
            loc = item["loc"]
            meant = ""
            if item["type"] == "extra_forbidden":
                names = _keys_at(model, loc[:-1]) | (frozenset(more_keys) if len(loc) == 1 else frozenset())
                meant = did_you_mean(str(loc[-1]), sorted(names))
            problems[problem_of(item["type"], item["msg"], (*prefix, *map(str, loc))) + meant] = None
            gone = _drop(rest, loc, missing=item["type"] == "missing")
            if gone:
                dropped[key_path(*prefix, *gone)] = None
        if len(dropped) == before:
            raise ConfigurationError(tuple(problems))


def follows(problem: str, dropped: Iterable[str]) -> bool:
    """Return whether a problem is about a key that was left out, so that it only follows from another problem."""
    for path in dropped:
        before = r"(?<![\w.])" if "." in path else r"(?:\A|\[)"  # a single word occurs in many sentences
        if re.search(rf"{before}{re.escape(path)}(?![\w-])", problem):
            return True
    return False


def too_deep(document: Mapping[str, Any]) -> bool:
    """Return whether a document is nested deeper than any valid one."""
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, dict) else value)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def placeholders(document: Mapping[str, Any]) -> list[str]:
    """Return a problem for each value that is still a placeholder."""
    return [
        f"{key_path(*path)}: still has {PLACEHOLDER}: put your own value there"
        for path, text in _texts(document, ())
        if PLACEHOLDER in text
    ]


def _texts(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, str(index)) if isinstance(item, dict | list) else path)


def _drop(document: dict[str, Any], loc: tuple[int | str, ...], *, missing: bool) -> tuple[str, ...]:
    """Remove the key of a problem and return its path, or () if it is already gone.

    The key is the deepest existing one on the path. For a list's element it is the list's key, and for a missing key,
    the table that lacks it.
    """
    path: list[str] = []
    owner: Any = document
    last: tuple[dict[str, Any], str] | None = None
    for part in loc[:-1] if missing else loc:
        if isinstance(owner, dict) and part in owner:
            last = (owner, str(part))
            path.append(str(part))
            owner = owner[part]
        elif not isinstance(part, int) and part != "[key]" and not missing and isinstance(owner, dict):
            return ()
        else:
            break
    if last is None:
        return ()
    table, key = last
    del table[key]
    return tuple(path)


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> frozenset[str]:
    """Return the keys of the table at a place of ``model``, or none if it is not a table."""
    annotation: Any = model
    for part in loc:
        table = _table(annotation)
        if table is not None and part in table.model_fields:
            annotation = table.model_fields[str(part)].annotation
    table = _table(annotation)
    if table is None:
        return frozenset()
    return frozenset(field.alias or name for name, field in table.model_fields.items())


def _table(annotation: Any) -> type[Table] | None:
    """Return the table in an annotation such as ``dict[Name, ClientTable]`` or ``RateTable | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next((found for item in get_args(annotation) if (found := _table(item)) is not None), None)
