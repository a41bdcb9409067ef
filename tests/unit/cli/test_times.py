"""Times and durations, as people read and type them."""

import pytest
import typer

from tokenmint.base.clock import rfc3339
from tokenmint.cli.times import TIMES, at, duration, relative, spoken, whole_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s ago"), (-14, "14 s ago"), (90, "in 90 s"), (5400, "in 90 min"), (-3 * 3600, "3 h ago"),
     (3 * 3600, "in 3 h"), (36 * 3600, "in 36 h"), (30 * 86400, "in 30 d")],
)  # fmt: skip
def test_a_distance_from_now(seconds: float, text: str) -> None:
    assert relative(seconds) == text


def test_a_time_is_in_utc_or_in_the_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(at(1_700_000_000)).startswith("2023-11-14 22:13:20Z (")
    assert at(1_700_000_000).short.endswith(" d ago")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv(TIMES, "local")
    import time

    time.tzset()
    try:
        assert str(at(1_700_000_000)).startswith("2023-11-15 03:58:20+0545 (")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "outside the calendar" in str(at(1e30))
    assert (rfc3339(1_700_000_000), rfc3339(1e30)) == ("2023-11-14T22:13:20Z", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.2, "0s"), (90, "1m30s"), (600, "10m"), (5400, "1h30m"), (86400 * 30, "30d"), (93784, "1d2h3m4s")],
)
def test_a_duration_is_written_as_it_may_be_typed(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
    assert duration(text) == round(seconds)


@pytest.mark.parametrize(
    ("typed", "seconds"), [("90s", 90), ("1h30m", 5400), ("10", 10), ("2.5", 2.5), (10.0, 10), ("250ms", 0.25)]
)
def test_a_duration_may_be_typed_with_or_without_units(typed: object, seconds: float) -> None:
    assert duration(typed) == seconds


@pytest.mark.parametrize("typed", ["", "-5", "-5s", "ten", "nan", "inf", "1x", "1e30", "30m1h"])
def test_what_is_no_duration_is_refused_with_an_example(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match="1h30m"):
        duration(typed)


@pytest.mark.parametrize("typed", ["0", "0s", "1.5", "250ms"])
def test_a_lifetime_has_whole_seconds(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match="whole seconds"):
        whole_seconds(typed)
    assert whole_seconds("1h30m") == 5400
