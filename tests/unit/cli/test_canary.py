"""Nothing secret that a command was handed is in what it says of a mistake, a refusal or a fault of its own."""

import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
import typer
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from tests.forked import run_forked
from typer.testing import CliRunner

from tokenmint import cli
from tokenmint.cli import DEBUG, app, run

pytestmark = pytest.mark.slow

CANARY = "canary-4711-abcdefghijklmnopqrstuvwxyz-0123456789"
TOKEN = f"eyJhbGciOiJub25lIn0.{CANARY}.{CANARY}"


def invoke(*arguments: str, stdin: str = "", **env: str) -> tuple[int, str]:
    """Run the whole command line; return the exit status and everything that it printed."""
    wrapper = typer.Typer(add_completion=False)

    @wrapper.command()
    def invoked() -> None:
        raise typer.Exit(run(lambda: app(list(arguments))))

    result = CliRunner().invoke(wrapper, [], input=stdin, env={"COLUMNS": "300", **env})
    return result.exit_code, result.stdout + result.stderr


class Refusing(grpc.GenericRpcHandler):
    """Refuses every method as the service does, or answers what no client can read."""

    def __init__(self) -> None:
        self.code = code_pb2.UNAVAILABLE
        self.rubbish = False

    def service(self, handler_call_details: Any) -> Any:
        def answer(_: Any, context: Any) -> bytes:
            if self.rubbish:
                return b"\xff\xff\xff"
            status = status_pb2.Status(code=self.code, message="refused")
            detail = error_details_pb2.ErrorInfo(reason="BECAUSE", domain="tokenmint")
            status.details.add().Pack(detail)
            context.abort_with_status(rpc_status.to_status(status))
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def refusing() -> Iterator[tuple[str, Refusing]]:
    handler = Refusing()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", handler
    server.stop(None).wait(5)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look for files where they are run."""
    monkeypatch.chdir(tmp_path)
    Path("token").write_text(TOKEN)
    Path("secret").write_text(CANARY)
    Path("two-lines").write_text(f"{CANARY}\n{CANARY}")
    Path("broken.json").write_text(f'{{"id": "root", "secret": "{CANARY}"')
    Path("other.json").write_text(f'{{"name": "root", "password": "{CANARY}"}}')
    Path("binary").write_bytes(CANARY.encode() + b"\xff\xfe")


EXCHANGE = ("token", "exchange", "--audience", "https://a.example", "--client-id", "web")
LIST = ("keys", "list", "--client-id", "root", "--secret-file", "secret")
NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        # A token or a secret where a file, a number, a command or nothing was expected.
        (("token", "inspect", TOKEN), 2),
        (("token", "inspect", "--token-file", TOKEN), 2),
        (("token", "inspect", "--token-file", CANARY), 2),
        (("token", "inspect", "--token-file", "x" * 300 + CANARY), 2),
        (("token", "inspect", f"--{CANARY}"), 2),
        (("token", "inspect", f"--token={TOKEN}"), 2),
        (("token", "inspect", "--output", TOKEN), 2),
        (("token", TOKEN), 2),
        ((TOKEN,), 2),
        ((f"--token={TOKEN}",), 2),
        (("keys", "list", "--timeout", CANARY, "--client-id", "root", "--secret-file", "secret"), 2),
        (("keys", "list", "--client-id", "root", "--secret-file", CANARY), 2),
        (("keys", "list", "--client-id", "root", "--secret-file", f"{CANARY}/{CANARY}"), 2),
        (("keys", "list", "--credentials", CANARY), 2),
        (("keys", "list", "--credentials", f'{{"id": "root", "secret": "{CANARY}"}}'), 2),
        ((*EXCHANGE, "--token-file", TOKEN), 2),
        # Files that hold them and are not what they should be.
        (("token", "verify", "--issuer", "http://127.0.0.1:1", "--audience", "a", "--token-file", "token"), 3),
        (("token", "inspect", "--token-file", "secret"), 2),
        (("token", "inspect", "--token-file", "binary"), 2),
        (("keys", "list", "--client-id", "root", "--secret-file", "two-lines"), 2),
        (("keys", "list", "--client-id", "root", "--secret-file", "binary"), 2),
        (("keys", "list", "--credentials", "broken.json"), 2),
        (("keys", "list", "--credentials", "other.json"), 2),
        (("profiles", "create", "--file", "broken.json", "--client-id", "root", "--secret-file", "secret"), 2),
        (("config", "check", "--config", "secret"), 2),
        (("config", "check", "--config", "broken.json"), 2),
        # A service that is not there.
        ((*EXCHANGE, "--token-file", "token", "--secret-file", "secret", "--target", NOBODY), 3),
        (("keys", "list", "--client-id", "root", "--secret-file", "secret", "--target", NOBODY), 3),
    ],
)  # fmt: skip
def test_a_mistake_is_told_without_the_secret(arguments: tuple[str, ...], status: int) -> None:
    ended, said = invoke(*arguments)
    assert ended == status, said
    assert CANARY not in said
    assert "Traceback" not in said
    assert said.strip()


@pytest.mark.parametrize(
    "name",
    [
        "TOKENMINT_REDIS__URL", "TOKENMINT_REDIS__PASSWORD", "TOKENMINT_KEYS__ENCRYPTION_KEY",
        "TOKENMINT_KEYS__ENCRYPTION_KEY_FILE", "TOKENMINT_CLIENT_SECRET", "TOKENMINT_LOG__LEVEL",
        "TOKENMINT_REDIS__READ_TIMEOUT",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["{}", "redis://user:{}@h:99999/x/y", "{}\n", "é{}", "\udcff{}"], ids=ascii)
def test_a_secret_of_the_environment_is_in_no_complaint(name: str, form: str) -> None:
    env = {name: form.format(CANARY), "TOKENMINT_CLIENT_ID": "root"}
    for command in (("config", "check"), ("serve",), ("keys", "list", "--target", NOBODY)):
        ended, said = invoke(*command, **{"TOKENMINT_REDIS__DATABASE": "wrong", **env})  # so that nothing is served
        assert CANARY not in said
        assert "Traceback" not in said
        assert ended in (2, 3), said


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (code_pb2.UNAVAILABLE, 3), (code_pb2.UNAUTHENTICATED, 4), (code_pb2.PERMISSION_DENIED, 4),
        (code_pb2.NOT_FOUND, 5), (code_pb2.INVALID_ARGUMENT, 2), (code_pb2.INTERNAL, 1), (code_pb2.UNKNOWN, 1),
        (None, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "command",
    [
        ("token", "exchange", "--audience", "https://a.example", "--client-id", "web", "--token-file", "token"),
        ("token", "explain", "--client", "web", "--audience", "a", "--client-id", "root", "--token-file", "token"),
        ("keys", "list", "--client-id", "root"),
        ("keys", "revoke", "k", "--reason", "x", "--yes", "--client-id", "root"),
        ("profiles", "get", "ada", "--client-id", "root"),
        ("providers", "list", "--client-id", "root"),
    ],
)
def test_a_refusal_is_told_without_the_secret(
    refusing: tuple[str, Refusing], command: tuple[str, ...], code: Any, status: int
) -> None:
    target, handler = refusing
    handler.code, handler.rubbish = code, code is None
    ended, said = invoke(*command, "--target", target, "--secret-file", "secret")
    assert CANARY not in said
    assert "Traceback" not in said
    assert ended == status, said


class Strange(Exception):
    """Nobody expects it, and its text holds what must not be told."""


def fails(*_: object, **__: object) -> NoReturn:
    try:
        raise ValueError(f"about {CANARY}")
    except ValueError as error:
        raise Strange(f"with {CANARY}", {"secret": CANARY}) from error


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize(
    ("place", "arguments"),
    [
        ("tokenmint.cli.connection.connect", LIST),
        ("tokenmint.cli.connection.Connection._channel", LIST),
        ("tokenmint.cli.token.read_token", ("token", "inspect", "--token-file", "token")),
        ("tokenmint.config.load.load", ("config", "check")),
        ("tokenmint.cli.serve.load", ("serve",)),
        ("tokenmint.cli.clients.make_secret", ("clients", "new-secret")),
    ],
)  # fmt: skip
def test_a_fault_of_the_command_line_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, place: str, arguments: tuple[str, ...], debug: str
) -> None:
    monkeypatch.setattr(place, fails)
    ended, said = invoke(*arguments, **{DEBUG: debug})
    assert ended == 70, said
    assert CANARY not in said
    assert "Traceback" not in said
    assert "a fault of tokenmint itself, please report it: Strange at tests.unit.cli.test_canary.fails:" in said
    assert ("ValueError" in said) is (debug == "1")
    assert (DEBUG in said) is (debug == "")


def test_faults_of_a_thread_are_told_the_same_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(cli, "run", lambda _: 0)
    with pytest.raises(SystemExit):
        cli.main()
    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    said = capsys.readouterr().err
    assert CANARY not in said
    assert "Strange at tests.unit.cli.test_canary.fails:" in said


@pytest.mark.parametrize(
    "job", [f'{{"config": "{CANARY}"', f'{{"secret": "{CANARY}"}}', f'["{CANARY}"]', '{"config": 7}']
)
@pytest.mark.parametrize("arguments", [(), ("1", "60")], ids=["no arguments", "arguments"])
def test_a_fault_of_a_worker_is_told_without_what_it_was_handed(
    job: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    ended = run_forked(*arguments, directory=tmp_path, stdin=job, module="tokenmint.process.worker")
    assert ended.returncode == 70
    assert CANARY not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("tokenmint: a fault of tokenmint itself, please report it: ")
