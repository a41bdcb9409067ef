"""Lines of the log: one for each event with any content, and nothing in one that a terminal or a reader obeys."""

import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.depth import depth

from tokenmint.base import logs
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.logs import _json_line
from tokenmint.base.telemetry import Metrics, bounded_json

CANARY: Final = "canary-of-a-foreign-text"
HOOKS: Final = ("excepthook", "unraisablehook", "stderr")


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


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """The log as a process writes it, in JSON; called, it returns what is in it so far."""
    root, before, hooks = logging.getLogger(), structlog.get_config(), {name: getattr(sys, name) for name in HOOKS}
    handlers, level, in_thread, warn = root.handlers[:], root.level, threading.excepthook, warnings.showwarning
    with (tmp_path / "log").open("wb") as file:
        writer = logs.configure("info", "json", LineWriter(file.fileno()))

        def read() -> str:
            assert writer.flush(20)
            return (tmp_path / "log").read_text()

        yield read
        root.handlers[:], root.level = handlers, level
        structlog.configure(**before)
        for name, hook in hooks.items():
            setattr(sys, name, hook)
        threading.excepthook, warnings.showwarning = in_thread, warn
        assert writer.flush(20)


def test_grpcios_word_on_metadata_that_is_no_text_does_not_show_it(told: Callable[[], str]) -> None:
    for message, values in (
        ("Invalid encoding on b'tms_canary\\xa0'", ()),
        ("Invalid encoding on %r", (b"tms_canary",)),
    ):
        logging.getLogger("grpc._cython.cygrpc").error(message, *values)
    logging.getLogger("grpc._cython.cygrpc").error("something else")
    text = told()
    assert "tms_canary" not in text
    assert text.count("the metadata of a call is not text in UTF-8") == 1  # the same message a second time
    assert "something else" in text


def _raise() -> None:
    raise RuntimeError(CANARY)


def _raised() -> RuntimeError:
    try:
        _raise()
    except RuntimeError as error:
        return error
    raise AssertionError


def test_what_libraries_log_is_an_event_without_the_text_of_exceptions(told: Callable[[], str]) -> None:
    library = logging.getLogger("uvicorn.error")
    try:
        _raise()
    except RuntimeError as error:
        library.exception("Exception in %s", "ASGI application")
        library.error("it failed: %s", error)
        library.error(f"it failed again: {error}", exc_info=True)  # as libraries do
        library.error(error)
    logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: {CANARY!r}")  # noqa: G004  # as it does
    logs.OfLibraries().handle(logging.LogRecord("other", logging.WARNING, "x.py", 1, "%d and %d", (1,), None))
    library.info("below what is logged of libraries")
    text = told()
    assert CANARY not in text
    assert "Traceback" not in text
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["event"] for event in events] == [
        "Exception in ASGI application", "it failed: RuntimeError", "it failed again: RuntimeError", "RuntimeError",
        "Task exception was never retrieved", "a library's message can't be shown",
    ]  # fmt: skip
    assert events[0]["error"] == "RuntimeError"
    assert events[0]["logger"] == "uvicorn.error"
    assert "test_telemetry._raise:" in events[0]["where"][-1]


def test_what_nobody_caught_is_an_event_without_its_text(told: Callable[[], str]) -> None:
    logs.catch_the_rest()
    error = _raised()
    sys.excepthook(RuntimeError, error, error.__traceback__)
    sys.unraisablehook(SimpleNamespace(exc_value=error, object=CANARY))
    thread = threading.Thread(target=_raise)
    thread.start()
    thread.join()
    warnings.showwarning(f"about {CANARY}", UserWarning, "library.py", 7)
    print(f"Traceback of {CANARY}", file=sys.stderr)
    sys.stderr.flush()
    text = told()
    assert CANARY not in text
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["event"] for event in events] == [
        "an uncaught error", "an error could not be raised", "an error ended a thread",
        "a warning of Python", "a library printed to standard error",
    ]  # fmt: skip
    assert events[3]["where"] == "library.py:7"
    assert "test_what_nobody_caught_is_an_event_without_its_text" in events[4]["where"]


class _Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError(CANARY)


def test_an_event_that_can_not_be_shown_fails_nobody(told: Callable[[], str]) -> None:
    structlog.get_logger().warning("it happened", value=_Unspeakable())
    event = json.loads(told())
    assert (event["event"], event["level"]) == ("an event of the log can't be shown", "warning")


def test_a_line_has_a_length_at_most_and_stays_json(told: Callable[[], str]) -> None:
    structlog.get_logger().error(
        "x", detail="\U0001f600" * 100_000, other={"deep": [["y" * 9000] * 90] * 9}, big=2**9999
    )
    (line,) = told().splitlines()
    assert len(line) <= logs.MAX_LINE
    assert json.loads(line)["level"] == "error"


@settings(max_examples=depth(20, 300))
@given(
    st.dictionaries(
        st.text(max_size=100),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.binary(max_size=300),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=30), inner) | st.tuples(inner, inner),
        ),
    ),
    st.integers(256, 4096),
)
def test_any_event_is_json_within_its_limit(event: dict[str, object], limit: int) -> None:
    text = bounded_json(event, limit)
    assert len(text) <= limit
    assert text.isascii()
    assert isinstance(json.loads(text), dict)


def test_the_counts_of_what_was_dropped_only_grow() -> None:
    metrics = Metrics()
    for dropped in (0, 3, 3, 5):
        metrics.records(log_dropped=dropped, log_broken=bool(dropped), audit_dropped={"exchanges": 2 * dropped})
    text = metrics.render().decode()
    assert "tokenmint_log_dropped_total 5.0" in text
    assert "tokenmint_log_broken 1.0" in text
    assert 'tokenmint_audit_dropped_total{stream="exchanges"} 10.0' in text
