"""Lines that libraries log: a flood of the same one is one line, counted."""

import logging

from structlog.testing import capture_logs

from tokenmint.base.logs import SILENCE, OfLibraries


def test_the_same_message_is_one_line_a_minute_that_tells_how_many_there_were() -> None:
    now = 1000.0
    handler = OfLibraries(lambda: now)

    def says(text: str, logger: str = "library") -> None:
        handler.emit(logging.LogRecord(logger, logging.ERROR, __file__, 1, text, (), None))

    with capture_logs() as lines:
        for _ in range(50):
            says("a call broke")
        says("another")
        says("a call broke", "other")
        now += SILENCE - 1
        says("a call broke")
        now += 1
        says("a call broke")
        now += 10 * SILENCE
        says("a call broke")
    told = [(line["event"], line["logger"], line.get("more_since_the_last_line")) for line in lines]
    assert told == [
        ("a call broke", "library", None),
        ("another", "library", None),
        ("a call broke", "other", None),
        ("a call broke", "library", 50),
        ("a call broke", "library", None),
    ]


def test_messages_that_are_all_different_do_not_fill_memory() -> None:
    handler = OfLibraries(lambda: 0.0)
    with capture_logs() as lines:
        for number in range(1000):
            handler.emit(logging.LogRecord("library", logging.ERROR, __file__, 1, f"{number:04}" * 1000, (), None))
    assert len(lines) == 1000
    assert len(handler._told) == 100
    assert all(len(message) <= 500 for _, message in handler._told)
