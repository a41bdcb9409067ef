"""Types of configuration values: durations, strict tables; problems name the key and the remedy."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tokenmint.base.durations import parse_duration
from tokenmint.base.key_path import key_path

Seconds = Annotated[float, BeforeValidator(parse_duration)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""The name of a table that is no free text."""


class Table(BaseModel):
    """A table of the configuration: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", arbitrary_types_allowed=True)


_WORDS: Final = {
    "extra_forbidden": "there is no such key",
    "missing": "is required",
    "string_type": "expected a text in quotes",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "frozen_set_type": "expected a list",
    "dataclass_exact_type": 'expected "host:port" in quotes, e.g. "127.0.0.1:7443"',
}

_REWORDED: Final = (
    (re.compile(r"Input should be (greater|less) than"), r"expected a value \1 than"),
    (re.compile(r"Input should be '"), "expected '"),
    (re.compile(r"String should match pattern"), "expected a text that matches the pattern"),
    (re.compile(r"\w+ should have at (least|most) (\d+) (characters?|items?).*"), r"expected at \1 \2 \3"),
)
"""Messages of the parser that name bounds, and their form here."""


def problem_of(kind: str, message: str, loc: Iterable[str]) -> str:
    """Return the line for a problem: the key's path, the fault, the expected form. Never the value."""
    words = _WORDS.get(kind)
    if words is None:
        words = message.removeprefix("Value error, ")
        for pattern, form in _REWORDED:
            words = pattern.sub(form, words)
    return f"{key_path(*loc)}: {words}"


def _as_set(value: Any) -> Any:
    if not isinstance(value, Iterable) or isinstance(value, str | dict):
        return value
    if not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of texts in quotes")
    return frozenset(value)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


TextSet = Annotated[frozenset[str], BeforeValidator(_as_set)]
"""A list of texts in any order."""
TextList = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
