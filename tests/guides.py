"""Somebody who follows a guide: writes its configuration, serves, and types its commands from the first to the last.

Where a guide names a real provider, an issuer on loopback stands in its place: it signs as the real one, and the
configuration says where its keys are. Ports are free ones in place of the usual ones. Nothing else is changed.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from tests.forked import ForkedService
from tests.issuer import Issuer
from tests.pages import PATIENCE, PORTS, ROOT, Block, blocks_of, check_output, like, rows_of, shell
from tests.process import CLIENT, OPERATOR, Service, environment
from typer.testing import CliRunner

from tokenmint.cli import app, run
from tokenmint.config.load import load

GUIDES: Final = ROOT / "docs" / "guides"
NOBODYS: Final = "0000000000000000000000000000000000000000000000000000000000000000"
"""The placeholder for a secret's hash in the pages."""
LANES: Final = {
    "firebase": "tests/firebase/test_guide.py",
    "envoy": "tests/interop/test_guide.py",
    "gateways": "tests/gateways/test_guide.py",
    "kubernetes": "tests/e2e/test_kubernetes_guide.py",
    "relying-parties": "tests/relying_parties/test_guide.py",
}
"""The runners of blocks that need more than Python, by the second word of their fence."""
KINDS: Final = frozenset({"sh", "toml", "json", "text", "python", "yaml"})
ANSWERS: Final = frozenset({"json", "text"})
USUAL: Final = {
    "grpc": "127.0.0.1:7443",
    "admin": "127.0.0.1:7444",
    "http": "127.0.0.1:8080",
    "console": "127.0.0.1:7445",
}
HEAD: Final = f"""\
data_dir = "data"

[operators.admin]
secrets = ["sha256:{OPERATOR.fingerprint()}"]
roles = ["viewer", "operator", "security"]

"""
COMMANDS: Final = """\
set -euo pipefail
tokenmint() {
  case "$1 ${2-}" in
    "profiles "*|"keys "*|"providers "*|"audit "*|"top "*|"revoke "*|"token explain")
      TOKENMINT_TARGET=$ADMIN TOKENMINT_CLIENT_ID=admin TOKENMINT_SECRET_FILE=admin.secret command tokenmint "$@" ;;
    *) TOKENMINT_TARGET=$DATA TOKENMINT_CLIENT_ID=web TOKENMINT_SECRET_FILE=web.secret command tokenmint "$@" ;;
  esac
}
"""
"""The environment that docs/guides/README.md speaks of."""


def need(program: str) -> None:
    """Skip, with a line that says so, where a program is missing; fail where every lane has to run."""
    if shutil.which(program) is not None:
        return
    missing = f"{program} is not installed, and the page uses it"
    if os.environ.get("TOKENMINT_REQUIRE_LANES"):
        pytest.fail(missing)
    pytest.skip(missing)


Tokens = Callable[[Issuer, float], Mapping[str, str]]


