"""A live tokenmint for the clients' scenarios: two processes on one store, TLS, providers, and a key set in view."""

import http.client
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from tests.clients import minter
from tests.clients.key_set_proxy import KeySetProxy
from tests.clients.status_lists import LISTED
from tests.issuer import Issuer, ec_key, jwk, rsa_key, serving
from tests.process import CLIENT, OPERATOR, Service, write_kek
from tests.tls import authority

from tokenmint.base.errors import ConfigurationError
from tokenmint.model.drafts import STATUS_LIST, TRANSACTION_TOKENS
from tokenmint.model.secret import Secret
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as tokens_pb
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

LIMIT = 30.0  # seconds to wait for anything
SLOW = Secret("tms_test-slow")
CONFIG = """
issuer = "{issuer}"
data_dir = "{data}"

[redis]
url = "{store}"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"
cert_file = "tls.crt"
key_file = "tls.key"
{mutual}

[oauth]
drafts = {drafts}

[keys]
encryption_key_file = "kek"
algorithms = ["ES256", "RS256"]

[providers.idp]
issuer = "{idp}"
audiences = ["app"]
allow_private = true

[providers.young]
issuer = "{young}"
audiences = ["app"]
allow_private = true
max_age = "60s"
[[providers.young.checks]]
claim = ["email_verified"]
kind = "true"

[providers.away]
issuer = "{away}"
audiences = ["app"]
allow_private = true

[audiences."https://orders.example"]
clients = ["web", "slow", "mesh", "keys", "pod"]
providers = ["idp", "young", "away"]
scopes = ["read", "write"]
max_lifetime = "1h"
resources = ["https://orders.example/tools"]

[audiences."https://once.example"]
clients = ["web"]
providers = ["idp"]
single_use = true

[audiences."https://legacy.example"]
clients = ["web"]
providers = ["idp"]
algorithm = "RS256"
token_type = "JWT"

[audiences."https://open.example"]
clients = ["web", "spa"]
providers = ["idp"]
public_clients = true

[audiences."https://strict.example"]
clients = ["web"]
providers = ["idp"]
condition = "'auditor' in profile.roles"

[audiences."https://large.example"]
clients = ["web"]
providers = ["idp"]
max_token_bytes = 512
[audiences."https://large.example".claims]
email = "assertion.email"

[audiences."https://acting.example"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "without"
[audiences."https://acting.example".actors]
providers = ["idp"]
without_may_act = true

[audiences."https://others.example"]
clients = ["somebody"]
providers = ["idp"]

[audiences."trust-domain.example"]
clients = ["web"]
providers = ["idp"]
scopes = ["read", "write"]
[audiences."trust-domain.example".txn_token]
subject_scopes = "assertion.scope"
tctx = {{ action = "'BUY'", order = "request.details.order" }}
rctx = {{ provider = "provider.name", ip = "request.context.req_ip" }}

[clients.web]
secrets = ["sha256:{web}"]
serves = ["https://orders.example"]

[clients.somebody]
secrets = ["sha256:{slow}"]

[clients.slow]
secrets = ["sha256:{slow}"]
rate = {{ per_second = 0.2, burst = 1 }}

[clients.keys]
jwks = '''{jwks}'''

[clients.pod]
workloads = [{{ provider = "idp", subject = "pod-7" }}]

[clients.spa]
public = true

{mesh}

[operators.root]
secrets = ["sha256:{operator}"]
roles = ["viewer", "operator", "security"]
"""
MESH = """
[clients.mesh]
certificates = ["spiffe://td.example/mesh"]
"""
NO_MESH = """
[clients.mesh]
secrets = ["sha256:{slow}"]
"""
PROFILES = {"ada": "1842", "eve": "leaver", "fay": "fader", "dan": "disabled", "gus": "goner", "ivy": "gone"}


