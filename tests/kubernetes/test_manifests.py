"""Every manifest before a real kube-apiserver: accepted as it is, twice the same, upgraded, and its pods admitted."""

import copy
import re
from collections.abc import Iterator, Mapping
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.chart import BASE, CHART, EXAMPLES, KUSTOMIZE, NAMES, golden, of_kind, workload
from tests.kubernetes.cluster import LEVEL, Cluster, RefusedError, manifests
from tests.kubernetes.conftest import first_of, rendered
from tests.pages import ROOT

CHARTS = tuple(name for name in NAMES if name != BASE)
"""The examples that Helm renders; the last one is kustomize's."""
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "a StatefulSet with claims": ("--set", "highWaterMark.volume=perReplica,highWaterMark.storageClassName=fast"),
    "one shared claim": ("--set", "highWaterMark.volume=shared"),
    "a claim that exists": ("--set", "highWaterMark.volume=shared,highWaterMark.existingClaim=mark"),
    "replicas by load": ("--set", "autoscaling.enabled=true"),
    "replicas by CPU alone": ("--set", "autoscaling.enabled=true,autoscaling.inFlightPercent=0"),
    "the console": ("--set", "ports.console=7445"),
    "an address of the load balancer": ("--set", "services.grpc.type=LoadBalancer"),
    "no network policy": ("--set", "networkPolicy.enabled=false"),
    "no disruption budget": ("--set", "podDisruptionBudget.enabled=false"),
    "an account of its own": ("--set", "serviceAccount.name=minter,serviceAccount.annotations.owner=platform"),
    "certificates": ("--set", "tls.grpcSecret=grpc,tls.httpSecret=http,tls.clientCASecret.name=clients"),
    "two workers": ("--set", "workers=2,replicas=5"),
    "monitoring": (
        "--set", "monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true",
        "--set", "monitoring.dashboards.enabled=true",
    ),
    "what clusters add": (
        "--set", "nodeSelector.disk=ssd,priorityClassName=,podLabels.team=identity,podAnnotations.owner=platform",
        "--set-json", 'tolerations=[{"key":"own","operator":"Exists","effect":"NoSchedule"}]',
        "--set-json", 'imagePullSecrets=[{"name":"registry"}]',
        "--set-json", 'env=[{"name":"HTTPS_PROXY","value":"http://proxy:3128"}]',
    ),
}  # fmt: skip
"""Options of Helm beside the values of `minimal`."""
_numbers = count()

each_example = pytest.mark.parametrize("name", CHARTS)
each_variant = pytest.mark.parametrize("variant", VARIANTS)
each_folder = pytest.mark.parametrize("folder", ["base", "overlays/example"])


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    name = f"tokenmint-{next(_numbers)}"
    cluster.make_namespace(name)
    return name


def variant_of(options: tuple[str, ...], namespace: str) -> str:
    values = ("--values", EXAMPLES / "minimal.yaml", "--kube-version", "1.37.0", "--namespace", namespace)
    return rendered("helm", "template", "tokenmint", CHART, *values, *options)


def differences(sent: Any, kept: Any, place: str = "") -> Iterator[str]:
    """Yield the places at which the server keeps another value than the one that was sent. It may add members."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        for name, value in sent.items():
            if name not in kept:
                yield f"{place}.{name}: is gone"
            else:
                yield from differences(value, kept[name], f"{place}.{name}")
    elif isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        for number, (one, other) in enumerate(zip(sent, kept, strict=True)):
            yield from differences(one, other, f"{place}[{number}]")
    elif sent != kept:
        yield f"{place}: {sent!r} became {kept!r}"


def assert_accepted(cluster: Cluster, namespace: str, text: str) -> None:
    """Assert that each manifest is accepted and kept as it is, and that nothing changes if it is applied again."""
    kept = {}
    for manifest in manifests(text):
        kept[manifest] = cluster.apply(manifest, namespace)
        assert list(differences(yaml.safe_load(manifest), kept[manifest])) == [], first_of(manifest)
    assert len(kept) > 5
    for manifest, before in kept.items():
        after = cluster.apply(manifest, namespace)
        for one in (before, after):
            del one["metadata"]["resourceVersion"]  # some kinds get a new one without a change
        assert after == before, first_of(manifest)


def pod(work: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pod of a template, as the controller of its workload makes it."""
    template = copy.deepcopy(work["spec"]["template"])
    made = {"apiVersion": "v1", "kind": "Pod", **template}
    made["metadata"]["name"] = "tokenmint-admitted"
    for claim in work["spec"].get("volumeClaimTemplates", ()):
        name = claim["metadata"]["name"]
        made["spec"]["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": f"{name}-tokenmint-0"}})
    return made


def assert_admitted(cluster: Cluster, namespace: str, text: str) -> None:
    """Assert that the namespace admits a pod of the workload."""
    (work,) = [item for item in yaml.safe_load_all(text) if item and item["kind"] in ("Deployment", "StatefulSet")]
    made = cluster.create(pod(work), namespace)
    assert made["spec"]["securityContext"]["runAsNonRoot"] is True
    cluster.delete(made, namespace)


@each_example
def test_an_example_is_accepted_as_it_is_and_its_pods_are_admitted(cluster: Cluster, namespace: str, name: str) -> None:
    text = golden(name).read_text()
    assert_accepted(cluster, namespace, text)
    assert_admitted(cluster, namespace, text)


