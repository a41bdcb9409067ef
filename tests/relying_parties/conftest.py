"""The verifiers in Go, built once, and a service with TLS on its HTTP listener."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.issuer import Issuer, serving
from tests.pages import ROOT
from tests.process import CLIENT, Service
from tests.tls import authority

from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2 import RevokeSigningKeyRequest
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

TOOLS = Path(__file__).parent / "tools"
ISSUER, DOMAIN = "https://tokens.example.com", "prod.example.com"
CLUSTER = "https://kubernetes.example.com:6443"
CONFIG = """
issuer = "{own}"
data_dir = "data"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"
http_cert_file = "tls.crt"
http_key_file = "tls.key"

[keys]
algorithms = ["ES256", "RS256", "EdDSA"]
max_age = "20s"

[spiffe]
trust_domain = "{domain}"

[providers.idp]
issuer = "{issuer}"
audiences = ["app"]
allow_private = true

[audiences.reports]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "without"
[audiences.reports.spiffe]
path = "/users/{{assertion.sub}}"

[audiences.legacy-reports]
clients = ["web"]
providers = ["idp"]
algorithm = "RS256"
on_missing_profile = "without"
[audiences.legacy-reports.spiffe]

[audiences.plain]
clients = ["web"]
providers = ["idp"]
token_type = "JWT"
on_missing_profile = "without"

[audiences.access]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "without"

[audiences."{cluster}"]
clients = ["web"]
providers = ["idp"]
algorithm = "RS256"
relying_party = "kubernetes"
on_missing_profile = "without"
[audiences."{cluster}".claims]
groups = "assertion.groups"

[audiences.edwards]
clients = ["web"]
providers = ["idp"]
algorithm = "EdDSA"
on_missing_profile = "without"

[operators.admin]
secrets = ["sha256:{client}"]
roles = ["viewer", "operator", "security"]

[clients.web]
secrets = ["sha256:{client}"]
"""


@dataclass
class Served:
    """The service, and the program with the verifiers."""

    service: Service
    directory: Path
    issuer: Issuer
    program: Path

    @property
    def http(self) -> str:
        """The address of the HTTP listener."""
        return self.service.listen["http"]

    def token(self, audience: str, **claims: Any) -> str:
        """Return a token for an audience."""
        request = pb.ExchangeTokenRequest(subject_token=self.issuer.token(time.time(), **claims), audience=audience)
        with grpc.insecure_channel(self.service.listen["grpc"]) as channel:
            metadata = (("tokenmint-client-id", "web"), ("tokenmint-client-secret", CLIENT.reveal()))
            answer = TokenExchangeServiceStub(channel).ExchangeToken(request, metadata=metadata, timeout=20)
        token: str = answer.token
        return token

    def revoke(self, key_id: str) -> None:
        """Revoke a signing key."""
        with grpc.insecure_channel(self.service.listen["admin"]) as channel:
            metadata = (("tokenmint-client-id", "admin"), ("tokenmint-client-secret", CLIENT.reveal()))
            request = RevokeSigningKeyRequest(key_id=key_id, reason="test")
            KeyAdminServiceStub(channel).RevokeSigningKey(request, metadata=metadata, timeout=20)

    def judged(self, command: str, token: str, *arguments: str) -> tuple[dict[str, Any], str]:
        """Return the answer of a verifier, or its refusal."""
        with self.verifier(command, *arguments) as verify:
            return verify(token)

    @contextmanager
    def verifier(self, command: str, *arguments: str) -> Iterator[Callable[[str], tuple[dict[str, Any], str]]]:
        """Run a verifier, and yield what asks it for an answer or a refusal."""
        run = [str(self.program), command, str(self.directory / "ca.pem"), self.http, *arguments]
        pipe = subprocess.PIPE
        with subprocess.Popen(run, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=self.directory) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            stdin, stdout, stderr = process.stdin, process.stdout, process.stderr

            def verify(token: str) -> tuple[dict[str, Any], str]:
                with suppress(BrokenPipeError):
                    stdin.write(token + "\n")
                    stdin.flush()
                line = stdout.readline()
                answer = json.loads(line) if line else {"refused": stderr.read()}
                return answer, answer.pop("refused", "")

            yield verify


@pytest.fixture(scope="session")
def program() -> Path:
    """The program with the verifiers, built from pinned modules."""
    if shutil.which("go") is None:
        missing = "no go on PATH: go-spiffe and kube-apiserver's authenticator were not tried"
        if os.environ.get("TOKENMINT_REQUIRE_LANES"):
            pytest.fail(missing)
        pytest.skip(missing)
    built = ROOT / "build" / "relying_parties" / "verifiers"
    built.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", built, "."], cwd=TOOLS, check=True, timeout=900)
    return built


@pytest.fixture(scope="session")
def served(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("relying-parties")
    ca = authority()
    certificate, key = ca.issue("service", "localhost", "127.0.0.1")
    (directory / "ca.pem").write_bytes(ca.pem)
    (directory / "tls.crt").write_bytes(certificate)
    (directory / "tls.key").write_bytes(key)
    with serving(Issuer()) as issuer:
        text = CONFIG.format(own=ISSUER, domain=DOMAIN, issuer=issuer.url, client=CLIENT.fingerprint(), cluster=CLUSTER)
        (directory / "tokenmint.toml").write_text(text)
        with Service(directory) as service:
            yield Served(service, directory, issuer, program)
