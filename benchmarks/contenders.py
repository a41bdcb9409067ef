"""The contenders: each is started on the server's core, and serves until the run ends."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.world import (
    AUDIENCE,
    BUILD,
    CLIENT,
    ISSUER,
    PEER_PREFIX,
    PREFIX,
    ROOT,
    RSA_AUDIENCE,
    World,
    certificate,
    secret_hash,
)
from tokenmint.process.new_secrets import new_encryption_key

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
EIGHT: Final = tuple(f"{AUDIENCE}/{number}" for number in range(8))
PROTOBUF: Final = Path(str(__import__("grpc_tools").__file__)).parent / "_proto"


@dataclass(frozen=True, slots=True)
class Contender:
    """A server under test. tokenmint has its defaults, but for a rate limit that the load does not reach."""

    name: str
    kind: str = "tokenmint"
    """`tokenmint`, `empty` (answers at once with nothing), `go`, `go-full` or `node`."""
    transport: str = ""
    """`listen.transport`; "": the default."""
    settings: str = ""
    """Further tables of the configuration."""
    workers: int = 1
    read_timeout: str = ""
    """`redis.read_timeout`; "": the default."""
    limits: str = ""
    """Further lines of the table of limits."""
    tls: bool = False
    beside: bool = False
    """Whether it is the commit that is measured beside this one."""
    prefix: str = PREFIX
    """Of its keys in the store. One of its own has no profiles."""

    @property
    def file_name(self) -> str:
        """The name of its files."""
        return "".join(char if char.isalnum() else "-" for char in self.name)


@dataclass(slots=True)
class Running:
    """A contender that serves."""

    contender: Contender
    pid: int
    listen: dict[str, str]
    started_in: float
    """Seconds from its start to when it was ready."""

    def memory(self) -> list[float]:
        """Return the resident megabytes (10^6 bytes) of each process."""
        sizes = []
        for pid in processes(self.pid):
            with contextlib.suppress(OSError):
                sizes.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6)
        return sizes


def processes(root: int) -> list[int]:
    """Return a process and its descendants."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


def configuration(contender: Contender, world: World) -> Path:
    """Write the configuration of a tokenmint, and return its file. Its own data directory is a new one."""
    directory = BUILD / "service" / contender.file_name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "kek").write_text(new_encryption_key(lambda size: b"\x01" * size))  # they share the key ring
    (directory / "kek").chmod(0o600)
    certificate_lines = ""
    if contender.tls:
        certificate_file, key_file = certificate()
        certificate_lines = f'cert_file = "{certificate_file}"\nkey_file = "{key_file}"'
    text = f"""
issuer = "https://tokens.example"
data_dir = "data"
[redis]
url = "{world.redis_url}"
prefix = "{contender.prefix}"
{f'read_timeout = "{contender.read_timeout}"' if contender.read_timeout else ""}
[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"
{f'transport = "{contender.transport}"' if contender.transport else ""}
{certificate_lines}
[keys]
algorithms = ["ES256", "RS256"]
encryption_key_file = "kek"
[limits]
{contender.limits}
each_client = {{ per_second = 1000000.0, burst = 1000000 }}
all_clients = {{ per_second = 1000000.0, burst = 1000000 }}
[providers.idp]
issuer = "{ISSUER}"
audiences = ["app"]
jwks_url = "{world.jwks_url}"
allow_private = true
[clients.{CLIENT}]
secrets = ["sha256:{secret_hash()}"]
[operators.root]
roles = ["operator", "security"]
secrets = ["sha256:{secret_hash()}"]
{contender.settings}
"""
    file = directory / "tokenmint.toml"
    file.write_text(text + "".join(map(_audience, *zip(*_audiences().items(), strict=True))))
    return file


def _audiences() -> dict[str, str]:
    return {AUDIENCE: "ES256", RSA_AUDIENCE: "RS256"} | dict.fromkeys(EIGHT, "ES256")


def _audience(audience: str, algorithm: str) -> str:
    return f"""
[audiences."{audience}"]
clients = ["{CLIENT}"]
providers = ["idp"]
algorithm = "{algorithm}"
[audiences."{audience}".claims]
email = "assertion.email"
tenant = "profile.claims.tenant"
roles = "profile.roles"
"""


def _command(
    contender: Contender, world: World, python: str, module: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    if contender.kind == "tokenmint":
        command = [python, "-m", *module, "serve", "--output", "json", "--workers", str(contender.workers)]
        return [*command, "--config", str(configuration(contender, world))], {}
    if contender.kind == "empty":
        return [sys.executable, "-m", "benchmarks.empty", contender.transport], {}
    peer = {
        "Issuer": ISSUER,
        "JWKS": world.jwks_url,
        "Redis": world.redis_url,
        "Prefix": PEER_PREFIX,
        "ClientID": CLIENT,
        "SecretSHA256": secret_hash(),
        "Audiences": _audiences(),
        "Protos": [str(ROOT / "protos"), str(PROTOBUF), _google_rpc()],
        "Full": contender.kind == "go-full",
    }
    command = [str(BUILD / "peer-go")]
    if contender.kind == "node":
        command = ["node", str(ROOT / "benchmarks/peers/node/server.mjs")]
    return command, {"PEER": json.dumps(peer), "NODE_ENV": "production"}


def _google_rpc() -> str:
    from google.rpc import status_pb2

    return str(Path(str(status_pb2.__file__)).parent.parent.parent)


@contextlib.contextmanager
def running(
    contender: Contender,
    world: World,
    cores: str,
    python: str = sys.executable,
    module: Sequence[str] = ("tokenmint",),
) -> Iterator[Running]:
    """Run ``contender`` on ``cores`` until the block ends.

    A tokenmint runs by the interpreter that has it installed, and by a module with its first arguments that serves.
    """
    command, environment = _command(contender, world, python, module)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKENMINT_")}
    if contender.beside:
        kept.pop("PYTHONPATH", None)  # it is this commit's
    begun = time.monotonic()
    log_file = BUILD / f"{contender.file_name}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *command], stdout=subprocess.PIPE, stderr=log, text=True, env=kept | environment
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{contender.name} did not start: see {log_file}")
        ready: dict[str, Any] = json.loads(line)
        listen = ready["listen"] if isinstance(ready["listen"], dict) else {"grpc": ready["listen"]}
        yield Running(contender, process.pid, listen, time.monotonic() - begun)
    finally:
        # A tokenmint has no pause then before it stops: nobody waits for load balancers.
        process.send_signal(signal.SIGINT if contender.kind == "tokenmint" else signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