def _none(_: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The stand-ins for the things that a guide takes for granted."""

    replaced: Sequence[tuple[str, str]] = ()
    """In its configuration; `{issuer}` is the URL of the issuer on loopback."""
    tokens: Tokens = lambda _, __: {}
    """Files with tokens, written anew before each block."""
    prepare: Callable[[Path], None] = _none
    """Writes the files that the guide says are there."""
    environ: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    """The addresses that stand in for those that the page shows."""
    started: Mapping[str, Callable[["Walk"], None]] = field(default_factory=dict)
    """The starters of programs that run on, by the words of their command."""


class Walk:
    """One walk through one guide."""

    def __init__(self, page: Path, directory: Path, issuer: Issuer, setting: Setting) -> None:
        self.page = page
        self.directory = directory
        self.issuer = issuer
        self.setting = setting
        self.service: Service | None = None
        self.beside: list[subprocess.Popen[bytes]] = []
        """Programs that the page starts beside the service."""
        self.config = directory / "tokenmint.toml"
        self.blocks = blocks_of(page)
        self.addresses = dict(setting.addresses)
        self.commands: dict[str, Callable[[str], str]] = {}
        """The runners of blocks that begin with a program that is not there, by its name."""
        for name, secret in (("admin", OPERATOR), ("web", CLIENT)):
            (directory / f"{name}.secret").write_text(secret.reveal() + "\n")
        setting.prepare(directory)

    def configuration(self, mark: str = "") -> str:
        """Return the page's configuration, with what stands in for the real world."""
        text = "\n".join(block.text for block in self.blocks if block.kind == "toml" and block.mark == mark)
        return self.in_place(with_head(text))

    def in_place(self, text: str) -> str:
        """Put the stand-ins in their place."""
        for before, after in self.setting.replaced:
            text = text.replace(before, after.replace("{issuer}", self.issuer.url))
        return text.replace(NOBODYS, CLIENT.fingerprint())

    def serve(self, *arguments: str, text: str | None = None) -> None:
        """Write the configuration, check it as it is shown, and serve on it."""
        self.config.write_text(text if text is not None else self.configuration())
        for name in tomllib.loads(self.config.read_text()).get("clients", {}):
            (self.directory / f"{name}.secret").write_text(CLIENT.reveal() + "\n")
        self.start(*arguments)

    def start(self, *arguments: str) -> None:
        """Serve on the configuration that is there."""
        self.stop()
        self.service = ForkedService(self.directory, *arguments, **{**PORTS, **self.setting.environ})

    def stop(self) -> None:
        """Stop serving, and what was started beside."""
        for program in self.beside:
            program.terminate()
            program.wait(timeout=PATIENCE)
        self.beside.clear()
        if self.service is not None:
            self.service.stop()
            self.service = None

    def follow(self, lane: str = "") -> int:
        """Execute the blocks of a lane, those that no lane is named for unless told otherwise; return how many."""
        ran = 0
        if any("curl " in block.text for block in self.blocks if block.kind == "sh" and block.mark == lane):
            need("curl")
        for index, block in enumerate(self.blocks):
            if block.kind not in ("sh", "python") or block.mark != lane:
                continue
            following = self.blocks[index + 1] if index + 1 < len(self.blocks) else None
            answer = following if following is not None and following.kind in ANSWERS else None
            self.step(block, answer)
            ran += 1
        return ran

    def step(self, block: Block, answer: Block | None) -> None:
        """Execute one block and compare its outcome with what is shown."""
        if block.text.strip() in self.setting.started:
            self.setting.started[block.text.strip()](self)
            return
        serving = re.fullmatch(r"(?:[A-Z_]+=\S+ )*tokenmint serve(.*)\n", block.text)
        if serving is not None:
            self.start(*serving[1].split())
            return
        shown = Block(answer.kind, answer.mark, self.placed(answer.text), answer.line) if answer is not None else None
        if (program := self.commands.get(block.text.split()[0])) is not None:
            done = subprocess.CompletedProcess(block.text, 0, program(block.text), "")
        else:
            done = self.run(block.text) if block.kind == "sh" else self.python(block.text)
        check_output(block, shown, done)

    def placed(self, text: str) -> str:
        """Return a text with the addresses of the service that runs."""
        for name, usual in USUAL.items():
            if self.service is not None and name in self.service.listen:
                text = text.replace(usual, self.service.listen[name])
        for usual, actual in self.addresses.items():
            text = text.replace(usual, actual)
        return text

    def run(self, text: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run commands as the page's reader does."""
        self.refresh()
        listen = self.service.listen if self.service is not None else USUAL
        where = {"DATA": listen["grpc"], "ADMIN": listen["admin"]}
        return shell(self.directory, COMMANDS + self.placed(text), **where, **self.setting.environ, **environ)

    def python(self, text: str) -> "subprocess.CompletedProcess[str]":
        """Run a program."""
        self.refresh()
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", self.placed(text)], cwd=self.directory,
            env=environment(PYTHONPATH=str(ROOT / "clients" / "python" / "src")),
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def refresh(self) -> None:
        """Write the tokens that the page's reader has, fresh ones."""
        for name, token in self.setting.tokens(self.issuer, time.time()).items():
            (self.directory / name).write_text(token)


def with_head(text: str) -> str:
    """Return a configuration with the tables that a guide takes for granted, behind the keys that are in no table."""
    before, table, rest = text.partition("[")
    return f"{before}{HEAD}{table}{rest}"


Provocation = Callable[[Walk], str]


def token(
    *, audience: str = "https://orders.example.com", options: str = "", file: str = "", **claims: Any
) -> Provocation:
    """Return what exchanges a token with other claims than the page's, or the text of a file."""

    def provoke(walk: Walk) -> str:
        given: dict[str, Any] = dict(claims)
        now = time.time() + given.pop("later", 0)
        text = given.pop("text", None) or walk.issuer.token(now, **given)
        (walk.directory / "other.txt").write_text(text)
        name = file or "other.txt"
        return told(walk, f"tokenmint token exchange --audience {audience} --token-file {name} {options}")

    return provoke


def command(text: str) -> Provocation:
    """Return what runs commands that are refused."""
    return lambda walk: told(walk, text)


def config(before: str, after: str, **environ: str) -> Provocation:
    """Return what checks the page's configuration with a mistake in it."""

    def provoke(walk: Walk) -> str:
        text = walk.configuration()
        assert before in text, before
        (walk.directory / "mistaken.toml").write_text(text.replace(before, after))
        said = told(walk, "tokenmint config check --config mistaken.toml", **environ)
        return re.sub(r" \(line \d+\)$", "", said, flags=re.MULTILINE)  # of the guide's own file

    return provoke


def told(walk: Walk, text: str, **environ: str) -> str:
    """Return what commands that are refused say. A single one of tokenmint's is run in this process, which is quick."""
    if re.fullmatch(r"tokenmint [\w \-./:]+", text):
        status, said = _in_process(walk, shlex.split(text)[1:], environ)
    else:
        done = walk.run(text, **environ)
        status, said = done.returncode, done.stdout + done.stderr
    assert status != 0, f"{text}\n{said}"
    return said


def _in_process(walk: Walk, arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str]:
    wrapper = typer.Typer(add_completion=False)

    @wrapper.command()
    def invoke() -> None:
        raise typer.Exit(run(lambda: app(placed)))

    placed = [walk.placed(argument) for argument in arguments]
    walk.refresh()
    data = walk.service.listen["grpc"] if walk.service is not None else USUAL["grpc"]
    caller = {"TOKENMINT_TARGET": data, "TOKENMINT_CLIENT_ID": "web", "TOKENMINT_SECRET_FILE": "web.secret"}
    with contextlib.chdir(walk.directory):
        result = CliRunner().invoke(wrapper, [], env={**caller, **walk.setting.environ, **environ})
    return result.exit_code, result.stdout + result.stderr


def check_rows(walk: Walk, provocations: Sequence[Provocation]) -> None:
    """Compare the refusals that a page names, word by word, with what the service says: none more, none fewer."""
    rows = [walk.placed(row) for row in rows_of(walk.page)]
    assert rows, "the page does not say what goes wrong"
    missing = dict.fromkeys(rows)
    for provoke in provocations:
        lines = [line.strip().removeprefix("tokenmint: ") for line in provoke(walk).splitlines()]
        met = [row for row in rows if any(like(row, line) for line in lines)]
        assert met, "is not in the page: " + "\n".join(lines)
        for row in met:
            missing.pop(row, None)
    assert list(missing) == [], f"nobody was told this: {list(missing)}"


def check_configuration(walk: Walk) -> None:
    """Load every piece of configuration as it is shown: the page's, and each alternative in the place of its tables."""
    text = "\n".join(block.text for block in walk.blocks if block.kind == "toml" and not block.mark)
    walk.config.write_text(with_head(text))
    load(walk.config, {})
    whole = [block.text for block in walk.blocks if block.kind == "toml" and block.mark == ""]
    for block in walk.blocks:
        if block.kind == "toml" and block.mark == "alternative":
            heads = set(re.findall(r"^\[.*\]$", block.text, re.MULTILINE))
            assert heads, block.text
            parts = [part for text in whole for part in re.split(r"^(?=\[)", text, flags=re.MULTILINE)]
            kept = "".join(part for part in parts if part.partition("\n")[0].partition("  ")[0] not in heads)
            walk.config.write_text(with_head(kept + "\n" + block.text))
            load(walk.config, {})
