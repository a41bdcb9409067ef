"""The service as a process of its own, as an operator runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenmint.model.secret import Secret
from tokenmint.process.new_secrets import new_encryption_key

START_LIMIT = 120.0  # seconds
CLIENT, OPERATOR = Secret("tms_test-client"), Secret("tms_test-operator")

CONFIG = """
issuer = "http://127.0.0.1:9"
data_dir = "data"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"

[providers.idp]
issuer = "{issuer}"
audiences = ["app"]
allow_private = true

[audiences."https://orders.example"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "create"

[clients.web]
secrets = ["sha256:{client}"]

[operators.root]
secrets = ["sha256:{operator}"]
roles = ["viewer", "operator", "security"]
"""


def environment(**changes: str) -> dict[str, str]:
    """The environment of a process under test: ours, without settings that a developer may have."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKENMINT_")}
    return {**kept, "TOKENMINT_REDIS__READ_TIMEOUT": "10s", "TOKENMINT_REDIS__WRITE_TIMEOUT": "20s", **changes}


def run(*arguments: str, directory: Path, stdin: str = "", **changes: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tokenmint", *arguments],
        cwd=directory, input=stdin, capture_output=True, text=True, timeout=START_LIMIT, env=environment(**changes),
        check=False,
    )  # fmt: skip


def configure(directory: Path, issuer: str = "https://idp.example", extra: str = "") -> Path:
    """Write a configuration with one provider, audience, client and operator."""
    config = directory / "tokenmint.toml"
    config.write_text(
        CONFIG.format(issuer=issuer, client=CLIENT.fingerprint(), operator=OPERATOR.fingerprint()) + extra
    )
    return config


def write_kek(directory: Path) -> Path:
    """Write a key-encryption key."""
    file = directory / "kek"
    file.write_text(new_encryption_key(os.urandom))
    return file


class Service:
    """A running `tokenmint serve`."""

    program: tuple[str, ...] = ("-m", "tokenmint")
    """The arguments after `python`."""
    interpreter: str = sys.executable

    def __init__(self, directory: Path, *arguments: str, **changes: str) -> None:
        self.directory = directory
        self.errors = directory / "stderr.log"
        with self.errors.open("ab") as errors:
            self._run(arguments, errors.fileno(), changes)

    def _run(self, arguments: tuple[str, ...], errors: int | None, changes: Mapping[str, str]) -> None:
        """Start it, with a descriptor as its standard error, or with that closed (None); wait until it is ready."""
        self.process = self._start(("serve", "--output", "json", *arguments), errors, changes)
        line = self.process.stdout.readline()
        if not line:
            self._wait()
            raise AssertionError(f"the service did not start:\n{self.errors.read_text()}")
        self.ready: dict[str, Any] = json.loads(line)
        self.listen: dict[str, str] = self.ready["listen"]

    def _start(self, arguments: tuple[str, ...], errors: int | None, changes: Mapping[str, str]) -> Any:
        command = [self.interpreter, *self.program, *arguments]
        if errors is None:
            command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]  # a shell's word for it
        return subprocess.Popen(
            command, cwd=self.directory, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True,
            env=environment(**changes),
        )  # fmt: skip

    def auth(self, name: str = "web") -> dict[str, Any]:
        """Arguments of a call."""
        secret = CLIENT if name == "web" else OPERATOR
        metadata = (("tokenmint-client-id", name), ("tokenmint-client-secret", secret.reveal()))
        return {"metadata": metadata, "timeout": 20}

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> int:
        """End it as an operator would; return the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self._wait()

    def _wait(self) -> int:
        status: int = self.process.wait(timeout=START_LIMIT)
        self.process.stdout.close()
        return status

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class ServiceWithLog(Service):
    """One whose standard error is the descriptor ``log``, or closed (None)."""

    def __init__(self, directory: Path, log: int | None, *arguments: str, **changes: str) -> None:
        self.directory = directory
        self.errors = directory / "stderr.log"
        self._run(arguments, log, changes)


class WithFewFiles(Service):
    """One that may have 200 files open."""

    program = (
        "-c",
        """import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
os.execv(sys.executable, [sys.executable, "-m", "tokenmint", *sys.argv[1:]])""",
    )
