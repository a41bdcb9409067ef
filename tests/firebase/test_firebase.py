"""The founding story with Firebase's Auth emulator: sign in, one batch, sign in again with it, exchange again."""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
import jwt
import pytest
from google.rpc import status_pb2
from tests.process import CLIENT, OPERATOR, START_LIMIT, Service, configure, environment, run

from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

HERE = Path(__file__).parent
TOOLS = HERE / "node_modules" / "firebase-tools" / "lib" / "bin" / "firebase.js"
PROJECT = "demo-tokenmint"
STARTS = 3
VARIABLE = "FIREBASE_AUTH_EMULATOR_HOST"
INTERNAL = "https://orders.example"
CONFIG = """
data_dir = "data"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"

[providers.firebase]
use = "firebase"
project = "demo-tokenmint"
check_revoked = true

[audiences."https://orders.example"]
clients = ["web"]
providers = ["firebase"]
[audiences."https://orders.example".claims]
tenant = "profile.claims.tenant"

[audiences.firebase]
clients = ["web"]
providers = ["firebase"]
[audiences.firebase.firebase]
project = "demo-tokenmint"
uid = "assertion.sub"
[audiences.firebase.claims]
tenant = "profile.claims.tenant"
roles = "profile.roles"

[clients.web]
secrets = ["sha256:{client}"]

[operators.root]
secrets = ["sha256:{operator}"]
roles = ["viewer", "operator", "security"]
"""


