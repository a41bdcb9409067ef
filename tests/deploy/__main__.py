"""The part of `make check-deploy` that needs Go: the chart and kustomize's base, and the monitoring's expressions.

`--render` writes the golden files and kustomize's base anew, and checks nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.deploy import monitoring, schemas
from tests.deploy.chart import BASE, CHART, EXAMPLES, KUSTOMIZE, NAMES, configuration, kept, objects
from tests.pages import ROOT

HERE: Final = Path(__file__).resolve().parent
TOOLS: Final = ROOT / "build" / "deploy-tools"
SCHEMAS: Final = ROOT / "build" / "deploy-schemas"
PROGRAMS: Final = {
    "tools": (
        "helm.sh/helm/v3/cmd/helm",
        "github.com/yannh/kubeconform/cmd/kubeconform",
        "sigs.k8s.io/kustomize/kustomize/v5",
        "./promql",
    ),
    # In a module of its own: it needs older libraries of Kubernetes.
    "tools/score": ("github.com/zegl/kube-score/cmd/kube-score",),
}
RELEASE: Final = ("tokenmint", "--namespace", "tokenmint", "--kube-version", schemas.KUBERNETES)
ACCEPTED: Final[Mapping[str, Sequence[str]]] = {
    "images have a version or a digest: what is there needs no new pull": (
        "--ignore-test", "container-image-pull-policy",
    ),
    "a limit of CPU time delays calls while the node is idle": ("--ignore-container-cpu-limit",),
    "topologySpreadConstraints spread the replicas": (
        "--ignore-test", "deployment-has-host-podantiaffinity",
        "--ignore-test", "statefulset-has-host-podantiaffinity",
    ),
    "of the pod of `helm test` alone, which lives for one call": ("--ignore-test", "pod-networkpolicy"),
    "the StatefulSet's Service has a cluster address: nobody needs names of single pods": (
        "--ignore-test", "statefulset-has-servicename",
    ),
}  # fmt: skip
"""The findings of kube-score that are accepted: the reason, and the options."""
REFUSED: Final[Mapping[str, tuple[Sequence[str], str]]] = {
    "a value that does not exist": (["--set", "nonsense=1"], "additional properties 'nonsense' not allowed"),
    "no issuer": (["--set", "config.issuer="], "config.issuer: the https URL"),
    "no store": (["--set", "store.url="], "store.url: the URL of a Redis or Valkey"),
    "no key-encryption key": (["--set", "keyEncryption.secret.name="], "keyEncryption.secret.name: the Secret"),
    "an address of the chart's": (["--set", "config.listen.grpc=1"], "/config/listen/grpc"),
    "a password in the configuration": (["--set", "config.redis.password=x"], "/config/redis/password"),
}
"""Values that the chart refuses, with the message."""


def run(*command: str | Path, given: str | None = None, directory: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end."""
    return subprocess.run(
        list(map(str, command)), input=given, capture_output=True, text=True, check=False, cwd=directory
    )


def build() -> None:
    """Build the programs, pinned in go.sum."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    for folder, programs in PROGRAMS.items():
        subprocess.run(["go", "build", "-o", f"{TOOLS}/", *programs], cwd=HERE / folder, check=True)


def helm_template(name: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Render an example by Helm, with further options."""
    values = ("--values", EXAMPLES / f"{name}.yaml")
    return run(TOOLS / "helm", "template", *RELEASE[:1], CHART, *RELEASE[1:], *values, *options)


def render(name: str) -> str:
    """Return the rendering of an example by Helm."""
    done = helm_template(name)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    return done.stdout


