"""Lines of the log: one for each event, whatever is in it, and nothing in one that a terminal or a reader obeys."""

import json
from dataclasses import dataclass, field

import pytest

from tokenmint.telemetry import _json_line


@dataclass
class _Hiding:
    name: str
    hidden: bytes | str = field(repr=False)


@pytest.mark.parametrize(
    "value",
    ["\u2028{", "\u0085{", "\x9b31m", "\u202e", "\x7f", "\n{", "\ud800", 2**70],
    ids=["line separator", "next line", "C1 control", "bidi override", "DEL", "newline", "lone surrogate", "big"],
)
def test_a_line_is_one_line_of_printable_ascii(value: object) -> None:
    line = _json_line(None, "info", {"event": "x", "detail": value})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["detail"] == value


def test_what_a_repr_hides_a_line_hides() -> None:
    line = _json_line(None, "info", {"event": "x", "detail": _Hiding("ada", "canary")})
    assert "ada" in line
    assert "canary" not in line