@each_variant
def test_a_variant_is_accepted_as_it_is_and_its_pods_are_admitted(
    cluster: Cluster, namespace: str, variant: str
) -> None:
    text = variant_of(VARIANTS[variant], namespace)
    assert_accepted(cluster, namespace, text)
    assert_admitted(cluster, namespace, text)


@each_folder
def test_kustomize_is_accepted_as_it_is_and_its_pods_are_admitted(
    cluster: Cluster, namespace: str, folder: str
) -> None:
    text = rendered("kustomize", "build", KUSTOMIZE / folder).replace(
        "namespace: tokenmint\n", f"namespace: {namespace}\n"
    )
    assert_accepted(cluster, namespace, text)
    assert_admitted(cluster, namespace, text)


def upgrade(cluster: Cluster, namespace: str, before: str, after: str) -> None:
    """Apply a release's manifests as Helm does: hooks are left out, and objects that are gone are deleted.

    A Service that becomes headless, or no longer is, is deleted first, as the guide says.
    """
    old, new = (
        {first_of(one): one for one in manifests(text) if "helm.sh/hook" not in one} for text in (before, after)
    )
    for name, manifest in old.items():
        if name not in new or ("clusterIP: None" in manifest) != ("clusterIP: None" in new[name]):
            cluster.delete(yaml.safe_load(manifest), namespace)
    for name, manifest in new.items():
        applied = cluster.apply(manifest, namespace)
        assert list(differences(yaml.safe_load(manifest), applied)) == [], name


def test_each_example_upgrades_to_the_next_and_back(cluster: Cluster, namespace: str) -> None:
    way = [golden(name).read_text() for name in CHARTS]
    for before, after in pairwise(["", *way, *reversed(way[:-1])]):
        upgrade(cluster, namespace, before, after)


@each_variant
def test_a_running_release_takes_a_variant_and_goes_back(cluster: Cluster, namespace: str, variant: str) -> None:
    usual, other = variant_of((), namespace), variant_of(VARIANTS[variant], namespace)
    for before, after in pairwise(["", usual, other, usual]):
        upgrade(cluster, namespace, before, after)


@pytest.mark.parametrize(
    ("first", "then", "changed"),
    [
        ("services.grpc.headless=false", "services.grpc.headless=true", "Service tokenmint-grpc"),
        (
            "highWaterMark.volume=perReplica",
            "highWaterMark.volume=perReplica,highWaterMark.size=32Mi",
            "StatefulSet tokenmint",
        ),
    ],
)
def test_a_value_that_cannot_change_is_refused_as_the_guide_says(
    cluster: Cluster, namespace: str, first: str, then: str, changed: str
) -> None:
    usual, other = (variant_of(("--set", options), namespace) for options in (first, then))
    upgrade(cluster, namespace, "", usual)
    (manifest,) = [one for one in manifests(other) if first_of(one) == changed]
    with pytest.raises(RefusedError) as error:
        cluster.apply(manifest, namespace)
    guide = (ROOT / "docs" / "guides" / "kubernetes.md").read_text().partition("## What goes wrong")[2]
    messages = re.findall(r"^\| From the API server: `(.+?)` \|", guide, re.MULTILINE)
    assert len([text for text in messages if text in str(error.value)]) == 1, error.value
    cluster.delete(yaml.safe_load(manifest), namespace)
    cluster.apply(manifest, namespace)


@pytest.mark.parametrize(
    ("place", "name", "value", "told"),
    [
        ((), "hostNetwork", True, "hostNetwork"),
        (("securityContext",), "runAsNonRoot", False, "runAsNonRoot"),
        (("securityContext",), "seccompProfile", None, "seccompProfile"),
        (("containers", 0, "securityContext"), "allowPrivilegeEscalation", True, "allowPrivilegeEscalation"),
        (("containers", 0, "securityContext"), "capabilities", None, "unrestricted capabilities"),
    ],
)
def test_the_namespace_refuses_a_pod_with_a_privilege(
    cluster: Cluster, namespace: str, place: tuple[Any, ...], name: str, value: Any, told: str
) -> None:
    """So the tests above prove something: the level is enforced."""
    made = pod(workload("minimal"))
    for account in of_kind("minimal", "ServiceAccount"):
        cluster.apply(yaml.safe_dump(account), namespace)
    part = made["spec"]
    for step in place:
        part = part[step]
    part[name] = value
    with pytest.raises(RefusedError, match=f'violates PodSecurity "{LEVEL}:latest".*{told}'):
        cluster.create(made, namespace)


@pytest.mark.parametrize(
    ("name", "before", "after", "told"),
    [
        ("minimal", "enableServiceLinks:", "enableServiceLink:", "field not declared in schema"),
        ("minimal", "sleep: {seconds: 5}", "sleep: {seconds: 0.5}", "cannot convert float64 to int64"),
        ("minimal", "replicas: 3", "replicas: 3\n  replicas: 4", "already defined|already set"),
        ("sentinel", "{port: ops, path: /metrics", "{port: ops, paths: /metrics", "field not declared in schema"),
    ],
)
def test_a_mistake_in_a_manifest_is_refused(
    cluster: Cluster, namespace: str, name: str, before: str, after: str, told: str
) -> None:
    text = golden(name).read_text()
    wrong = next(one.replace(before, after) for one in manifests(text) if before in one)
    with pytest.raises(RefusedError, match=told):
        cluster.apply(wrong, namespace)


def test_the_golden_files_are_all_tried() -> None:
    assert {golden(name).stem for name in CHARTS} == {file.stem for file in (Path(golden("minimal")).parent).glob("*")}
