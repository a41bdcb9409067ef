"""The log: events of this service and of libraries, hooks for uncaught errors, and one writer that never blocks.

Everything goes to standard error through a :class:`~tokenmint.base.log_writer.LineWriter`. Of an exception only the
type and the places are logged: its text may hold input of a caller, a provider or the store.
"""

import asyncio
import contextlib
import io
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, TextIO

from tokenmint.base.log_library import structlog
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.standard_streams import ERROR
from tokenmint.base.telemetry import bounded_json, json_text, places
from tokenmint.base.trace_context import current_trace

log = structlog.get_logger(__name__)

MAX_LINE: Final = 16 * 1024  # bytes of a line; the fields of a longer one are cut
_MESSAGE: Final = 500  # characters of a library's message
SILENCE: Final = 60.0  # seconds in which the same message of a library is logged once
_KINDS: Final = 100  # messages of libraries that are remembered as logged
_PLACES: Final = 6  # innermost places of an error that are logged


# --- events of this service -----------------------------------------------------------------------------------------


def stamp() -> str:
    """Return the time in the format of log lines."""
    whole, part = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(whole)}.{part:06}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _add_trace(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the trace of the call that logs."""
    trace = current_trace()
    if trace is not None:
        event.setdefault("trace_id", trace.trace_id)
        event.setdefault("span_id", trace.span_id)
    return event


def _json_line(_: object, level: str, event: MutableMapping[str, Any]) -> str:
    """Render an event as a line. A single processor, because there is an event for each call."""
    _add_trace(_, level, event)
    event["level"] = level
    event["timestamp"] = stamp()
    try:
        return bounded_json(event, MAX_LINE)
    except Exception as error:  # noqa: BLE001  # the repr of a value may fail, which must not end the caller
        kept = {name: event[name] for name in ("level", "timestamp")}
        return json_text({"event": "an event of the log can't be shown", "error": type(error).__name__} | kept)


class _Lines:
    """The target of structlog, and the factory that returns it."""

    def __init__(self, writer: LineWriter) -> None:
        self.writer = writer

    def __call__(self, *_: object) -> "_Lines":
        return self

    def msg(self, line: str) -> None:
        """Pass a line on. Never raises: logging must not interrupt the caller."""
        with contextlib.suppress(Exception):
            self.writer.put(line.encode(errors="backslashreplace") + b"\n")

    debug = info = warning = error = critical = exception = msg


def configure(level: str, output: str, writer: LineWriter | None = None) -> LineWriter:
    """Log to standard error: JSON lines, or readable ones (`auto`: if it is a terminal).

    Log records, warnings and uncaught errors of libraries go to the same place.

    Args:
        level: the lowest level that is logged. Of libraries only warnings and errors, because some log their data.
        output: `json`, `console` or `auto`.
        writer: writes the lines; default: standard error.

    Returns the writer.
    """
    target = writer or ERROR.writer
    console = output == "console" or (output == "auto" and os.isatty(2))
    readable: list[Any] = [
        structlog.processors.add_log_level,
        _add_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(),
    ]
    lines = _Lines(target)
    structlog.configure(
        processors=readable if console else [_json_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lines,
        cache_logger_on_first_use=False,
    )
    if not console:
        target.notice = _json_notice
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_metadata)
    logging.basicConfig(level=logging.WARNING, handlers=[OfLibraries()], force=True)
    return target


def json_lines() -> LineWriter | None:
    """Return the writer of events of the level `info` if each event is one line of JSON, otherwise None.

    For callers that make such lines themselves. The result is valid until the log is configured again.
    """
    config = structlog.get_config()
    lines, plain = config["logger_factory"], config["processors"] == [_json_line]
    if not isinstance(lines, _Lines) or not plain or not log.is_enabled_for(logging.INFO):
        return None
    return lines.writer


def _json_notice(count: int) -> bytes:
    line = _json_line(None, "warning", {"event": "lines of the log were dropped", "count": count})
    return line.encode() + b"\n"


# --- libraries ---------------------------------------------------------------------------------------------


def _without_metadata(record: logging.LogRecord) -> bool:
    """Remove metadata of a call: grpcio logs the value of metadata that is not UTF-8, which may be a secret."""
    if "Invalid encoding" in str(record.msg):
        record.msg, record.args, record.exc_info = "the metadata of a call is not text in UTF-8", (), None
    return True


class OfLibraries(logging.Handler):
    """Turns records of the standard library's logging into events.

    The same message is logged once in :data:`SILENCE` seconds, and its next line has the number of times: a library may
    log several messages for each broken call.

    Args:
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        """By logger and message: the time of its last line, and the number of times since."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record. Never raises: the caller is a library at work."""
        try:
            error = record.exc_info[1] if record.exc_info else None
            message, facts = _message(record, error), dict[str, object](logger=record.name)
            more = self._more(record.name, message)
            if more is None:
                return
            if more:
                facts["more_since_the_last_line"] = more
            if error is not None:
                facts |= about(error)
            level = logging.getLevelName(min(record.levelno, logging.CRITICAL) // 10 * 10).lower()
            getattr(log, level, log.error)(message, **facts)
        except Exception:  # noqa: BLE001  # must not raise
            log.error("a library's message can't be shown", logger=record.name)  # noqa: TRY400  # its text stays out

    def _more(self, logger: str, message: str) -> int | None:
        """Return how often a message came since its last line; None if that was just now, so that it is only
        counted."""
        key, now = (logger, message), self._monotonic()
        at, more = self._told.pop(key, (float("-inf"), 0))
        silent = now - at < SILENCE
        self._told[key] = (at, more + 1) if silent else (now, 0)
        if len(self._told) > _KINDS:
            del self._told[next(iter(self._told))]
        return None if silent else more


def _message(record: logging.LogRecord, error: BaseException | None) -> str:
    """Return the first line of a message, without the text of exceptions. Further lines may hold their `repr`."""
    arguments = record.args
    if isinstance(arguments, tuple):
        arguments = tuple(type(item).__name__ if isinstance(item, BaseException) else item for item in arguments)
    text = str(record.msg) % arguments if arguments else str(record.msg)
    if isinstance(record.msg, BaseException):
        text = type(record.msg).__name__
    error_text = str(error) if error is not None else ""
    if error_text:
        text = text.replace(error_text, type(error).__name__)
    first, *_ = text.splitlines() or [""]
    return first[:_MESSAGE]


# --- uncaught errors ---------------------------------------------------------------------------------------------


def about(error: BaseException) -> dict[str, object]:
    """Return the loggable facts of an error: its type and its origin."""
    return {"error": type(error).__name__, "where": places(error)[-_PLACES:]}


def log_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error outside of any call, such as in a task that nothing awaits, without the exception's text."""
    error = context.get("exception")
    where = about(error) if isinstance(error, BaseException) else {"error": "NoneType", "where": []}
    log.error("an error outside of any call", **where)


def catch_the_rest() -> None:
    """Send to the log everything that Python would print: uncaught exceptions, warnings, a library's `print`."""

    def uncaught(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        log.critical("an uncaught error", **about(error))

    def in_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None:
            log.error("an error ended a thread", **about(failed.exc_value))

    def unraisable(failed: Any) -> None:
        if failed.exc_value is not None:
            log.error("an error could not be raised", **about(failed.exc_value))

    def warn(
        message: Warning | str,  # noqa: ARG001  # may hold foreign text; the place identifies the warning
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001  # as the standard library calls it
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        log.warning("a warning of Python", category=category.__name__, where=f"{filename[-200:]}:{lineno}")

    sys.excepthook = uncaught
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable
    warnings.showwarning = warn
    sys.stderr = _StandardError()


class _StandardError(io.TextIOBase):
    """Replaces standard error for libraries. Their text may be a traceback, so only its length and place are logged."""

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text.strip():
            frame = sys._getframe(1)  # noqa: SLF001  # public in all but its name, and cheaper than inspect's
            place = f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}:{frame.f_lineno}"
            log.warning("a library printed to standard error", characters=len(text), where=place)
        return len(text)

    def fileno(self) -> int:
        """Return the real descriptor: faulthandler writes to it when nothing else can."""
        return 2
