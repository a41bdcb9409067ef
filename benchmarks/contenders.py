"""Those who are measured, each started alone on the server's core, and what they cost."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from world import (
    AUDIENCE,
    BUILD,
    CLIENT,
    ISSUER,
    PEER_PREFIX,
    PREFIX,
    ROOT,
    RSA_AUDIENCE,
    World,
    secret_hash,
)

from tokenmint.process.bootstrap import new_encryption_key

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
START_LIMIT: Final = 60.0
EIGHT: Final = tuple(f"{AUDIENCE}/{number}" for number in range(8))
PROTOBUF: Final = Path(__import__("grpc_tools").__file__).parent / "_proto"


@dataclass(frozen=True, slots=True)
class Contender:
    """A server under test."""

    name: str
    kind: str
    """tokenmint, empty, go or node."""
    transport: str = ""
    settings: str = ""
    """Further lines of the configuration."""
    workers: int = 1
    read_timeout: str = ""
    """`redis.read_timeout`; "": the default."""
    limits: str = ""
    """Further lines of the table of limits."""


@dataclass(slots=True)
class Running:
    """A contender that serves."""

    pid: int
    listen: str
    http: str
    started_in: float
    """Seconds from its start to when it was ready."""

    def _processes(self) -> list[int]:
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def cpu(self) -> float:
        """Return the CPU seconds that were used so far, children included."""
        total = 0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory(self) -> list[float]:
        """Return the resident megabytes of each process."""
        sizes = []
        for pid in self._processes():
            with contextlib.suppress(OSError):
                sizes.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6)
        return sizes


def _configuration(contender: Contender, world: World) -> Path:
    directory = BUILD / "service"
    directory.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(directory / "data", ignore_errors=True)  # the store is a new one in every run
    (directory / "kek").write_text(new_encryption_key(lambda size: b"\x01" * size))  # the same in every run
    audiences = {AUDIENCE: "ES256", RSA_AUDIENCE: "RS256"} | dict.fromkeys(EIGHT, "ES256")
    text = f"""
issuer = "https://tokens.example"
data_dir = "data"
[redis]
url = "{world.redis_url}"
prefix = "{PREFIX}"
{f'read_timeout = "{contender.read_timeout}"' if contender.read_timeout else ""}
[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"
{f'transport = "{contender.transport}"' if contender.transport == "native" else ""}
[keys]
algorithms = ["ES256", "RS256"]
encryption_key_file = "kek"
{contender.settings or "[caches]" + chr(10) + "profiles = 100000"}
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
secrets = ["sha256:{secret_hash()}"]
"""
    for audience, algorithm in audiences.items():
        text += f"""
[audiences."{audience}"]
clients = ["{CLIENT}"]
providers = ["idp"]
algorithm = "{algorithm}"
[audiences."{audience}".claims]
email = "assertion.email"
tenant = "profile.claims.tenant"
roles = "profile.roles"
"""
    file = directory / f"{contender.name}.toml"
    file.write_text(text)
    return file


def _command(contender: Contender, world: World) -> tuple[list[str], dict[str, str]]:
    match contender.kind:
        case "tokenmint":
            command = [sys.executable, "-m", "tokenmint", "serve", "--output", "json"]
            command += ["--workers", str(contender.workers), "--config", str(_configuration(contender, world))]
            return command, {}
        case "empty":
            return [sys.executable, str(ROOT / "benchmarks/empty.py"), contender.transport], {}
    peer = {
        "Issuer": ISSUER,
        "JWKS": world.jwks_url,
        "Redis": world.redis_url,
        "Prefix": PEER_PREFIX,
        "ClientID": CLIENT,
        "SecretSHA256": secret_hash(),
        "Audiences": {AUDIENCE: "ES256", RSA_AUDIENCE: "RS256"} | dict.fromkeys(EIGHT, "ES256"),
        "Protos": [str(ROOT / "protos"), str(PROTOBUF), _google_rpc()],
    }
    command = [str(BUILD / "peer-go")]
    if contender.kind == "node":
        command = ["node", str(ROOT / "benchmarks/peers/node/server.mjs")]
    return command, {"PEER": json.dumps(peer), "NODE_ENV": "production"}


def _google_rpc() -> str:
    from google.rpc import status_pb2

    return str(Path(str(status_pb2.__file__)).parent.parent.parent)


@contextlib.contextmanager
def running(contender: Contender, world: World, cores: str) -> Iterator[Running]:
    """Run ``contender`` on ``cores`` until the block ends."""
    command, environment = _command(contender, world)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKENMINT_")}
    begun = time.monotonic()
    with (BUILD / f"{contender.name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *command], stdout=subprocess.PIPE, stderr=log, text=True, env=kept | environment
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{contender.name} did not start: see {BUILD / contender.name}.log")
        ready: dict[str, Any] = json.loads(line)
        listen = ready["listen"]
        grpc, http = (listen["grpc"], listen["http"]) if isinstance(listen, dict) else (listen, "")
        yield Running(process.pid, grpc, http, time.monotonic() - begun)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
