"""A version of the service, as it is installed here: this one, or that of another commit."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import beside
from tests.process import environment

PLACEHOLDER: Final = "CHANGE-ME"


@dataclass(frozen=True)
class Version:
    """An installed version."""

    name: str
    python: str
    """Its interpreter."""

    def tokenmint(self, *arguments: str, directory: Path) -> "subprocess.CompletedProcess[str]":
        """Run its command line to its end."""
        command = [self.python, "-m", "tokenmint", *arguments]
        return subprocess.run(
            command, cwd=directory, env=environment(), capture_output=True, text=True, check=False, timeout=60
        )


THIS: Final = Version("this version", sys.executable)


def other(commit: str) -> Version:
    """Return the version of another commit, and install it where it is not installed yet.

    Raises ``SystemExit`` if that is impossible, or if its interpreter would run this version.
    """
    name, python = beside.install(commit)
    version = Version(name, str(python))
    tree = python.parents[2]
    told = subprocess.check_output(
        [python, "-c", "import tokenmint; print(tokenmint.__file__)"], cwd=tree.parent, env=environment(), text=True
    )
    if not Path(told.strip()).is_relative_to(tree):
        raise SystemExit(f"{name} would run {told.strip()}: take that folder out of PYTHONPATH")
    return version


def refused_configuration(version: Version, directory: Path) -> str:
    """Return the words with which this version refuses the configuration that ``version`` writes, "" if it starts."""
    made = version.tokenmint("init", "--secret-files", directory=directory)
    if made.returncode:
        return f"{version.name} writes none: {made.stderr[-300:]}"
    config = directory / "tokenmint.toml"
    config.write_text(config.read_text().replace(PLACEHOLDER, "1234"))
    checked = THIS.tokenmint("config", "check", directory=directory)
    return f"that of {version.name}: {checked.stderr[-300:]}" if checked.returncode else ""
