"""The chart's examples, and their renderings that are kept: golden files, and the base of kustomize.

A rendering begins with the hash of all that it was made from, so that a machine without Helm notices a stale one.
"""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from tests.pages import ROOT

CHART: Final = ROOT / "deploy" / "helm" / "tokenmint"
EXAMPLES: Final = ROOT / "deploy" / "helm" / "examples"
GOLDEN: Final = ROOT / "tests" / "deploy" / "golden"
KUSTOMIZE: Final = ROOT / "deploy" / "kustomize"
BASE: Final = "kustomize"
"""The example whose rendering is kustomize's base, and not a golden file."""
NAMES: Final = tuple(sorted(example.stem for example in EXAMPLES.glob("*.yaml")))
HEAD: Final = "# Rendered by `make render-deploy` from chart and values of the hash "
_HELMS: Final = re.compile(r"^ *(?:helm\.sh/chart:|app\.kubernetes\.io/managed-by:|# Source:).*\n", re.MULTILINE)
_CHECKSUM: Final = re.compile(r"^ *annotations:\n *# A changed configuration.*\n *checksum/config: .*\n", re.MULTILINE)


def digest(name: str) -> str:
    """Return the hash of the chart and of one example's values."""
    hashed = hashlib.sha256()
    for file in [*sorted(path for path in CHART.rglob("*") if path.is_file()), EXAMPLES / f"{name}.yaml"]:
        hashed.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return hashed.hexdigest()


def golden(name: str) -> Path:
    """Return the file that keeps the rendering of an example."""
    return KUSTOMIZE / "base" / "tokenmint.yaml" if name == BASE else GOLDEN / f"{name}.yaml"


def kept(name: str, rendered: str) -> dict[Path, str]:
    """Return the files that a rendering is kept in, with their texts."""
    text = HEAD + digest(name) + "\n" + rendered
    if name != BASE:
        return {golden(name): text}
    parts = [part for part in text.split("\n---\n") if "\nkind: ConfigMap\n" not in part]
    (config,) = [item for item in objects(rendered) if item["kind"] == "ConfigMap"]
    base = _CHECKSUM.sub("", _HELMS.sub("", "\n---\n".join(parts)))
    return {golden(name): base, KUSTOMIZE / "base" / "tokenmint.toml": config["data"]["tokenmint.toml"] + "\n"}


def objects(text: str) -> list[dict[str, Any]]:
    """Return the objects of manifests."""
    return [item for item in yaml.safe_load_all(text) if item is not None]


@cache
def _rendered(name: str) -> list[dict[str, Any]]:
    return objects(golden(name).read_text())


def of_kind(name: str, *kinds: str) -> list[dict[str, Any]]:
    """Return the objects of some kinds in the rendering of an example. They are shared: nobody changes them."""
    return [item for item in _rendered(name) if item["kind"] in kinds]


def workload(name: str) -> dict[str, Any]:
    """Return the Deployment or StatefulSet in the rendering of an example."""
    (found,) = of_kind(name, "Deployment", "StatefulSet")
    return found


def configuration(name: str) -> str:
    """Return the configuration file in the rendering of an example."""
    if name == BASE:
        return (KUSTOMIZE / "base" / "tokenmint.toml").read_text()
    maps = [item for item in of_kind(name, "ConfigMap") if "tokenmint.toml" in item["data"]]
    return str(maps[0]["data"]["tokenmint.toml"])
