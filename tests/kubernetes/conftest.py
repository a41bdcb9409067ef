"""The API server and Helm, built once from pinned Go modules, and the kinds of custom resources that the chart uses."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.deploy import schemas
from tests.deploy.__main__ import HERE as DEPLOY
from tests.deploy.__main__ import TOOLS as DEPLOY_TOOLS
from tests.deploy.chart import NAMES, golden, objects
from tests.kubernetes.cluster import Cluster, running
from tests.pages import ROOT

TOOLS = Path(__file__).parent / "tools"
BUILT = ROOT / "build" / "kubernetes"
RENDERERS = ("helm.sh/helm/v3/cmd/helm", "sigs.k8s.io/kustomize/kustomize/v5")
BUILD_LIMIT = 3600  # seconds: a first build takes minutes on two idle cores


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with etcd and kube-apiserver; Helm and kustomize are in the folder of `make check-deploy`."""
    if shutil.which("go") is None:
        missing = "no go on PATH: the manifests were not tried before a kube-apiserver"
        if os.environ.get("TOKENMINT_REQUIRE_LANES"):
            pytest.fail(missing)
        pytest.skip(missing)
    for folder, modules, made in ((TOOLS, ["tool"], BUILT), (DEPLOY / "tools", list(RENDERERS), DEPLOY_TOOLS)):
        made.mkdir(parents=True, exist_ok=True)
        build = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", f"{made}/", *modules]
        subprocess.run(build, cwd=folder, check=True, timeout=BUILD_LIMIT)
    return BUILT


@pytest.fixture(scope="session")
def cluster(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server that serves the kinds of the examples."""
    with running(programs, tmp_path_factory.mktemp("cluster")) as found:
        used = {(item["apiVersion"], item["kind"]) for name in NAMES for item in objects(golden(name).read_text())}
        for definition in schemas.definitions():
            spec = definition["spec"]
            served = {(f"{spec['group']}/{version['name']}", spec["names"]["kind"]) for version in spec["versions"]}
            if served & used:
                found.define(definition)
        yield found


def rendered(*command: str | Path) -> str:
    """Return the manifests that Helm or kustomize writes."""
    program, *arguments = command
    run = [str(DEPLOY_TOOLS / program), *map(str, arguments)]
    return subprocess.run(run, check=True, capture_output=True, text=True, timeout=120, cwd=ROOT).stdout


def first_of(manifest: str) -> str:
    """Return the kind and the name of a manifest."""
    item = yaml.safe_load(manifest)
    return f"{item['kind']} {item['metadata']['name']}"
