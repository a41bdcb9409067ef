"""Builds the package and the driver of a language, from scratch, or where something is newer than the last build."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DRIVERS: Final = Path(__file__).parent / "drivers"
LANGUAGES: Final = ("python", "go", "node", "java")
MISSING: Final = 77  # the status of a script whose toolchain is not there
BUILD_LIMIT: Final = 900.0  # seconds
REQUIRE_LANES: Final = "TOKENMINT_REQUIRE_LANES"
_MADE: Final = frozenset({"node_modules", "dist", "target", "build", "__pycache__"})
"""Folders that builds write."""


def build(language: str, failures: list[str]) -> bool:
    """Build a language's package and driver; return whether they are there.

    A toolchain that is missing is a remark, and a failure where lanes are required.
    """
    print(f"building {language} ...", file=sys.stderr)
    script = DRIVERS / language / "build"
    if not script.exists():
        failures.append(f"{language}: there is no driver")
        return False
    _marker(language).unlink(missing_ok=True)
    done = subprocess.run([script], capture_output=True, text=True, timeout=BUILD_LIMIT, check=False)
    if done.returncode == MISSING:
        line = f"{language}: skipped: {done.stderr.strip()}"
        print(line)
        if os.environ.get(REQUIRE_LANES):
            failures.append(line)
    elif done.returncode:
        failures.append(f"{language}: build: {(done.stdout + done.stderr)[-3000:]}")
    else:
        _marker(language).parent.mkdir(parents=True, exist_ok=True)
        _marker(language).touch()
    return done.returncode == 0


def build_if_older(language: str, failures: list[str]) -> bool:
    """Build where a source is newer than the last build; return whether package and driver are there."""
    marker = _marker(language)
    if marker.exists():
        built = marker.stat().st_mtime
        if all(file.stat().st_mtime <= built for file in _sources(language)):
            return True
    return build(language, failures)


def _marker(language: str) -> Path:
    return ROOT / "build" / "clients" / language / "built"


def _sources(language: str) -> Iterator[Path]:
    for top in (ROOT / "clients" / language, DRIVERS / language, ROOT / "protos", ROOT / "requirements"):
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if name not in _MADE and not name.endswith(".egg-info")]
            yield from (Path(folder, name) for name in files)
