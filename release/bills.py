"""Bills of materials: CycloneDX, one for each package, by the tool of its language."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from release.packages import GO_MODULE, Build
from release.sums import digest
from release.trees import ROOT, BuildFailed, run, timestamp
from release.versions import python_version

TOOLS: Final = ROOT / "build" / "release-tools"
"""The environment with requirements/release.txt; `bin/cyclonedx-gomod` is built into it."""
NAMES: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://tokenmint.dev/release")
_SCHEMA: Final = "1.6"
_VALIDATE: Final = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
for name in sys.argv[1:]:
    text = open(name, encoding="utf-8").read()
    version = SchemaVersion.from_version(__import__("json").loads(text)["specVersion"])
    error = JsonStrictValidator(version).validate_str(text)
    if error is not None:
        sys.exit(f"{name}: {error}")
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A package that has a bill."""

    name: str
    """The name of the bill's file, without its ending."""
    kind: str
    """Its component type in CycloneDX."""
    purl: str
    files: str
    """A pattern of its files in the release."""


def subjects(version: str) -> dict[str, Subject]:
    """Return the packages, by the name of what makes their bill."""
    python = python_version(version)
    rows = {
        "service": ("tokenmint", "application", f"pypi/tokenmint@{python}", f"python/tokenmint-{python}*"),
        "image": ("tokenmint-image", "container", f"generic/tokenmint-image@{version}", "image/*"),
        "chart": ("tokenmint-chart", "application", f"helm/tokenmint@{version}", "helm/*"),
        "protos": ("tokenmint-protos", "library", f"generic/tokenmint-protos@{version}", "protos/*"),
        "python": ("client-python", "library", f"pypi/tokenmint-client@{python}", f"python/tokenmint_client-{python}*"),
        "node": ("client-node", "library", f"npm/tokenmint-client@{version}", "npm/*"),
        "go": ("client-go", "library", f"golang/{GO_MODULE}@v{version}", "go/**/*.zip"),
        "java": (
            "client-java",
            "library",
            f"maven/dev.tokenmint/tokenmint-client@{version}?type=jar",
            "maven/**/*.jar",
        ),
    }
    return {
        key: Subject(f"{name}-{version}", kind, f"pkg:{purl}", files) for key, (name, kind, purl, files) in rows.items()
    }


def write(build: Build, commit: str) -> None:
    """Write the bills of all packages of a release, and check them against CycloneDX's schema."""
    folder = build.folder("sbom")
    files = []
    for name, subject in subjects(build.version).items():
        bill = _settled(_made(name, build), subject, build, commit)
        file = folder / f"{subject.name}.cdx.json"
        file.write_text(json.dumps(bill, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        files.append(file)
    run(TOOLS / "bin" / "python", "-c", _VALIDATE, *files, directory=build.work, environ=build.environ)


def _made(name: str, build: Build) -> dict[str, Any]:
    """Return the bill as the tool of the package's language writes it."""
    lists = {"service": "runtime", "image": "image", "python": "client"}
    if name in lists:
        tool: list[str | Path] = [TOOLS / "bin" / "cyclonedx-py", "requirements", f"requirements/{lists[name]}.txt"]
        options = ["--output-reproducible", "--sv", _SCHEMA, "--of", "JSON"]
        text = run(*tool, *options, directory=build.tree, environ=build.environ)
    elif name == "node":
        options = ["--package-lock-only", "--omit", "dev", "--sbom-format", "cyclonedx", "--sbom-type", "library"]
        text = run("npm", "sbom", *options, directory=build.tree / "clients" / "node", environ=build.environ)
    elif name == "go":
        options = ["-json", "-type", "library", "-noserial", "-notimestamp", "-output-version", _SCHEMA]
        tool = [TOOLS / "bin" / "cyclonedx-gomod", "mod", *options, "."]
        text = run(*tool, directory=build.tree / "clients" / "go", environ=build.environ)
    elif name == "java":
        text = (build.work / "java-bill.json").read_text()
    else:
        return {"bomFormat": "CycloneDX", "specVersion": _SCHEMA, "metadata": {}, "components": [], "dependencies": []}
    made: dict[str, Any] = json.loads(text)
    return made


def _settled(bill: dict[str, Any], subject: Subject, build: Build, commit: str) -> dict[str, Any]:
    """Return a bill with the package as its subject, and without the time and chance of its making."""
    metadata = bill["metadata"]
    old = metadata.get("component", {}).get("bom-ref")
    metadata["timestamp"] = timestamp(build.epoch)
    metadata["component"] = {
        "bom-ref": subject.purl,
        "type": subject.kind,
        "name": subject.purl.partition("/")[2].partition("@")[0].replace("/", ":" if "maven" in subject.purl else "/"),
        "version": build.version,
        "purl": subject.purl,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "properties": [
            {"name": f"tokenmint:sha256:{name}", "value": value} for name, value in _digests(subject, build.out)
        ] + [{"name": "tokenmint:commit", "value": commit}],
    }  # fmt: skip
    depends = [entry for entry in bill.get("dependencies", []) if entry["ref"] not in (old, "root-component")]
    direct = [entry for entry in bill.get("dependencies", []) if entry["ref"] in (old, "root-component")]
    on = sorted({name for entry in direct for name in entry.get("dependsOn", [])})
    # Without a graph, as from a list of requirements, the package depends on all.
    on = on or sorted(component["bom-ref"] for component in bill.get("components", []))
    bill["dependencies"] = sorted(
        [*depends, {"ref": subject.purl, "dependsOn": on}], key=lambda entry: str(entry["ref"])
    )
    bill["components"] = sorted(bill.get("components", []), key=lambda entry: str(entry["bom-ref"]))
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMES, f'{commit} {subject.purl}')}"
    bill["version"] = 1
    return bill


def _digests(subject: Subject, out: Path) -> Iterator[tuple[str, str]]:
    files = sorted(path for path in out.glob(subject.files) if path.is_file())
    if not files:
        raise BuildFailed(f"{subject.name}: the release has no files of it")
    for path in files:
        yield path.name, digest(path)