def of_examples(renderings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name of each check of the examples, and what it found: "" if nothing."""
    for name, text in renderings.items():
        stale = [str(file.relative_to(ROOT)) for file, one in kept(name, text).items()
                 if not file.exists() or file.read_text() != one]  # fmt: skip
        yield f"{name}: golden file", f"run `make render-deploy`: {', '.join(stale)}" if stale else ""
        values = ("--values", EXAMPLES / f"{name}.yaml", "--kube-version", schemas.KUBERNETES)
        done = run(TOOLS / "helm", "lint", "--strict", "--quiet", CHART, *values)
        yield f"{name}: helm lint", done.stdout + done.stderr if done.returncode else ""
        yield f"{name}: kubeconform", conform(text)
        yield f"{name}: kube-score", score(text)


def conform(text: str) -> str:
    """Return the findings of kubeconform."""
    location = f"{SCHEMAS}/{schemas.LOCATION}"
    done = run(TOOLS / "kubeconform", "-strict", "-schema-location", location, "-output", "json", "-", given=text)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def score(text: str) -> str:
    """Return the findings of kube-score that are not accepted."""
    known = [word for options in ACCEPTED.values() for word in options]
    done = run(TOOLS / "kube-score", "score", "--output-format", "ci", *known, "-", given=text)
    found = [line for line in done.stdout.splitlines() if line.startswith(("[CRITICAL]", "[WARNING]"))]
    if done.returncode not in (0, 1) or not done.stdout:
        found.append(f"status {done.returncode}: {done.stderr}")
    return "\n".join(found)


def of_mistakes(renderings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield "" for each mistake in a manifest that the programs find."""
    for name, before, after in (
        ("minimal", "enableServiceLinks:", "enableServiceLink:"),
        ("minimal", "sleep: {seconds: 5}", "sleep: {seconds: soon}"),
        ("sentinel", "runbook_url:", "runbook_url: {}\n      runbook:"),
        ("sentinel", "{port: ops, path: /metrics", "{port: ops, paths: /metrics"),
        ("cert-manager", "rotationPolicy:", "rotation:"),
        ("envoy-gateway", "gatewayClassName:", "gatewayClass:"),
        ("envoy-gateway", "maxStreamDuration:", "maxDuration:"),
        ("istio", "notPrincipals:", "notPrincipal:"),
    ):
        wrong = renderings[name].replace(before, after)
        found = wrong != renderings[name] and conform(wrong)
        yield f"kubeconform finds {after!r}", "" if found else "it does not"
    wrong = renderings["minimal"].replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    yield "kube-score finds a writable root", "" if score(wrong) else "it does not"


def of_refusals() -> Iterator[tuple[str, str]]:
    """Yield the name of each set of values that is refused, and "" where it is."""
    for name, (options, message) in REFUSED.items():
        done = helm_template("minimal", *options)
        refused = done.returncode != 0 and message in done.stderr
        yield f"refused: {name}", "" if refused else f"status {done.returncode}: {done.stderr}"


def of_kustomize() -> Iterator[tuple[str, str]]:
    """Yield the checks of kustomize's base and overlay, and what they found."""
    for folder in ("base", "overlays/example"):
        done = run(TOOLS / "kustomize", "build", KUSTOMIZE / folder)
        yield f"kustomize {folder}: build", done.stderr if done.returncode else ""
        yield f"kustomize {folder}: kubeconform", conform(done.stdout)
        yield f"kustomize {folder}: configuration", mounted_configuration(done.stdout, KUSTOMIZE / folder)


def mounted_configuration(text: str, folder: Path) -> str:
    """Return "" if the pods mount the folder's own configuration, under a name that changes with it."""
    made = objects(text)
    (config,) = [item for item in made if item["kind"] == "ConfigMap"]
    (pods,) = [item for item in made if item["kind"] == "Deployment"]
    name = config["metadata"]["name"]
    if name not in [volume.get("configMap", {}).get("name") for volume in pods["spec"]["template"]["spec"]["volumes"]]:
        return f"no volume has the ConfigMap {name}"
    own = (folder / "tokenmint.toml").read_text()
    if folder.name == "base" and own.rstrip() != configuration(BASE).rstrip():
        return "the base has another configuration than its rendering"
    return "" if config["data"]["tokenmint.toml"] == own else "the ConfigMap has another configuration"


def of_expressions() -> Iterator[tuple[str, str]]:
    """Yield the check of each PromQL expression by Prometheus' parser, and its error."""
    expressions = monitoring.expressions()
    lines = "\n".join(" ".join(text.split()) for text in expressions.values())
    answers = run(TOOLS / "promql", given=lines).stdout.splitlines()
    if len(answers) != len(expressions):
        yield "PromQL", f"{len(answers)} answers to {len(expressions)} expressions"
        return
    for (name, text), answer in zip(expressions.items(), answers, strict=True):
        told = json.loads(answer)
        unknown = set(told["metrics"] or ()) ^ monitoring.metrics_of(text)
        error = told["error"] or (f"the tests read other metrics in it: {sorted(unknown)}" if unknown else "")
        yield f"PromQL of {name}", error


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    if shutil.which("go") is None:
        print("check-deploy: no go on PATH: chart, kustomize and PromQL are checked by Python alone", file=sys.stderr)
        return 1 if os.environ.get("TOKENMINT_REQUIRE_LANES") else 0
    build()
    renderings = {name: render(name) for name in NAMES}
    if "--render" in arguments:
        for name, text in renderings.items():
            for file, one in kept(name, text).items():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(one)
        return 0
    schemas.lay(Path(arguments[0]), SCHEMAS)
    failed = passed = 0
    for checks in (of_examples(renderings), of_mistakes(renderings), of_refusals(), of_kustomize(), of_expressions()):
        for name, finding in checks:
            if finding:
                failed += 1
                print(f"{name}: {finding.strip()}", flush=True)
            else:
                passed += 1
    print(f"chart, kustomize and PromQL: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
