"""Lines of the log: one for each event, whatever is in it, and nothing in one that a terminal or a reader obeys."""

import json
import logging
from dataclasses import dataclass, field

import pytest
import structlog

from tokenmint.telemetry import _json_line, configure_logging


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


def test_grpcios_word_on_metadata_that_is_no_text_does_not_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("info", "json")
        for message, values in (
            ("Invalid encoding on b'tms_canary\\xa0'", ()),
            ("Invalid encoding on %r", (b"tms_canary",)),
        ):
            logging.getLogger("grpc._cython.cygrpc").error(message, *values)
        logging.getLogger("grpc._cython.cygrpc").error("something else")
    finally:
        root.handlers[:], root.level = handlers, level
        structlog.configure(**before)
    told = capsys.readouterr().err
    assert "tms_canary" not in told
    assert told.count("the metadata of a call is not text in UTF-8") == 2
    assert "something else" in told
