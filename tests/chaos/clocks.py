"""Clocks of replicas that can be moved while they run: libfaketime, which Debian's package `faketime` brings.

Wall clocks alone: CLOCK_MONOTONIC goes on as it is, as when an operator or NTP sets the time.
"""

import os
from pathlib import Path
from typing import Final

LIBRARY: Final = "libfaketimeMT.so.1"
PLACES: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib")
SITE: Final = Path(__file__).parent / "faketime_site"
REQUIRE_LANES: Final = "TOKENMINT_REQUIRE_LANES"
MISSING: Final = "libfaketime is not installed, so no clock is moved: Debian has it as `faketime`"


def find_library() -> Path | None:
    """Return the library, None where it is not installed."""
    found = (file for place in PLACES for depth in ("*/faketime", "faketime") for file in Path(place).glob(depth))
    return next((file / LIBRARY for file in found if (file / LIBRARY).exists()), None)


def tidy(pid: int) -> None:
    """Remove what libfaketime leaves in shared memory of a killed process, whose id may be used again."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        Path("/dev/shm", name).unlink(missing_ok=True)


class ReplicaClock:
    """The wall clock of one replica's processes."""

    def __init__(self, directory: Path, library: Path) -> None:
        self._file = directory / "clock"
        self._library = library
        self.set(0.0)

    def set(self, offset: float) -> None:
        """Move it to ``offset`` seconds after the true time, at once and in all processes."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+.3f}\n")
        new.replace(self._file)

    def environment(self) -> dict[str, str]:
        """Return the settings under which a process follows this clock."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": os.pathsep.join([str(SITE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