class Emulator:
    """The Auth emulator, spoken to as its clients do: the REST API."""

    def __init__(self, host: str) -> None:
        self.host = host

    def post(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        url = f"http://{self.host}/identitytoolkit.googleapis.com/v1/{path}"
        answer = httpx2.post(url, json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def sign_up(self, email: str) -> tuple[str, str]:
        body = {"email": email, "password": "correct horse", "returnSecureToken": True}
        told = self.post("accounts:signUp?key=demo", body)
        return told["localId"], told["idToken"]

    def sign_in_with(self, custom_token: str) -> str:
        body = {"token": custom_token, "returnSecureToken": True}
        told = self.post("accounts:signInWithCustomToken?key=demo", body)
        return str(told["idToken"])

    def update(self, uid: str, **changes: Any) -> None:
        self.post(f"projects/{PROJECT}/accounts:update", {"localId": uid, **changes}, Authorization="Bearer owner")


def started(directory: Path) -> tuple["subprocess.Popen[bytes]", int]:
    """Start the emulator. Returns it with its port. Another program may take one of its ports first: then once more."""
    for _ in range(STARTS):
        running, auth = begun(directory)
        pause, deadline = threading.Event(), time.monotonic() + START_LIMIT
        while running.poll() is None:
            with contextlib.suppress(httpx2.TransportError):
                httpx2.get(f"http://127.0.0.1:{auth}/", timeout=5)
                return running, auth
            if time.monotonic() > deadline:
                running.kill()
            pause.wait(0.1)
    raise AssertionError((directory / "emulator.log").read_text()[-3000:])


def begun(directory: Path) -> tuple["subprocess.Popen[bytes]", int]:
    holders = [socket.socket() for _ in range(3)]
    for holder in holders:
        holder.bind(("127.0.0.1", 0))
    auth, hub, logging = (holder.getsockname()[1] for holder in holders)
    for holder in holders:
        holder.close()
    place = {"host": "127.0.0.1"}
    emulators = {
        "auth": {**place, "port": auth}, "hub": {**place, "port": hub}, "logging": {**place, "port": logging},
        "ui": {"enabled": False},
    }  # fmt: skip
    (directory / "firebase.json").write_text(json.dumps({"emulators": emulators}))
    quiet = {"HOME": str(directory), "CI": "1", "NO_UPDATE_NOTIFIER": "1", "XDG_CONFIG_HOME": str(directory)}
    with (directory / "emulator.log").open("ab") as log:
        running = subprocess.Popen(
            ["node", str(TOOLS), "emulators:start", "--only", "auth", "--project", PROJECT], cwd=directory,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(**quiet),
        )  # fmt: skip
    return running, auth


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    missing = ""
    if shutil.which("node") is None:
        missing = "node is not installed"
    elif not TOOLS.exists():
        missing = "tests/firebase/node_modules is not there: `make test-firebase` installs it"
    if missing and os.environ.get("TOKENMINT_REQUIRE_LANES"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    directory = tmp_path_factory.mktemp("emulator")
    running, auth = started(directory)
    try:
        yield Emulator(f"127.0.0.1:{auth}")
    finally:
        running.send_signal(signal.SIGINT)
        try:
            running.wait(timeout=30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(timeout=5)


def write(directory: Path) -> None:
    text = CONFIG.format(client=CLIENT.fingerprint(), operator=OPERATOR.fingerprint())
    (directory / "tokenmint.toml").write_text(text)


@pytest.fixture(scope="module")
def service(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    write(directory)
    with Service(directory, "--dev", **{VARIABLE: emulator.host}) as running:
        yield running


def batch(service: Service, id_token: str) -> list[pb.BatchExchangeResult]:
    targets = [pb.BatchExchangeTarget(audience=name) for name in (INTERNAL, "firebase")]
    request = pb.BatchExchangeTokensRequest(subject_token=id_token, targets=targets)
    with grpc.insecure_channel(service.listen["grpc"]) as channel:
        return list(TokenExchangeServiceStub(channel).BatchExchangeTokens(request, **service.auth()).results)


def refused(service: Service, id_token: str) -> str:
    with pytest.raises(grpc.RpcError) as error:
        batch(service, id_token)
    call: Any = error.value
    trailing = dict(call.trailing_metadata())
    from google.rpc import error_details_pb2

    info = error_details_pb2.ErrorInfo()
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    assert status.details[0].Unpack(info)
    return str(info.reason)


def enrol(service: Service, uid: str, principal: str) -> None:
    profile = Profile(
        principal=principal, identities=[Identity(provider="firebase", subject=uid)], roles=["clerk", "buyer"]
    )
    profile.claims.update({"tenant": "engines"})
    with grpc.insecure_channel(service.listen["admin"]) as channel:
        ProfileAdminServiceStub(channel).CreateProfile(
            profiles_pb.CreateProfileRequest(profile=profile), **service.auth("root")
        )


def test_the_founding_story(service: Service, emulator: Emulator) -> None:
    uid, id_token = emulator.sign_up("ada@example.com")
    enrol(service, uid, "ada")
    internal, custom = batch(service, id_token)
    assert internal.HasField("token"), internal
    assert custom.HasField("token"), custom

    # Everybody verifies the internal one, by its kid.
    keys = jwt.PyJWKClient(f"http://{service.listen['http']}/.well-known/jwks.json")
    assert jwt.get_unverified_header(internal.token.token)["kid"] == internal.token.key_id
    claims = jwt.decode(
        internal.token.token, keys.get_signing_key_from_jwt(internal.token.token), algorithms=["ES256"],
        audience=INTERNAL, issuer=f"http://{service.listen['http']}",
    )  # fmt: skip
    assert (claims["sub"], claims["tenant"]) == ("ada", "engines")

    # The client signs in again with the custom one: its new ID token carries what the profile said ...
    again = emulator.sign_in_with(custom.token.token)
    carried = jwt.decode(again, options={"verify_signature": False})
    assert (carried["sub"], carried["tenant"], carried["roles"]) == (uid, "engines", ["clerk", "buyer"])
    # ... and is itself exchanged.
    internal, _ = batch(service, again)
    assert internal.token.subject == "ada"


def test_a_disabled_user_is_refused(service: Service, emulator: Emulator) -> None:
    uid, id_token = emulator.sign_up("bob@example.com")
    enrol(service, uid, "bob")
    assert batch(service, id_token)[0].HasField("token")
    emulator.update(uid, disableUser=True)
    assert refused(service, id_token) == "PRINCIPAL_DISABLED"


def test_a_user_who_was_signed_out_is_refused(service: Service, emulator: Emulator) -> None:
    uid, id_token = emulator.sign_up("eve@example.com")
    enrol(service, uid, "eve")
    assert batch(service, id_token)[0].HasField("token")
    signed_in = jwt.decode(id_token, options={"verify_signature": False})["auth_time"]
    emulator.update(uid, validSince=str(signed_in + 1))
    assert refused(service, id_token) == "REVOKED"


def unsigned(issuer: str, project: str, **header: Any) -> str:
    now = int(time.time())
    claims = {"iss": issuer, "aud": project, "sub": "mallory", "iat": now, "exp": now + 600, "auth_time": now}

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT', **header})}.{part(claims)}."


def test_nothing_else_is_accepted_unsigned(service: Service) -> None:
    real = unsigned("https://securetoken.google.com/real-project", "real-project")
    assert refused(service, real) == "UNKNOWN_ISSUER"
    demo = unsigned(f"https://securetoken.google.com/{PROJECT}", PROJECT)
    assert refused(service, demo + "AAAA") == "ALGORITHM_NOT_ALLOWED"
    assert refused(service, demo) == "PRINCIPAL_DISABLED"  # well-formed, and the emulator knows no such user


def test_without_the_variable_development_mode_accepts_nothing_unsigned(tmp_path: Path) -> None:
    write(tmp_path)
    with Service(tmp_path, "--dev") as service:
        demo = unsigned(f"https://securetoken.google.com/{PROJECT}", PROJECT)
        assert refused(service, demo) == "ALGORITHM_NOT_ALLOWED"


def test_production_refuses_to_start_with_the_variable(tmp_path: Path) -> None:
    configure(tmp_path)
    outcome = run("serve", directory=tmp_path, **{VARIABLE: "127.0.0.1:9099"})
    assert outcome.returncode != 0
    assert f"{VARIABLE}: makes Firebase's SDK accept unsigned tokens" in outcome.stdout + outcome.stderr
    write(tmp_path)
    outcome = run("serve", "--dev", directory=tmp_path, **{VARIABLE: "203.0.113.1:9099"})
    assert outcome.returncode != 0
    assert "on loopback" in outcome.stdout + outcome.stderr
