"""`tokenmint demo`: one real exchange, with servers on loopback and a temporary directory."""

import json
import secrets
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import grpc
import jwt
import typer
from google.protobuf.json_format import ParseDict
from rich.console import Console

from tokenmint.base.errors import TokenmintError
from tokenmint.cli.demo_issuer import DemoIssuer
from tokenmint.cli.demo_kept import end_on_signals, keep
from tokenmint.model.secret import Secret
from tokenmint.v1 import (
    profile_admin_service_pb2,
    profile_admin_service_pb2_grpc,
    token_exchange_service_pb2,
    token_exchange_service_pb2_grpc,
)

AUDIENCE = "https://orders.demo.example"
PRINCIPAL = "ada"
SUBJECT = "idp|1842"
DEADLINE = 10.0  # seconds for each call
DIRECT = (("grpc.enable_http_proxy", 0),)  # a proxy of the environment can't reach this machine


class DemoFailed(TokenmintError):
    """A step of the demo failed."""

    reason = "DEMO_FAILED"
    summary = "the demo did not work"


class RunningServer:
    """A `tokenmint serve` process with its own Valkey, on free loopback ports."""

    def __init__(self, config: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter and a module of this package
                [sys.executable, "-m", "tokenmint", "serve", "--config", str(config), "--output", "json"],
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                text=True,
            )

    def wait_ready(self) -> dict[str, str]:
        """Return the server's addresses once it is ready."""
        if self._process.stdout is not None:
            for line in self._process.stdout:
                event = json.loads(line)
                if event.get("event") == "ready":
                    listen: dict[str, str] = event["listen"]
                    return listen
        raise DemoFailed(f"the server did not start:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop the server as an operator would: SIGTERM, then time to drain."""
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
        if self._process.stdout is not None:
            self._process.stdout.close()


def new_secret() -> tuple[Secret, str]:
    """Return a new secret, and its hash for the configuration."""
    secret = Secret("tms_" + secrets.token_urlsafe(32))
    return secret, f"sha256:{secret.fingerprint()}"


def configuration(directory: Path, issuer_url: str, client_hash: str, operator_hash: str) -> str:
    """Return the configuration of the demo: one provider, one audience, one client, one operator."""
    return f"""\
data_dir = "{directory / "data"}"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"

[providers.demo]
issuer = "{issuer_url}"
audiences = ["demo-web-app"]
allow_private = true

[audiences."{AUDIENCE}"]
clients = ["web"]
providers = ["demo"]
scopes = ["orders.read", "orders.write"]
lifetime = "10m"

[audiences."{AUDIENCE}".claims]
email = "assertion.email"
tenant = "profile.claims.tenant"
roles = "profile.roles"

[clients.web]
secrets = ["{client_hash}"]

[operators.root]
secrets = ["{operator_hash}"]
roles = ["viewer", "operator", "security"]
"""


def credentials(identifier: str, secret: Secret) -> tuple[tuple[str, str], ...]:
    """Return the metadata that authenticates a caller."""
    return (("tokenmint-client-id", identifier), ("tokenmint-client-secret", secret.reveal()))


def create_profile(target: str, operator: Secret) -> dict[str, Any]:
    """Create the profile that enriches the token, over the admin API."""
    profile: dict[str, Any] = {
        "principal": PRINCIPAL,
        "identities": [{"provider": "demo", "subject": SUBJECT}],
        "claims": {"tenant": "analytical-engines"},
        "roles": ["clerk", "auditor"],
    }
    with grpc.insecure_channel(target, DIRECT) as channel:
        stub = profile_admin_service_pb2_grpc.ProfileAdminServiceStub(channel)
        request = ParseDict({"profile": profile}, profile_admin_service_pb2.CreateProfileRequest())
        stub.CreateProfile(request, metadata=credentials("root", operator), timeout=DEADLINE)
    return profile


def exchange(target: str, client: Secret, id_token: str) -> token_exchange_service_pb2.ExchangeTokenResponse:
    """Exchange the ID token for an issued token."""
    with grpc.insecure_channel(target, DIRECT) as channel:
        stub = token_exchange_service_pb2_grpc.TokenExchangeServiceStub(channel)
        return stub.ExchangeToken(
            token_exchange_service_pb2.ExchangeTokenRequest(
                subject_token=id_token, audience=AUDIENCE, scopes=["orders.read"]
            ),
            metadata=credentials("web", client),
            timeout=DEADLINE,
        )


def verify(token: str, jwks_url: str, issuer: str) -> dict[str, Any]:
    """Verify the issued token as any other service would: with a JWT library, the JWKS URL, issuer and audience."""
    key = jwt.PyJWKClient(jwks_url, timeout=DEADLINE).get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=issuer)
    return claims


