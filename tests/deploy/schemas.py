"""JSON schemas for kubeconform: Kubernetes' from the package kubernetes-validate, and those of custom resources.

Custom resources' schemas are in the definitions that Go modules carry. Both are laid into one folder, under the names
that kubeconform looks for.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

KUBERNETES: Final = "1.37.0"
LOCATION: Final = "{{.ResourceKind}}{{.KindSuffix}}.json"
DEFINITIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        (
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ),
    ),
    "github.com/cert-manager/cert-manager@v1.21.2": (
        "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        ("deploy/crds/cert-manager.io_certificates.yaml",),
    ),
    "sigs.k8s.io/gateway-api@v1.5.0": (
        "h1:duoo14Ky/fJXpjpmyMISE2RTBGnfCg8zICfTYLTnBJA=",
        (
            "config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
            "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",
            "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
        ),
    ),
    "github.com/envoyproxy/gateway@v1.9.1": (
        "h1:vAVp6/AlBXJ1aOhp1mxL7fNEzVEfjADUguUhm2wzxQY=",
        ("charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_backendtrafficpolicies.yaml",),
    ),
    "istio.io/api@v1.32.0": (
        "h1:37mJvg9I0biYZAEQF+MATs4FNeCpXEIVO3LFpVb6iNM=",
        ("kubernetes/customresourcedefinitions.gen.yaml",),
    ),
}
"""The hash of each module (as in go.sum), and its files with definitions."""


def lay(package: Path, folder: Path) -> None:
    """Write all schemas into ``folder``; ``package`` is the folder of kubernetes-validate."""
    done = folder / "laid"
    made_from = json.dumps([KUBERNETES, *DEFINITIONS])
    if done.exists() and done.read_text() == made_from:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for file in (package / "kubernetes-json-schema" / f"v{KUBERNETES}-local-strict").glob("*.json"):
        schema = json.loads(file.read_text().replace("/api/_definitions.json#", "_definitions.json#"))
        schema.pop("$id", None)  # refers to a server
        (folder / file.name).write_text(json.dumps(schema))
    for name, schema in custom(definitions()):
        (folder / name).write_text(json.dumps(schema))
    done.write_text(made_from)


def definitions() -> Iterator[dict[str, Any]]:
    """Yield the definitions of custom resources that the modules carry."""
    for module, (expected, files) in DEFINITIONS.items():
        directory = _module(module, expected)
        for file in files:
            for definition in yaml.safe_load_all((directory / file).read_text()):
                if definition is not None and definition.get("kind") == "CustomResourceDefinition":
                    yield definition


def _module(module: str, expected: str) -> Path:
    command = ["go", "mod", "download", "-json", module]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout)
    if told["Sum"] != expected:
        raise ValueError(f"{module}: its hash is {told['Sum']}, and not {expected}")
    return Path(told["Dir"])


def custom(resources: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield file name and strict schema of each custom resource that is defined."""
    for definition in resources:
        spec = definition["spec"]
        for version in spec["versions"]:
            name = f"{spec['names']['kind']}-{spec['group'].partition('.')[0]}-{version['name']}.json".lower()
            schema = strict(version["schema"]["openAPIV3Schema"])
            # The same for every resource; definitions leave them open.
            schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
                                     "metadata": {"type": "object"}}  # fmt: skip
            yield name, schema


def strict(schema: Any) -> Any:
    """Return a schema that refuses members that it does not list, as a server does that validates strictly."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items() if key != "format" and not key.startswith("x-")}
    if isinstance(schema.get("properties"), dict):  # a member may have the name of a keyword
        made["properties"] = {name: strict(member) for name, member in schema["properties"].items()}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_ended:
        made["additionalProperties"] = False
    return made
