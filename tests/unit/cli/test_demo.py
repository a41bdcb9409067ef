"""The demo that stays: the commands that it prints work as they are printed."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import grpc
import pytest
from tests.forked_commands import folder
from tests.ports import own_port
from tests.process import START_LIMIT, environment
from tests.providers import proxy
from tests.unit.cli.screen import Screen

from tokenmint.cli import demo
from tokenmint.model.secret import Secret

pytestmark = [pytest.mark.slow, pytest.mark.processes]


def shell(lines: str, directory: Path) -> str:
    path = f"{folder()}:{os.environ['PATH']}"
    outcome = subprocess.run(
        ["sh", "-ec", lines], cwd=directory, env=environment(PATH=path), capture_output=True, text=True,
        timeout=START_LIMIT, check=False,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_the_commands_that_a_kept_demo_prints_work(tmp_path: Path) -> None:
    screen = Screen("demo", "--keep", directory=tmp_path, environ={"TMPDIR": str(tmp_path)}, columns=500)
    screen.wait_for("Ctrl-C ends the demo")
    lines = re.findall(
        r"^  (export .+|tokenmint .+)$", screen.text.partition("An operator's commands")[2], re.MULTILINE
    )
    operator, client = lines[:5], lines[5:]
    assert operator.pop() == "tokenmint audit tail"
    told = shell("\n".join([*operator, "tokenmint audit tail --no-follow"]), tmp_path)
    assert all(word in told for word in ("active", "ada", "would be minted", "ExplainExchange"))
    assert '"issued_token_type"' in shell("\n".join(client), tmp_path)
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert "Traceback" not in screen.text
    assert list(tmp_path.glob("tokenmint-demo-*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_ended_in_another_way_leaves_neither_servers_nor_secrets(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A closed terminal sends SIGHUP, which a server takes as a wish to reload."""
    screen = Screen("demo", "--keep", directory=tmp_path, environ={"TMPDIR": str(tmp_path)}, columns=500)
    screen.wait_for("Ctrl-C ends the demo")
    host, _, port = re.findall(r"TOKENMINT_TARGET=(\S+)", screen.text)[0].partition(":")
    socket.create_connection((host, int(port)), START_LIMIT).close()
    screen.process.send_signal(number)
    assert screen.end() == 128 + number
    assert list(tmp_path.glob("tokenmint-demo-*")) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), START_LIMIT)


def test_a_proxy_of_the_environment_gets_no_secret_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with proxy({}) as seen:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{seen.port}")
        with pytest.raises(grpc.RpcError):
            demo.exchange(f"127.0.0.1:{own_port()}", Secret("tms_x"), "token")
    assert not seen.asked
