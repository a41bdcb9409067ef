"""The version: pyproject.toml has it, and the other files that name it follow.

`make version VERSION=0.2.0` writes it into all of them. A release writes it into its copy of the commit.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-rc\.[1-9]\d*)?")
"""A version that pip, npm, Go, Maven and Helm all read: three numbers, for a candidate with `-rc.1`."""
_ANY: Final = r"\d+\.\d+\.\d+(?:-rc\.\d+)?"


class BadVersion(Exception):
    """A text is no version, or a file names the version in another way than it did."""


@dataclass(frozen=True, slots=True)
class Place:
    """A text in a file that names the version."""

    file: str
    before: str
    """A pattern of the text before it."""
    snapshot: bool = False
    """Whether a copy that is no release has `-SNAPSHOT`: Maven keeps a version without it forever."""

    def pattern(self) -> re.Pattern[str]:
        """Return the pattern; its groups are the text before, the version, and the suffix."""
        return re.compile(rf"({self.before})({_ANY})({'(?:-SNAPSHOT)?' if self.snapshot else ''})", re.MULTILINE)


PLACES: Final = (
    Place("pyproject.toml", r'^version = "'),
    Place("clients/python/pyproject.toml", r'^version = "'),
    Place("clients/node/package.json", r'^  "version": "'),
    Place("clients/node/package-lock.json", r'\A\{\n  "name": "tokenmint-client",\n  "version": "'),
    Place("clients/node/package-lock.json", r'^    "": \{\n      "name": "tokenmint-client",\n      "version": "'),
    Place("clients/java/pom.xml", r"^  <artifactId>tokenmint-client</artifactId>\n  <version>", snapshot=True),
    Place("clients/java/README.md", r"<artifactId>tokenmint-client</artifactId>\n  <version>"),
    Place("deploy/helm/tokenmint/Chart.yaml", r"^version: "),
    Place("deploy/helm/tokenmint/Chart.yaml", r'^appVersion: "'),
    Place("deploy/kustomize/overlays/example/kustomization.yaml", r"newName: \S+, newTag: "),
)


def checked(version: str) -> str:
    """Return a version that every kind of package can have.

    Raises:
        BadVersion: it is none.
    """
    if VERSION.fullmatch(version) is None:
        raise BadVersion(
            f"VERSION={version[:40]!r}: expected three numbers, for a candidate with -rc.1: 0.2.0, 0.2.0-rc.1"
        )
    return version


def python_version(version: str) -> str:
    """Return the version as Python packages write it (PEP 440)."""
    return version.replace("-rc.", "rc")


def current(tree: Path) -> str:
    """Return the version of a tree."""
    version = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["version"]
    return checked(str(version))


def found(tree: Path) -> dict[Place, tuple[str, str]]:
    """Return the version and its suffix at each place.

    Raises:
        BadVersion: a place is not there, or there twice.
    """
    versions = {}
    for place in PLACES:
        matches = place.pattern().findall((tree / place.file).read_text())
        if len(matches) != 1:
            raise BadVersion(
                f"{place.file}: has {len(matches)} versions after {place.before!r}: correct release/versions.py"
            )
        versions[place] = (matches[0][1], matches[0][2])
    return versions


def write(tree: Path, version: str, *, released: bool) -> None:
    """Write the version into every file of a tree that names it.

    Args:
        released: whether this is the copy that a release is built from; snapshots otherwise stay snapshots.

    Raises:
        BadVersion: a file does not name the version as it should.
    """
    found(tree)
    for place in PLACES:
        suffix = "-SNAPSHOT" if place.snapshot and not released else ""
        path = tree / place.file
        path.write_text(place.pattern().sub(lambda match, end=suffix: f"{match[1]}{version}{end}", path.read_text()))  # type: ignore[misc]
