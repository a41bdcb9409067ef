"""Durations as people write them. The command line reads them too, so this imports nothing."""

import re
from typing import Final

_DURATION: Final = re.compile(
    r"(?=.)(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?\Z", re.ASCII
)
_UNITS: Final = (86400.0, 3600.0, 60.0, 1.0, 0.001)
"""The seconds of its groups."""
_LENGTHS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
"""The units in which a duration is written, in milliseconds."""
LONGEST: Final = 3650 * 86400.0


def parse_duration(value: object) -> float:
    """Read a duration: seconds as a number, or "90s", "1h30m", "30d", "250ms". Raises ``ValueError``."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST:
        return float(value)
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a duration, e.g. "90s", "10m", "24h" or a number of seconds')
    seconds = sum(int(number or 0) * unit for number, unit in zip(match.groups(), _UNITS, strict=True))
    if seconds > LONGEST:
        raise ValueError("expected a duration of at most 3650 days")
    return seconds


def spoken(seconds: float) -> str:
    """Return a duration in the form that :func:`parse_duration` reads, e.g. "1h30m", to the millisecond."""
    left, text = round(seconds * 1000), ""
    for unit, length in _LENGTHS:
        if left >= length:
            text += f"{left // length}{unit}"
            left %= length
    return text or "0s"
