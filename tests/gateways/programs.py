"""Gateways as processes of their own, each with its example of deploy/gateways and the addresses of a test."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from tests.ports import own_port
from tests.process import CLIENT, environment

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "deploy" / "gateways"
TRAEFIK_STATIC: Final = """
entryPoints: {{ edge: {{ address: "127.0.0.1:{edge}" }} }}
providers: {{ file: {{ filename: "{directory}/traefik.yaml" }} }}
global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A program and its example."""

    name: str
    program: str
    files: Sequence[str]
    """Its files in deploy/gateways, the configuration first."""
    command: Callable[[Path], Sequence[str]]
    """Its arguments, by the directory of its files."""
    keeps: bool
    """Whether it keeps answers."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Changes of the configuration for answers that are kept for longer than a second."""

    def found(self) -> str:
        """Return the program's path; without it the test says so and is skipped."""
        at = shutil.which(
            self.program, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/bin"))
        )
        if at is None:
            missing = f"{self.program} is not installed: `.ci/run test-gateways` installs what Debian has"
            if os.environ.get("TOKENMINT_REQUIRE_LANES") and self.name != "traefik":
                pytest.fail(missing)
            pytest.skip(missing)
        return at


NGINX: Final = Gateway(
    "nginx", "nginx", ("nginx.conf", "tokenmint.js"),
    lambda at: ("-p", f"{at}/", "-c", f"{at}/nginx.conf", "-g", "daemon off; user root;"), keeps=True,
    settings={'"$asked_for $time_iso8601"': '"$asked_for"'},
)  # fmt: skip
HAPROXY: Final = Gateway(
    "haproxy", "haproxy", ("haproxy.cfg", "tokenmint.lua"), lambda _: ("-db", "-f", "haproxy.cfg"), keeps=True
)
CADDY: Final = Gateway(
    "caddy", "caddy", ("Caddyfile",), lambda _: ("run", "--config", "Caddyfile", "--adapter", "caddyfile"), keeps=False
)
TRAEFIK: Final = Gateway(
    "traefik", "traefik", ("traefik.yaml",), lambda at: (f"--configFile={at}/static.yaml",), keeps=False
)
ALL: Final = (NGINX, HAPROXY, CADDY, TRAEFIK)


@contextmanager
def running(
    gateway: Gateway,
    directory: Path,
    *,
    tokenmint: int,
    backend: int,
    secret: str = CLIENT.reveal(),
    longer: bool = False,
) -> Iterator[str]:
    """Run a gateway before tokenmint's and the application's ports; yield its URL.

    ``longer``: as its example says for answers that are kept for longer than a second.
    """
    program = gateway.found()
    edge = own_port()
    for name in gateway.files:
        text = (EXAMPLES / name).read_text()
        for before, after in ((10000, edge), (8080, tokenmint), (9000, backend)):
            text = re.sub(rf":{before}\b", f":{after}", text)
        for shown, changed in gateway.settings.items() if longer else ():
            text = text.replace(shown, changed)
        (directory / name).write_text(text)
    (directory / "tokenmint.secret").write_text(f'proxy_set_header tokenmint-client-secret "{secret}";\n')
    (directory / "static.yaml").write_text(TRAEFIK_STATIC.format(edge=edge, directory=directory))
    directory.chmod(0o755)
    variables = environment(TOKENMINT_CLIENT_SECRET=secret, HOME=str(directory), XDG_DATA_HOME=str(directory))
    log_file = directory / f"{gateway.name}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [program, *gateway.command(directory)], cwd=directory, stdout=log, stderr=log, env=variables
        )
    try:
        _await(edge, process, log_file)
        yield f"http://127.0.0.1:{edge}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def sidecar(directory: Path, *, tokenmint: int, keep: str, follows: Sequence[str] = ()) -> Iterator[int]:
    """Run `tokenmint edge` before tokenmint's port, as the client `gateway`; yield its port. ``follows``: further
    arguments."""
    port = own_port()
    (directory / "edge.secret").write_text(CLIENT.reveal())
    log_file = directory / "edge.log"
    command = ("edge", "--upstream", f"http://127.0.0.1:{tokenmint}", "--listen", f"127.0.0.1:{port}", "--keep", keep)
    named = ("--client-id", "gateway", "--secret-file", "edge.secret")
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tokenmint", *command, *named, *follows],
            cwd=directory, stdout=log, stderr=log, env=environment(),
        )  # fmt: skip
    try:
        _await(port, process, log_file)
        yield port
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


@contextmanager
def example_application(directory: Path) -> Iterator[int]:
    """Run the application of deploy/gateways; yield its port."""
    port = own_port()
    log_file = directory / "application.log"
    with log_file.open("wb") as log:
        command = [sys.executable, str(EXAMPLES / "application.py"), str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
    try:
        _await(port, process, log_file)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def _await(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    pause = threading.Event()
    for _ in range(3000):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            pause.wait(0.02)
        else:
            return
    raise AssertionError(f"nobody listens on {port}: {log.read_text()[-3000:]}")
