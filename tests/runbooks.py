"""An operator who follows a runbook: types its commands, block after block, beside real services and stores."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
from tests import plain_http
from tests.forked import ForkedService
from tests.guides import COMMANDS, USUAL, need
from tests.issuer import Issuer
from tests.pages import PORTS, ROOT, blocks_of, shell
from tests.polling import PAUSE
from tests.process import CLIENT, OPERATOR, Service, write_kek
from tests.wire import Engine

from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

PATIENCE: Final = 60.0  # seconds for a state that comes by itself
AUDIENCE: Final = "https://api.example.com"
LOG: Final = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
AT_ONCE: Final = {"TOKENMINT_LIMITS__LAME_DUCK": "0s"}
SERVE: Final = "tokenmint serve"
OPS: Final = "127.0.0.1:9464"
CONFIG: Final = """\
issuer = "https://tokens.example"

[keys]
encryption_key_file = "tokenmint.kek"

[providers.idp]
issuer = "{issuer}"
audiences = ["app"]
allow_private = true

[audiences."https://api.example.com"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "create"

[clients.web]
secrets = ["sha256:{client}"]

[operators.admin]
secrets = ["sha256:{operator}"]
roles = ["viewer", "operator", "security"]
"""


class Runbook:
    """A page, its directory, and the service that its commands speak to.

    Args:
        name: the page, without its ending.
        directory: the folder of `tokenmint.toml`.
        issuer: the provider `idp`.
        extra: further tables of the configuration.
    """

    def __init__(self, name: str, directory: Path, issuer: Issuer, extra: str = "") -> None:
        need("redis-cli")
        need("curl")
        self.page = ROOT / "docs" / "runbooks" / f"{name}.md"
        self.directory = directory
        self.issuer = issuer
        self.config = directory / "tokenmint.toml"
        self.config.write_text(
            CONFIG.format(issuer=issuer.url, client=CLIENT.fingerprint(), operator=OPERATOR.fingerprint()) + extra
        )
        write_kek(directory).rename(directory / "tokenmint.kek")
        (directory / "tokenmint.kek").chmod(0o600)
        for who, secret in (("admin", OPERATOR), ("web", CLIENT)):
            (directory / f"{who}.secret").write_text(secret.reveal() + "\n")
        self.environ: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        """Variables of every service that is started."""
        self._addresses: dict[str, str] = {}
        self.services: list[Service] = []
        self._blocks = [block.text for block in blocks_of(self.page) if block.kind == "sh"]
        self._tokens = 0

    def __enter__(self) -> "Runbook":
        return self

    def __exit__(self, *failure: object) -> None:
        for service in self.services:
            service.stop()
        assert failure[0] is not None or not self._blocks, f"not executed: {self._blocks}"

    def serve(self, *arguments: str, **changes: str) -> Service:
        """Start a service on the configuration that is there; the commands speak to the last one."""
        service = ForkedService(self.directory, *arguments, **{**PORTS, **AT_ONCE, **self.settings, **changes})
        self.services.append(service)
        self.speak_to(service)
        return service

    def speak_to(self, service: Service) -> None:
        """Let the commands speak to this one."""
        listen = service.listen
        self.environ |= {"DATA": listen["grpc"], "ADMIN": listen["admin"], "PID": str(service.process.pid)}
        self._addresses = {USUAL["http"]: listen["http"], OPS: listen["ops"]}

    def step(self) -> str:
        """Execute the next block of commands; return their output."""
        return self.run(self._blocks.pop(0))

    def run(self, text: str, *, fails: bool = False) -> str:
        """Execute commands as the page has them; `tokenmint serve` runs on."""
        before, serve, after = text.partition(SERVE)
        if serve:
            arguments, _, after = after.partition("\n")
            told = self.run(before)
            self.serve(*arguments.split())
            return told + self.run(after)
        for usual, real in self._addresses.items():
            text = text.replace(usual, real)
        done = shell(self.directory, COMMANDS + text, **self.environ)
        assert (done.returncode != 0) == fails, f"{text}\nstatus {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def skip(self, count: int = 1) -> None:
        """Leave out the next blocks, which are for another case; another test executes them."""
        del self._blocks[:count]

    def shown(self, kind: str) -> list[str]:
        """Return the blocks of this kind that the page shows."""
        return [block.text for block in blocks_of(self.page) if block.kind == kind]

    def put(self, principal: str) -> None:
        """Keep a profile."""
        self.run(f"""echo '{{"principal": "{principal}"}}' | tokenmint profiles put -""")

    def profiles(self) -> set[str]:
        """Return the principals that the service knows."""
        exported = self.run("tokenmint profiles export - 2>/dev/null")
        return {json.loads(line)["principal"] for line in exported.splitlines()}

    def active_key(self) -> str:
        """Return the key that signs."""
        return self.run("""tokenmint keys list -o json | python3 -c '
import json, sys
print(next(key["key_id"] for key in json.load(sys.stdin) if key["state"] == "STATE_ACTIVE"))'""").strip()

    def readiness(self, service: Service | None = None) -> Any:
        """Return what `/readyz` tells."""
        return plain_http.get(f"http://{(service or self.services[-1]).listen['ops']}/readyz").json()

    def exchange(
        self,
        service: Service | None = None,
        *,
        audience: str = AUDIENCE,
        client: str = "web",
        secret: str = "",
        **claims: Any,
    ) -> str:
        """Exchange a new token of the provider; return the minted one, or the reason of the refusal."""
        service = service or self.services[-1]
        self._tokens += 1
        token = self.issuer.token(time.time(), **{"jti": f"t{self._tokens}", **claims})
        metadata = (("tokenmint-client-id", client), ("tokenmint-client-secret", secret or CLIENT.reveal()))
        with grpc.insecure_channel(service.listen["grpc"]) as channel:
            request = pb.ExchangeTokenRequest(subject_token=token, audience=audience)
            try:
                return str(
                    TokenExchangeServiceStub(channel).ExchangeToken(request, metadata=metadata, timeout=20).token
                )
            except grpc.RpcError as error:
                return _reason(error)


def _reason(error: Any) -> str:
    from google.rpc import error_details_pb2, status_pb2

    details: Mapping[str, Any] = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(details.get("grpc-status-details-bin", b""))
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return str(error.code().name)


def until(holds: Callable[[], object]) -> None:
    """Wait for a state that comes by itself."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(PAUSE)


def is_jwt(text: str) -> bool:
    """Tell a minted token from the reason of a refusal."""
    return text.count(".") == 2  # RFC 7515 section 3.1


def store_at(engine: Engine) -> str:
    """Return the table of a configuration that names this store."""
    return f'\n[redis]\nurl = "redis://127.0.0.1:{engine.port}"\n'
