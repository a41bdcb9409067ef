"""The chart and kustomize's base, as far as it shows without Helm: in the golden files and the values."""

import json
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.chart import BASE, CHART, HEAD, KUSTOMIZE, NAMES, configuration, digest, golden, of_kind, workload
from tests.deploy.pod import MountedPod
from tests.pages import ROOT

from tokenmint.config.load import load
from tokenmint.config.settings import Settings

EXTRAS = {"softhsm": ("pkcs11", "pkcs11 needs the package"), "aws-kms": ("boto3", "aws-kms needs the package")}
"""By the example: the package of an extra that it needs, and the complaint without it."""
AFTER_DRAIN = 5.0
"""Seconds after `limits.drain` in which the supervisor waits for workers (docs/architecture.md, Processes)."""
WITH_CONSOLE = frozenset({"cert-manager"})
"""The examples that serve the console."""
INGRESS = ("data", "admin", "ops")


def test_the_chart_has_the_version_of_the_service() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert chart["version"] == chart["appVersion"] == version
    (test,) = of_kind("minimal", "Pod")
    assert test["spec"]["containers"][0]["image"] == f"tokenmint:{version}"


each_example = pytest.mark.parametrize("name", NAMES)


@each_example
def test_a_rendering_is_of_this_chart_and_its_objects_are_different_ones(name: str) -> None:
    text = golden(name).read_text()
    assert text.partition("\n")[0] == HEAD + digest(name), "run `make render-deploy`"
    found = [(item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(text) if item is not None]
    assert len(found) > 10
    assert len(found) == len(set(found))


def pod_of(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = workload(name)["spec"]["template"]["spec"]
    return spec


def mounted(name: str, directory: Path) -> MountedPod:
    return MountedPod(name, pod_of(name), directory)


def loaded(name: str, directory: Path) -> Settings:
    """Load the configuration of an example as `tokenmint config check` does, with the pod's files."""
    pod = mounted(name, directory)
    text = pod.config.read_text()
    # Within a cluster the issuer is found in a file of the pod, by the token of its service account.
    elsewhere = 'issuer = "https://kubernetes.example.com"\njwks_url = "https://kubernetes.example.com/openid/v1/jwks"'
    pod.config.write_text(text.replace('use = "kubernetes"', f'use = "kubernetes"\n{elsewhere}'))
    return load(pod.config, {})


@each_example
def test_the_configuration_of_an_example_is_accepted(name: str, tmp_path: Path) -> None:
    package, complaint = EXTRAS.get(name, ("", ""))
    if package and find_spec(package) is None:
        with pytest.raises(Exception, match=complaint) as error:
            loaded(name, tmp_path)
        assert len(getattr(error.value, "problems", [])) == 1, error.value
        return
    settings = loaded(name, tmp_path)
    assert settings.issuer == "https://tokens.example.com"
    assert str(settings.high_water_mark_file).startswith(f"{tmp_path}/var/lib/tokenmint/")


def test_the_configuration_of_the_overlay_is_accepted(tmp_path: Path) -> None:
    pod = mounted(BASE, tmp_path)
    pod.config.write_text(pod.placed((KUSTOMIZE / "overlays" / "example" / "tokenmint.toml").read_text()))
    settings = load(pod.config, {})
    assert grace(BASE) >= 5 + settings.limits.lame_duck + settings.limits.drain + AFTER_DRAIN


def grace(name: str) -> float:
    return float(pod_of(name)["terminationGracePeriodSeconds"])


@each_example
def test_the_grace_period_covers_the_pause_the_lame_duck_the_drain_and_the_end(name: str) -> None:
    limits = tomllib.loads(configuration(name))["limits"]
    (container,) = pod_of(name)["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause > 0
    assert grace(name) == pause + limits["lame_duck"] + limits["drain"] + 2 * AFTER_DRAIN


@each_example
def test_no_container_has_privileges(name: str) -> None:
    pods = [pod_of(name), *(item["spec"] for item in of_kind(name, "Pod"))]
    for spec in pods:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@each_example
def test_the_probes_are_those_of_the_architecture(name: str) -> None:
    (container,) = pod_of(name)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["ops"] == 9464
    probe = container["livenessProbe"]
    assert probe["httpGet"] == {"path": "/healthz", "port": "ops"}
    assert [probe[part] for part in ("periodSeconds", "timeoutSeconds", "failureThreshold")] == [10, 5, 3]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ops"}
    starting = container["startupProbe"]
    assert starting["periodSeconds"] * starting["failureThreshold"] >= 120  # as long as a worker has to become ready


@each_example
def test_each_listener_has_a_service_and_is_in_one_network_policy(name: str) -> None:
    console = ["console"] if name in WITH_CONSOLE else []
    listen = ("grpc", "admin", "http", "ops", *console)
    services = {item["metadata"]["name"]: item["spec"]["ports"][0] for item in of_kind(name, "Service")}
    assert {service: port["targetPort"] for service, port in services.items()} == {
        f"tokenmint-{listener}": listener for listener in listen
    }
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind(name, "NetworkPolicy")}
    ports = {
        group: [port["port"] for rule in policies[f"tokenmint-{group}"]["ingress"] for port in rule["ports"]]
        for group in INGRESS
    }
    assert ports == {"data": ["grpc", "http"], "admin": ["admin", *console], "ops": ["ops"]}
    peers = {group: json.dumps(policies[f"tokenmint-{group}"]["ingress"][0]["from"]) for group in INGRESS}
    assert len(set(peers.values())) == len(INGRESS)
    assert policies["tokenmint-egress"]["policyTypes"] == ["Egress"]
    selector = workload(name)["spec"]["selector"]
    assert {json.dumps(policy["podSelector"]) for policy in policies.values()} == {json.dumps(selector)}


@each_example
def test_the_console_is_off_unless_the_values_serve_it(name: str, tmp_path: Path) -> None:
    listen = tomllib.loads(mounted(name, tmp_path).config.read_text())["listen"]
    served = {"console": "0.0.0.0:7445", "console_hosts": ["console.example.com", "tokenmint-console.tokenmint.svc"]}
    assert {key: value for key, value in listen.items() if "console" in key} == (served if name in WITH_CONSOLE else {})


@each_example
def test_a_volume_outlives_the_container_and_everything_that_is_mounted_exists(name: str) -> None:
    spec = workload(name)["spec"]
    claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    volumes = {volume["name"] for volume in pod_of(name)["volumes"]} | claims
    (container,) = pod_of(name)["containers"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(mounts) == volumes
    assert mounts["data"]["mountPath"] == "/var/lib/tokenmint"
    assert (workload(name)["kind"] == "StatefulSet") == bool(claims)
    of_claim = [volume for volume in pod_of(name)["volumes"] if "persistentVolumeClaim" in volume]
    assert bool(of_claim) == (name in ("cluster", "softhsm"))


def test_replicas_are_scaled_by_calls_in_hand_of_all_workers() -> None:
    (autoscaler,) = of_kind("sentinel", "HorizontalPodAutoscaler")
    assert autoscaler["spec"]["scaleTargetRef"]["kind"] == workload("sentinel")["kind"] == "StatefulSet"
    assert "replicas" not in workload("sentinel")["spec"]
    (of_pods,) = [metric["pods"] for metric in autoscaler["spec"]["metrics"] if metric["type"] == "Pods"]
    assert of_pods["metric"] == {"name": "tokenmint_calls_in_flight"}
    assert of_pods["target"] == {"type": "AverageValue", "averageValue": "192"}  # half of 192 in each of two workers


@each_example
def test_a_changed_configuration_replaces_the_pods(name: str) -> None:
    annotations = workload(name)["spec"]["template"]["metadata"].get("annotations", {})
    if name == BASE:  # kustomize gives the ConfigMap another name
        assert "checksum/config" not in annotations
        return
    assert re.fullmatch("[0-9a-f]{64}", annotations["checksum/config"])


def test_different_configurations_have_different_checksums() -> None:
    names = [name for name in NAMES if name != BASE]
    sums = [workload(name)["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for name in names]
    assert len(set(sums)) == len({configuration(name) for name in names}) > 1


def keys(value: Any, path: str = "") -> set[str]:
    if not isinstance(value, dict) or not value:
        return {path}
    return {path} | {key for name, one in value.items() for key in keys(one, f"{path}.{name}")}


def properties(schema: Any, definitions: Any, path: str = "") -> set[str]:
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    known = {name: one for name, one in schema.get("properties", {}).items() if one is not False}
    return {path} | {key for name, one in known.items() for key in properties(one, definitions, f"{path}.{name}")}


def test_every_value_is_in_the_schema_and_every_one_of_the_schema_has_a_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    described = properties(schema, schema["$defs"])
    below = (".resources", ".topologySpread", ".networkPolicy.data", ".monitoring.dashboards.labels")
    given = {key for key in keys(values) if not key.startswith(tuple(f"{prefix}." for prefix in below))}
    assert given - described == set()
    assert (
        described - given - {".global", ".config.listen", ".config.redis", ".config.keys", ".config.tracing"} == set()
    )
