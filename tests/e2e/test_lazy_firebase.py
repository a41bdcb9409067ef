"""Firebase's SDK costs a third of a second and 30 MB: a process has it from its first use on, and not before."""

import json
import time
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.issuer import Issuer, rsa_key
from tests.process import Service, configure

from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.processes

EXTRA = """
[providers.firebase]
use = "firebase"
project = "demo-app"
jwks = '''{jwks}'''

[audiences.internal]
clients = ["web"]
providers = ["firebase"]
on_missing_profile = "create"

[audiences.demo-app]
clients = ["web"]
providers = ["firebase"]
on_missing_profile = "create"
[audiences.demo-app.firebase]
project = "demo-app"
uid = "assertion.sub"
service_account_file = "account.json"
"""

SDK = ("firebase_admin", "google.cloud", "google.api_core", "google.auth", "cachecontrol")
"""Firebase's SDK, and the packages that come with it."""


def imported(service: Service) -> set[str]:
    """Return the modules that a service with PYTHONPROFILEIMPORTTIME has imported so far."""
    lines = service.errors.read_text().splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def test_a_service_without_firebase_never_imports_its_sdk(tmp_path: Path, issuer: Issuer) -> None:
    """The SDK is in the default installation. An exchange and an operator's change do not load it."""
    configure(tmp_path, issuer=issuer.url)
    with Service(tmp_path, PYTHONPROFILEIMPORTTIME="1") as service:
        with grpc.insecure_channel(service.listen["grpc"]) as channel:
            request = pb.ExchangeTokenRequest(
                subject_token=issuer.token(time.time()), audience="https://orders.example"
            )
            assert TokenExchangeServiceStub(channel).ExchangeToken(request, **service.auth()).token
        with grpc.insecure_channel(service.listen["admin"]) as channel:
            rotation = keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True)
            KeyAdminServiceStub(channel).RotateSigningKey(rotation, **service.auth("root"))
            KeyAdminServiceStub(channel).ListSigningKeys(keys_pb.ListSigningKeysRequest(), **service.auth("root"))
        service.stop()
        assert "tokenmint.process.app" in imported(service)
        assert sorted(name for name in imported(service) if name.startswith(SDK)) == []


def test_a_running_service_has_not_imported_firebases_sdk_until_it_mints_with_it(tmp_path: Path) -> None:
    google = Issuer(url="https://securetoken.google.com/demo-app")
    pem = rsa_key(7).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "project_id": "demo-app", "client_email": "a@demo-app.example",
               "private_key": pem, "token_uri": "https://oauth2.example/token"}  # fmt: skip
    (tmp_path / "account.json").write_text(json.dumps(account))
    configure(tmp_path, extra=EXTRA.format(jwks=google.jwks().decode()))

    # The interpreter writes the name of each module that it imports.
    with Service(tmp_path, PYTHONPROFILEIMPORTTIME="1") as service, grpc.insecure_channel(
        service.listen["grpc"]
    ) as channel:  # fmt: skip

        def mint(audience: str) -> Any:
            token = google.token(time.time(), aud="demo-app", auth_time=int(time.time()) - 1)
            request = pb.ExchangeTokenRequest(subject_token=token, audience=audience)
            return TokenExchangeServiceStub(channel).ExchangeToken(request, **service.auth())

        assert mint("internal").subject.startswith("p_")
        assert "tokenmint.firebase.clients" in imported(service)
        assert not [name for name in imported(service) if name.startswith("firebase_admin")]
        custom = jwt.decode(mint("demo-app").token, options={"verify_signature": False})
        assert custom["uid"] == "1842"
        assert "firebase_admin.auth" in imported(service)
