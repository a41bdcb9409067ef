"""Completion in shells: the program's answers, and the scripts in a real bash, zsh and fish."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.forked import run_forked
from tests.forked_commands import folder
from tests.process import START_LIMIT, environment
from tests.unit.cli.serving import as_nobody, call

from tokenmint.cli import COMMANDS
from tokenmint.cli.completion import VARIABLE

pytestmark = pytest.mark.slow


def installed() -> Path:
    """Return the folder of the installed program. Its start takes longer than that of ``folder``'s."""
    return Path(sys.executable).parent


PRINTING = "printf '<%s>' \"$@\"; echo; echo 'END' 'OF LINE'"
"""Stands for the program once a line is complete: prints its arguments."""


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_nobody(monkeypatch, tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_one_that_it_reads(shell: str, tmp_path: Path) -> None:
    status, script, err = call("completion", shell)
    assert (status, err) == (0, "")
    assert "_tokenmint_completion" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script)
    subprocess.run([program, "-n", str(tmp_path / "script")], check=True, timeout=START_LIMIT)


def completed(line: str, **more: str) -> list[str]:
    asked = {VARIABLE: "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": line, **more}
    outcome = run_forked(directory=Path.cwd(), **asked)
    assert outcome.returncode == 0, outcome.stderr
    return [shown.partition("\t")[0] for shown in outcome.stdout.splitlines() if shown]


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


TYPED = r"""
[providers.google]
[providers.partner]
[clients.web]
[audiences."https://api.example.com"]
[audiences."spiffe:eu:one"]
[audiences."x://a=1"]
[audiences."glob*"]
[audiences.'\$(touch pwned)']
[audiences."$(touch pwned)"]
[audiences.'q"$(touch pwned)\`']
[audiences."r'$(touch pwned)"]
"""
LINES = [
    ("~/bin/tokenmint keys li", ["keys", "list"]),
    ("tokenmint profiles link google:1=2 go", ["profiles", "link", "google:1=2", "google"]),
    ("tokenmint revoke audience https://a", ["revoke", "audience", "https://api.example.com"]),
    ("tokenmint revoke audience spiffe:eu:", ["revoke", "audience", "spiffe:eu:one"]),
    ("tokenmint revoke audience x://a=", ["revoke", "audience", "x://a=1"]),
    ('tokenmint revoke audience "https://a', ["revoke", "audience", "https://api.example.com"]),
    ("tokenmint token exchange --audience=https://a", ["token", "exchange", "--audience=https://api.example.com"]),
    ("tokenmint token exchange --audience=x://a=", ["token", "exchange", "--audience=x://a=1"]),
    ("tokenmint token exchange --token-file tok", ["token", "exchange", "--token-file", "tokenmint.toml"]),
    ("tokenmint revoke audience glo", ["revoke", "audience", "glob*"]),
    (r"tokenmint revoke audience \$", ["revoke", "audience", "$(touch pwned)"]),
    (r"tokenmint revoke audience \\", ["revoke", "audience", r"\$(touch pwned)"]),
]
"""Lines up to the key Tab, and the arguments that the program gets when Return follows."""
QUOTED = [
    (f"tokenmint revoke audience {quote}{name[0]}", ["revoke", "audience", name])
    for name in (r'q"$(touch pwned)\`', "r'$(touch pwned)")
    for quote in "\"'"
]
"""Further ones for bash, which inserts a completion within quotes as it is. The other shells escape it themselves."""
WITH_URLS = [(line, expected) for line, expected in LINES if "://a" in line and '"' not in line]


class Typist:
    """Types at a terminal, and reads up to the end of the answer."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def type(self, keys: str) -> str:
        """Return all that the terminal shows, up to the end of the program's output."""
        os.write(self._terminal, keys.encode())
        shown = b""
        deadline = time.monotonic() + START_LIMIT
        while b"END OF LINE" not in shown:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, shown
            shown += os.read(self._terminal, 65536)
        return shown.decode()


@contextmanager
def typing(directory: Path, *words: str, programs: Path, setup: str) -> Iterator[Typist]:
    """A shell on a terminal, which asks the program of a folder, and in which its name prints its arguments."""
    shown = f"tokenmint() {{ {PRINTING}; }}; echo 'END' 'OF LINE'"
    path = f"{programs}:{os.environ['PATH']}"
    variables = environment(PATH=path, TERM="dumb", COLUMNS="400", PS1="", HOME=str(directory))
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  # another process
        os.chdir(directory)
        os.execvpe(words[0], words, variables)  # noqa: S606  # the shell itself is what is tested
    try:
        typist = Typist(terminal)
        typist.type(f"stty -echo cols 400; {setup}; {shown}\n")
        yield typist
    finally:
        os.close(terminal)  # the shell gets SIGHUP
        os.waitpid(pid, 0)


def arguments(shown: str) -> list[str]:
    """The arguments in the program's last line."""
    line = shown.partition("END OF LINE")[0].rstrip().splitlines()[-1]
    return line.removeprefix("<").removesuffix(">").split("><")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "programs", "setup", "lines"),
    [
        (("bash", "--norc", "--noprofile", "-i"), folder, "source <(tokenmint completion bash)", LINES + QUOTED),
        (
            ("bash", "--norc", "--noprofile", "-i"),
            installed,
            "COMP_WORDBREAKS=' '; source <(tokenmint completion bash)",
            WITH_URLS,
        ),
        (("zsh", "-f", "-i"), folder, "autoload -U compinit; compinit -D; source <(tokenmint completion zsh)", LINES),
    ],
    ids=["bash", "bash-without-separators", "zsh"],
)
def test_the_key_tab_completes_words_with_separators_and_runs_nothing(
    tmp_path: Path,
    words: tuple[str, ...],
    programs: Callable[[], Path],
    setup: str,
    lines: list[tuple[str, list[str]]],
) -> None:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    (tmp_path / "tokenmint.toml").write_text(TYPED)
    (tmp_path / "bin").mkdir()
    elsewhere = tmp_path / "bin" / "tokenmint"
    elsewhere.write_text(f'#!/bin/sh\n[ -n "${VARIABLE}" ] && exec {programs() / "tokenmint"}\n{PRINTING}\n')
    elsewhere.chmod(0o755)
    with typing(tmp_path, *words, programs=programs(), setup=setup) as typist:
        for line, expected in lines:
            assert arguments(typist.type(f"{line}\t\n")) == expected, line
    assert not (tmp_path / "pwned").exists()


@pytest.mark.processes
def test_fish_completes_words_with_separators_and_runs_nothing(tmp_path: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed")
    (tmp_path / "tokenmint.toml").write_text(TYPED)
    asked = "; ".join(
        "complete -C'" + re.sub(r"([\\'])", r"\\\1", line) + "'; echo END"
        for line, _ in LINES
        if not line.endswith("\\")
    )
    outcome = subprocess.run(
        [fish, "--no-config", "-c", f"tokenmint completion fish | source; {asked}"],
        env=environment(PATH=f"{folder()}:{os.environ['PATH']}", HOME=str(tmp_path)), cwd=tmp_path,
        capture_output=True, text=True, timeout=START_LIMIT, check=True,
    )  # fmt: skip
    found = [shown.strip().partition("\t")[0] for shown in outcome.stdout.split("END\n")]
    assert found[:-1] == [expected[-1] for line, expected in LINES if not line.endswith("\\")]
    assert not (tmp_path / "pwned").exists()