class World:
    """Everything that a scenario finds."""

    def __init__(self, directory: Path, stack: ExitStack, program: type[Service] = Service) -> None:
        self.directory = directory
        self._program = program
        self.proxy = KeySetProxy()
        stack.callback(self.proxy.close)
        self.issuers = {
            "idp": stack.enter_context(serving(Issuer())),
            "young": stack.enter_context(serving(Issuer(key=rsa_key(1)))),
            "away": stack.enter_context(serving(Issuer(status=503))),
            "minter": stack.enter_context(serving(minter.issuer())),
        }
        self._store = EmbeddedServer(directory / "v")
        self._store_url = self._store.start()
        stack.callback(self._store.stop)
        self._make_files()
        self.main = self._service(stack, "main")
        self.mutual = self._service(stack, "mtls", mutual=True)
        self.proxy.origin = self.main.listen["http"]
        root = grpc.ssl_channel_credentials(self.path("ca.pem").read_bytes())
        channel = stack.enter_context(grpc.secure_channel(self.main.listen["admin"], root))
        self._keys = KeyAdminServiceStub(channel)
        self._profiles = ProfileAdminServiceStub(channel)
        data = stack.enter_context(grpc.secure_channel(self.main.listen["grpc"], root))
        self._exchanges = TokenExchangeServiceStub(data)
        for principal, subject in PROFILES.items():
            profile = Profile(
                principal=principal,
                identities=[Identity(provider=name, subject=subject) for name in ("idp", "young")],
                disabled=principal == "dan",
            )
            self._profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=profile), **self.main.auth("root"))

    def path(self, name: str) -> Path:
        """A file of this world."""
        return self.directory / name

    def _make_files(self) -> None:
        ca, other = authority(), authority("Other authority")
        self.path("ca.pem").write_bytes(ca.pem)
        self.path("other.pem").write_bytes(other.pem)
        identities = {
            "tls": ca.issue("service", "localhost", "127.0.0.1", serial=100),
            "mesh": ca.issue("mesh", "spiffe://td.example/mesh", serial=101),
            "nobody": ca.issue("nobody", "spiffe://td.example/nobody", serial=102),
        }
        for name, (certificate, key) in identities.items():
            self.path(f"{name}.crt").write_bytes(certificate)
            self.path(f"{name}.key").write_bytes(key)
        write_kek(self.directory)
        self.path("client.key").write_bytes(private_pem(ec_key(5)))
        self.renew_workload_token()

    def _service(self, stack: ExitStack, name: str, *, mutual: bool = False) -> Service:
        text = CONFIG.format(
            issuer=self.proxy.url, data=f"data-{name}", store=self._store_url,
            idp=self.issuers["idp"].url, young=self.issuers["young"].url, away=self.issuers["away"].url,
            web=CLIENT.fingerprint(), slow=SLOW.fingerprint(), operator=OPERATOR.fingerprint(),
            jwks=json.dumps({"keys": [jwk(ec_key(5), kid="c")]}), drafts=json.dumps([STATUS_LIST, TRANSACTION_TOKENS]),
            mutual='client_ca_file = "ca.pem"' if mutual else "",
            mesh=MESH if mutual else NO_MESH.format(slow=SLOW.fingerprint()),
        )  # fmt: skip
        config = self.path(f"{name}.toml")
        config.write_text(text + LISTED)
        service = self._program(self.directory, "--config", str(config))
        stack.callback(service.stop)
        stack.callback(service.process.send_signal, signal.SIGCONT)
        return service

    # --- what the runner does to it -------------------------------------------------------------------------------

    def stop_store(self) -> None:
        self._store.stop()

    def start_store(self) -> None:
        if self._store.pid is None:
            wait_for(self._started, "the store")  # a busy machine may need a second attempt

    def _started(self) -> bool:
        with suppress(ConfigurationError):
            return self._store.start() == self._store_url
        return False

    def wait_until_ready(self) -> None:
        for service in (self.main, self.mutual):
            wait_for(partial(self._is_ready, service), "readiness")

    def _is_ready(self, service: Service) -> bool:
        return self._get(service, "ops", "/readyz")[0] == 200

    def suspend_service(self) -> None:
        self.main.process.send_signal(signal.SIGSTOP)

    def resume_service(self) -> None:
        self.main.process.send_signal(signal.SIGCONT)

    def break_key_set(self) -> None:
        self.proxy.broken = True
        self.issuers["minter"].status = 503

    def mend_key_set(self) -> None:
        self.proxy.broken = False
        self.issuers["minter"].status = 200
        self.issuers["minter"].headers = {"Cache-Control": "max-age=300"}

    def expire_workload_token(self) -> None:
        self._write_workload_token(-200)

    def renew_workload_token(self) -> None:
        self._write_workload_token(0)

    def _write_workload_token(self, shift: float) -> None:
        token = self.issuers["idp"].token(time.time() + shift, sub="pod-7", exp=int(time.time() + shift) + 120)
        self.path("workload.token").write_text(token)

    def mend(self) -> None:
        """Undo what a failed scenario may have left."""
        self.resume_service()
        self.start_store()
        self.mend_key_set()
        self.renew_workload_token()
        self.wait_until_ready()

    def rotate(self) -> None:
        self._keys.RotateSigningKey(
            keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True), **self.main.auth("root")
        )

    def revoke(self, key_id: str) -> None:
        self._keys.RevokeSigningKey(
            keys_pb.RevokeSigningKeyRequest(key_id=key_id, reason="a scenario"), **self.main.auth("root")
        )

    def revoke_tokens(self, principal: str) -> None:
        self._profiles.RevokePrincipalTokens(
            profiles_pb.RevokePrincipalTokensRequest(principal=principal), **self.main.auth("root")
        )

    def revoke_token(self, token: str) -> None:
        self._exchanges.RevokeToken(tokens_pb.RevokeTokenRequest(token=token), **self.main.auth())

    # --- what it saw ----------------------------------------------------------------------------------------------

    def calls(self, method: str = "ExchangeToken") -> dict[str, int]:
        """How many calls of a method there were, by reason; "" for those that succeeded."""
        found: dict[str, int] = {}
        for service in (self.main, self.mutual):
            text = self._get(service, "ops", "/metrics")[1].decode()
            for labels, value in re.findall(r"^tokenmint_calls_total\{(.*)\} (\S+)$", text, re.MULTILINE):
                pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
                if pairs["method"].endswith("/" + method):
                    found[pairs["reason"]] = found.get(pairs["reason"], 0) + int(float(value))
        return found

    def _get(self, service: Service, listener: str, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(service.listen[listener], timeout=LIMIT)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body


def wait_for(holds: Callable[[], Any], what: str) -> None:
    """Look until something holds."""
    deadline = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < deadline, f"waited {LIMIT:.0f} s for {what}"
        time.sleep(0.02)


def private_pem(key: Any) -> bytes:
    """A private key as PKCS#8."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


@contextmanager
def world(directory: Path, program: type[Service] = Service) -> Iterator[World]:
    """Start everything, with the service that ``program`` starts, and stop it."""
    with ExitStack() as stack:
        yield World(directory, stack, program)
