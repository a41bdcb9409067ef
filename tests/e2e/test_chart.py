"""The service with the chart's configuration: it starts on the rendered ConfigMap, and `helm test` exchanges a token.

The files of the pod lie in a folder, ports are free ones, an issuer on loopback stands for the cluster's, and a Valkey
with a password for the store.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import redis
from tests.deploy.chart import of_kind, workload
from tests.deploy.monitoring import alerts, read_metrics
from tests.deploy.pod import MountedPod
from tests.forked import ForkedService, run_forked
from tests.guides import NOBODYS
from tests.issuer import Issuer
from tests.pages import PORTS
from tests.process import CLIENT, Service

from tokenmint.storage.embedded import EmbeddedServer

pytestmark = pytest.mark.processes

PASSWORD = "store-password"
LATER = {
    "tokenmint_certificate_expiry_seconds", "tokenmint_http_limits_total", "tokenmint_calls_not_begun_total",
    "tokenmint_signals_total", "tokenmint_status_lists", "tokenmint_status_list_names",
    "tokenmint_status_lists_age_seconds", "tokenmint_region_keys_age_seconds",
    "tokenmint_region_revocations_age_seconds", "tokenmint_region_profiles_age_seconds",
    "tokenmint_region_profiles_refused_total",
}  # fmt: skip
"""Metrics without a sample in a service without TLS, signals, status lists and other regions, whose limits nobody met:
their description is enough."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """The URL of a store that asks for the password."""
    server = EmbeddedServer(tmp_path / "store")
    try:
        url = server.start()
        with redis.Redis.from_url(url) as client:
            client.config_set("requirepass", PASSWORD)
        yield url
    finally:
        server.stop()


@pytest.fixture
def pod(tmp_path: Path, store: str, issuer: Issuer) -> MountedPod:
    """The files of the pod of the smallest example."""
    spec = workload("minimal")["spec"]["template"]["spec"]
    secrets = {"tokenmint-store/password": PASSWORD, "tokenmint-key-encryption/key": "A" * 43 + "="}
    made = MountedPod("minimal", spec, tmp_path / "pod", secrets)
    text = made.config.read_text()
    at_issuer = f'issuer = "{issuer.url}"\njwks_url = "{issuer.url}/jwks.json"\nallow_private = true'
    for before, after in (
        ("redis://valkey.store.svc:6379/0", store),
        ('use = "kubernetes"', f'use = "kubernetes"\n{at_issuer}'),
        (NOBODYS, CLIENT.fingerprint()),
    ):
        assert before in text
        text = text.replace(before, after)
    made.config.write_text(text)
    return made


def account_token(issuer: Issuer, audience: str, now: float) -> str:
    """Return a token as a pod's service account gets it."""
    account = {"name": "default", "uid": "0b5d2f5e-6a0e-4a3c-8c0a-7d1f6c5b9e11"}
    return issuer.token(
        now, aud=[audience], sub="system:serviceaccount:tokenmint:default",
        **{"kubernetes.io": {"namespace": "tokenmint", "serviceaccount": account}},
    )  # fmt: skip


def test_the_rendered_configuration_serves_and_helms_test_exchanges_a_token(
    pod: MountedPod, issuer: Issuer, tmp_path: Path
) -> None:
    assert run_forked("config", "check", "--config", str(pod.config), directory=tmp_path).returncode == 0
    assert pod.arguments[0] == "serve"
    with ForkedService(tmp_path, *pod.arguments[1:], **PORTS) as service:
        assert (pod.place("/var/lib/tokenmint") / "high-water-mark.json").exists()
        (test,) = of_kind("minimal", "Pod")
        (volume,) = [one["projected"] for one in test["spec"]["volumes"] if one["name"] == "subject"]
        audience = volume["sources"][0]["serviceAccountToken"]["audience"]
        secrets = {"tokenmint-test-client/secret": CLIENT.reveal()}
        tester = MountedPod("minimal", test["spec"], tmp_path / "tester", secrets)
        tester.place("/run/secrets/subject/token").write_text(account_token(issuer, audience, time.time()))
        (container,) = test["spec"]["containers"]
        environ = {one["name"]: tester.placed(one["value"]) for one in container["env"] if "value" in one}
        assert environ["TOKENMINT_TARGET"] == "tokenmint-grpc.tokenmint.svc:7443"
        environ |= {"TOKENMINT_TARGET": service.listen["grpc"], "TOKENMINT_CLIENT_ID": "web"}
        done = run_forked(*tester.arguments, directory=tmp_path, **environ)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["token_type"] == "Bearer"

        # A refusal, so that there is one to count.
        tester.place("/run/secrets/subject/token").write_text(account_token(issuer, "elsewhere", time.time()))
        assert run_forked(*tester.arguments, directory=tmp_path, **environ).returncode == 4
        the_metrics_are_there(service)


def the_metrics_are_there(service: Service) -> None:
    """Check that the service shows each metric that alerts and dashboards read."""
    read = read_metrics()
    assert len(read) > 25
    ends = time.monotonic() + 60
    while True:  # the state is read once a second
        text = httpx2.get(f"http://{service.listen['ops']}/metrics").text
        samples = {line.partition(" ")[0].partition("{")[0] for line in text.splitlines() if line[:1] != "#"}
        missing = read - samples - LATER
        if not missing or time.monotonic() > ends:
            break
    assert missing == set()
    for metric in LATER & read:
        assert f"# TYPE {metric} " in text
    by_reason = [rule["expr"] for rule in alerts() if "reason=" in rule["expr"]]
    assert by_reason
    assert 'reason="WRONG_AUDIENCE"' in text
