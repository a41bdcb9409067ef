"""A real kube-apiserver and its etcd on loopback, and requests to it as kubectl sends them.

No controller and no kubelet run: objects are checked, admitted and kept, and no container starts.
"""

import json
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import yaml
from tests.ports import own_port
from tests.tls import authority

MANAGER: Final = "tokenmint-tests"
READY_LIMIT: Final = 180.0  # seconds, on a busy machine
LEVEL: Final = "restricted"
"""The Pod Security Standard of the namespaces."""
_TOKEN: Final = "of-the-administrator"  # of a server that lives as long as the tests
_FIRST: Final = ("ServiceAccount", "ConfigMap", "PersistentVolumeClaim")
_LAST: Final = ("Deployment", "StatefulSet", "Pod")
_STOP_LIMIT: Final = 20.0  # seconds


class RefusedError(AssertionError):
    """The server refused a request; the message is its own."""


class Cluster:
    """Requests to the API server, as an administrator.

    Args:
        http: its address, and the token.
    """

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    def request(self, method: str, path: str, content: str = "", kind: str = "application/json", **query: str) -> Any:
        """Return the answer to a request.

        Raises:
            RefusedError: it was refused, or the server warns of it.
        """
        headers = {"content-type": kind} if content else {}
        answer = self._http.request(method, path, content=content or None, headers=headers, params=query)
        if not answer.is_success:
            as_json = answer.headers.get("content-type", "").startswith("application/json")
            told = answer.json()["message"] if as_json else answer.text
            raise RefusedError(f"{method} {path}: {answer.status_code} {told}")
        if "warning" in answer.headers:
            raise RefusedError(f"{method} {path}: {answer.headers['warning']}")
        return answer.json()

    def make_namespace(self, name: str) -> None:
        """Make a namespace that enforces the level, with the service account that a controller would make in it."""
        modes = {f"pod-security.kubernetes.io/{mode}": LEVEL for mode in ("enforce", "warn", "audit")}
        self.apply(
            yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": modes}})
        )
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        self.apply(yaml.safe_dump(account), name)

    def apply(self, manifest: str, namespace: str = "") -> dict[str, Any]:
        """Apply one manifest on the server, validated strictly, and return the object.

        The text is sent as it is, so that the server also finds a key that is written twice.
        """
        item = yaml.safe_load(manifest)
        path = f"{self.path(item['apiVersion'], item['kind'], namespace)}/{item['metadata']['name']}"
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        applied: dict[str, Any] = self.request("PATCH", path, manifest, "application/apply-patch+yaml", **query)
        return applied

    def create(self, item: Mapping[str, Any], namespace: str) -> dict[str, Any]:
        """Create an object, validated strictly, and return it."""
        path = self.path(item["apiVersion"], item["kind"], namespace)
        made: dict[str, Any] = self.request("POST", path, json.dumps(item), fieldValidation="Strict")
        return made

    def delete(self, item: Mapping[str, Any], namespace: str) -> None:
        """Delete an object at once."""
        path = f"{self.path(item['apiVersion'], item['kind'], namespace)}/{item['metadata']['name']}"
        self.request("DELETE", path, gracePeriodSeconds="0")

    def define(self, definition: Mapping[str, Any]) -> None:
        """Make a kind of custom resources, and wait until the server serves it."""
        made = self.create(definition, "")
        spec = made["spec"]
        version = f"{spec['group']}/{spec['versions'][0]['name']}"
        ends = time.monotonic() + READY_LIMIT
        while True:
            try:
                self.path(version, spec["names"]["kind"], "")
                return
            except RefusedError:  # not served yet
                if time.monotonic() > ends:
                    raise
            time.sleep(0.1)

    def path(self, version: str, kind: str, namespace: str) -> str:
        """Return the path of the objects of a kind."""
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._resources:
            for one in self.request("GET", base)["resources"]:
                if "/" not in one["name"]:
                    self._resources[version, one["kind"]] = (one["name"], one["namespaced"])
        if (version, kind) not in self._resources:
            raise RefusedError(f"the server serves no {kind} of {version}")
        name, namespaced = self._resources[version, kind]
        return f"{base}/namespaces/{namespace}/{name}" if namespaced else f"{base}/{name}"


def manifests(text: str) -> list[str]:
    """Return the single manifests of a rendering, in an order in which they can be applied."""
    found = [part for part in text.split("\n---\n") if yaml.safe_load(part) is not None]

    def place(manifest: str) -> int:
        kind = yaml.safe_load(manifest)["kind"]
        return _LAST.index(kind) + 1 if kind in _LAST else -1 if kind in _FIRST else 0

    return sorted(found, key=place)


@contextmanager
def running(programs: Path, folder: Path) -> Iterator[Cluster]:
    """Run etcd and kube-apiserver of the folder `programs`, and yield requests to them."""
    etcd, peers, port = (own_port() for _ in range(3))
    ca = authority()
    certificate, key = ca.issue("kube-apiserver", "localhost", "127.0.0.1")
    files = {"ca.pem": ca.pem, "tls.crt": certificate, "tls.key": key}
    files["tokens.csv"] = f'{_TOKEN},admin,admin,"system:masters"\n'.encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    client, peer = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peers}"
    with ExitStack() as stack:
        store = [
            "--data-dir", "etcd", "--unsafe-no-fsync", "--log-level", "warn",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        ]  # fmt: skip
        stack.enter_context(_process([str(programs / "server"), *store], folder, "etcd.log"))
        server = [
            "--etcd-servers", client, "--bind-address", "127.0.0.1", "--secure-port", str(port),
            "--tls-cert-file", "tls.crt", "--tls-private-key-file", "tls.key", "--token-auth-file", "tokens.csv",
            "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", "tls.crt",
            "--service-account-signing-key-file", "tls.key", "--service-cluster-ip-range", "10.0.0.0/24",
            "--authorization-mode", "RBAC", "--anonymous-auth=false", "--profiling=false",
        ]  # fmt: skip
        process = stack.enter_context(_process([str(programs / "kube-apiserver"), *server], folder, "apiserver.log"))
        trusted = ssl.create_default_context(cafile=folder / "ca.pem")
        http = stack.enter_context(
            httpx2.Client(
                base_url=f"https://127.0.0.1:{port}", verify=trusted, timeout=60.0, trust_env=False,
                headers={"authorization": f"Bearer {_TOKEN}"},
            )
        )  # fmt: skip
        _await_ready(http, process, folder / "apiserver.log")
        yield Cluster(http)


def _await_ready(http: httpx2.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + READY_LIMIT
    while True:
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < ends, log.read_text()[-2000:]
        try:
            if http.get("/readyz").is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)


@contextmanager
def _process(command: list[str], folder: Path, log: str) -> Iterator["subprocess.Popen[bytes]"]:
    with (
        (folder / log).open("wb") as output,
        subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