def refuse_changed(token: str, jwks_url: str, issuer: str) -> None:
    """Change one byte of the signature. Raises :class:`DemoFailed` if the token is accepted nevertheless."""
    header, payload, signature = token.split(".")
    changed = "B" if signature[0] == "A" else "A"
    try:
        verify(f"{header}.{payload}.{changed}{signature[1:]}", jwks_url, issuer)
    except jwt.InvalidSignatureError:
        return
    raise DemoFailed("a changed token was accepted")


def new_id_token(issuer: DemoIssuer) -> str:
    """Return an ID token of the demo's user."""
    now = int(time.time())
    return issuer.id_token(subject=SUBJECT, audience="demo-web-app", now=now, email="ada@example.com")


def run(console: Console, *, kept: bool = False) -> None:
    """Run the demo; if ``kept``, leave its servers running until Ctrl-C. Raises :class:`DemoFailed` if a step fails."""
    started = time.monotonic()

    def step(number: int, text: str) -> None:
        console.print(f"[bold cyan]{number}[/] {text}", highlight=False, soft_wrap=True)

    def show(title: str, value: object) -> None:
        console.print(f"  {title}:", highlight=False)
        console.print_json(json.dumps(value), indent=4)

    client, client_hash = new_secret()
    operator, operator_hash = new_secret()
    with tempfile.TemporaryDirectory(prefix="tokenmint-demo-") as path, DemoIssuer() as issuer:
        directory = Path(path)
        step(1, f"an OpenID provider runs at {issuer.url}")
        config = directory / "tokenmint.toml"
        config.write_text(configuration(directory, issuer.url, client_hash, operator_hash))
        server = RunningServer(config, directory / "server.log")
        try:
            listen = server.wait_ready()
            step(2, f"tokenmint serves gRPC on {listen['grpc']} and HTTP on {listen['http']}, with its own Valkey")
            profile = create_profile(listen["admin"], operator)
            step(3, f"an operator created a profile over gRPC ({listen['admin']})")
            show("profile", profile)
            id_token = new_id_token(issuer)
            step(4, "the provider signed an ID token")
            show("the provider's claims", jwt.decode(id_token, options={"verify_signature": False}))
            answer = exchange(listen["grpc"], client, id_token)
            step(5, "ExchangeToken verified it, added claims of the profile and minted a token")
            show("minted header", jwt.get_unverified_header(answer.token))
            jwks_url = f"http://{listen['http']}/.well-known/jwks.json"
            step(6, f"another service verifies it offline with {jwks_url}")
            claims = verify(answer.token, jwks_url, f"http://{listen['http']}")
            show("verified claims", claims)
            if (claims["sub"], claims["tenant"], claims["scope"]) != (PRINCIPAL, "analytical-engines", "orders.read"):
                raise DemoFailed("the minted token does not match the profile and the request")
            step(7, "one changed byte, and it is refused")
            refuse_changed(answer.token, jwks_url, f"http://{listen['http']}")
            console.print("  refused: the signature does not verify", highlight=False)
            console.print(
                f"OK: {issuer.url} said {SUBJECT!r}, tokenmint says {PRINCIPAL!r}, and its key set proves it "
                f"({time.monotonic() - started:.1f} s)",
                highlight=False,
                soft_wrap=True,
            )
            if kept:
                keep(
                    console,
                    directory,
                    listen,
                    {"root": operator, "web": client},
                    AUDIENCE,
                    partial(new_id_token, issuer),
                )
        finally:
            server.stop()


def command(
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colours.")] = False,
    kept: Annotated[
        bool, typer.Option("--keep", help="Leave it running until Ctrl-C, and print commands to try on it.")
    ] = False,
) -> None:
    """Show an exchange with real servers: a provider's ID token in, an issued token out, verified with the key set.

    With --keep the servers stay, and it prints how to reach them with the other commands.

    Starts a local OpenID provider, and a server with its own Valkey, on free loopback ports in a temporary directory,
    and removes them at the end. Needs nothing else on the machine.
    """
    end_on_signals()
    run(Console(no_color=no_color or None), kept=kept)
