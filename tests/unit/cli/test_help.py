"""Help, completion and exit codes: the first things that a new user meets."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from tests.forked import run_forked
from tests.process import START_LIMIT, environment
from tests.unit.cli.serving import as_nobody, as_root, call, served

from tokenmint.cli import COMMANDS, app
from tokenmint.cli.completion import VARIABLE

pytestmark = pytest.mark.slow


def every_command() -> dict[str, Any]:
    """Every command, by its words."""
    found: dict[str, Any] = {}
    top = typer.main.get_command(app)
    for name in COMMANDS:
        group: Any = top.get_command(typer.Context(top), name)  # type: ignore[attr-defined]  # a group
        for word, command in getattr(group, "commands", {"": group}).items():
            found[f"{name} {word}".strip()] = command
    return found


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_nobody(monkeypatch, tmp_path)


@pytest.mark.parametrize("words", every_command())
def test_the_help_fits_eighty_columns_and_cuts_nothing(words: str) -> None:
    status, out, _ = call(*words.split(), "--help", COLUMNS="80")
    assert status == 0
    assert max(map(cell_len, out.splitlines())) <= 80
    assert "\u2026" not in out
    assert call(*words.split(), "-h", COLUMNS="80")[1] == out


@pytest.mark.parametrize("words", every_command())
def test_the_options_of_a_connection_stand_in_one_panel(words: str) -> None:
    parameters = {one.name: one for one in every_command()[words].params}
    out = call(*words.split(), "--help", COLUMNS="80")[1]
    if "target" not in parameters:
        assert "--client-id" not in out or words == "edge"  # whose connection is over HTTP
        return
    own, _, connection = out.partition(" Connection ")
    for option in ("--target", "--client-id", "--secret-file", "--credentials", "--ca-file", "--tls", "--timeout"):
        assert option in connection
        assert f" {option} " not in own.partition(" Options ")[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_one_that_it_reads(shell: str, tmp_path: Path) -> None:
    status, script, err = call("completion", shell)
    assert (status, err) == (0, "")
    assert f"complete_{shell}" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script)
    subprocess.run([program, "-n", str(tmp_path / "script")], check=True, timeout=START_LIMIT)


def completed(line: str, **more: str) -> list[str]:
    words = line.split(" ")
    asked = {VARIABLE: "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), **more}
    outcome = run_forked(directory=Path.cwd(), **asked)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tokenmint ke", ["keys"]),
        ("tokenmint keys re", ["reseal", "revoke"]),
        ("tokenmint keys list --ou", ["--output"]),
        ("tokenmint keys list --output ", ["text", "json"]),
        ("tokenmint completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_a_shell_gets_commands_options_and_values(line: str, expected: list[str]) -> None:
    assert completed(line) == expected


NAMED = """
[providers.google]
[providers.github]
[providers.partner]
[clients.web]
[operators.watch]
[audiences."https://api.example.com"]
[audiences.orders]
[audiences."with\\u001b[31mcolours"]
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tokenmint providers test g", ["google", "github"]),
        ("tokenmint providers get ", ["google", "github", "partner"]),
        ("tokenmint signals status p", ["partner"]),
        ("tokenmint profiles link ada g", ["google", "github"]),
        ("tokenmint revoke client ", ["web"]),
        ("tokenmint revoke audience ", ["https://api.example.com", "orders"]),
        ("tokenmint revoke provider x", []),
        ("tokenmint token exchange --audience o", ["orders"]),
        ("tokenmint token explain --client w", ["web"]),
        ("tokenmint audit tail --client w", ["web", "watch"]),
    ],
)
def test_a_shell_gets_the_names_of_the_configuration(tmp_path: Path, line: str, expected: list[str]) -> None:
    (tmp_path / "tokenmint.toml").write_text(NAMED)
    assert completed(line, TOKENMINT_CONFIG=str(tmp_path / "tokenmint.toml")) == expected


@pytest.mark.parametrize("content", ["[providers", "providers = 1", "\x00", None])
def test_a_configuration_that_cannot_be_read_completes_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenmint.toml").write_text(content)
    assert completed("tokenmint providers get ", TOKENMINT_CONFIG=str(tmp_path / "tokenmint.toml")) == []


def test_a_shell_gets_every_command() -> None:
    assert completed("tokenmint ") == list(COMMANDS)


def test_bash_itself_completes() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    program = Path(sys.executable).with_name("tokenmint")
    lines = (
        'source <(tokenmint completion bash)', 'COMP_WORDS=(tokenmint providers li)', "COMP_CWORD=2",
        "_tokenmint_completion tokenmint", 'echo "${COMPREPLY[@]}"',
    )  # fmt: skip
    path = f"{program.parent}:{os.environ['PATH']}"
    outcome = subprocess.run(
        [bash, "--norc", "-c", "\n".join(lines)], env=environment(PATH=path), capture_output=True, text=True,
        timeout=START_LIMIT, check=True,
    )  # fmt: skip
    assert (outcome.stdout, outcome.stderr) == ("list\n", "")


def test_a_mistake_is_told_in_the_words_that_were_typed() -> None:
    for words, told in (
        (("keys", "list", "-o", "x"), "'--output' / '-o': 'x' is not one of 'text', 'json'"),
        (("completion", "-x"), "'shell': '-x' is not one of"),
        (("audit", "tail", "--kind", "-y"), "'-y' is not one of"),
        (("keys", "lst"), "Did you mean 'list'?"),
    ):
        status, _, err = call(*words, COLUMNS="200")
        assert (status, told in err, "Value error" in err) == (2, True, False), err


def test_the_beginning_of_a_key_id_names_the_key() -> None:
    with served() as service:
        status, out, err = call("keys", "get", "1-kk", "-o", "text", **as_root(service))
        assert (status, "1-" + "k" * 120 in out) == (0, True), err
        status, out, err = call("keys", "revoke", "2", "--reason", "x", "--yes", **as_root(service))
        assert (status, "2-" + "k" * 120 in out) == (0, True), err
        status, out, _ = call("keys", "get", "z" * 43, "-o", "text", **as_root(service))
        assert (status, "z" * 43 in out) == (0, True)
        asked = len(service.keys.callers)
        call("keys", "get", "z" * 43, **as_root(service))
        assert len(service.keys.callers) == asked  # a whole id is not looked up: that needs the role of a viewer


def test_a_beginning_of_several_key_ids_is_refused_with_them() -> None:
    with served() as service:
        service.keys.ids = ["abcde", "abcdf", "abxxx", "zz"]
        for words in (("get", "abc"), ("activate", "ab"), ("revoke", "ab", "--reason", "x", "--yes")):
            status, out, err = call("keys", *words, **as_root(service))
            assert (status, out) == (2, ""), words
            assert all(key_id in err for key_id in ("abcde", "abcdf"))
            assert "zz" not in err
        service.keys.ids = ["abc", "abcd"]
        assert call("keys", "get", "abc", **as_root(service))[0] == 0  # the whole of one
