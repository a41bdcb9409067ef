"""The part of `make check-deploy` that resolves each list of pinned requirements for each supported version of Python.

From wheels alone and with the hashes of the list: a version without a wheel, or with one of another hash, is a failure.
Nothing is installed, so no interpreter of that version is needed.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from tests.pages import ROOT

_CLASSIFIER: Final = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def versions() -> list[str]:
    """Return the versions of Python that the package names."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    return [match[1] for line in classifiers if (match := _CLASSIFIER.fullmatch(line))]


def problem(file: Path, version: str, target: str) -> str:
    """Return the problem of a list on a version of Python; empty if there is none."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("uv"), "pip", "install", "--dry-run", "--quiet", "--python", sys.executable,
            "--python-version", version, "--target", target, "--no-deps", "--require-hashes", "--only-binary", ":all:",
            "-r", file,
        ],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr[-2000:].strip()


def main() -> int:
    """Return the exit status."""
    failed = passed = 0
    with tempfile.TemporaryDirectory() as target:
        for file in sorted((ROOT / "requirements").glob("*.txt")):
            for version in versions():
                found = problem(file, version, target)
                failed, passed = failed + bool(found), passed + (not found)
                if found:
                    print(f"requirements/{file.name} on Python {version}: {found}")
    print(f"pinned requirements: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
