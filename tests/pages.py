"""Pages of the documentation, followed: their commands, their configuration, and the answers that they show."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.forked_commands import folder
from tests.process import environment

ROOT: Final = Path(__file__).resolve().parents[1]
PORTS: Final = {f"TOKENMINT_LISTEN__{name}": "127.0.0.1:0" for name in ("GRPC", "ADMIN", "HTTP", "OPS")}
PATIENCE: Final = 120.0  # seconds for one block
_FENCE: Final = re.compile(r"( *)```(.*)")
_ROW: Final = re.compile(r"^\| `(.+?)` \| \S")
_ANY_NUMBER: Final = frozenset({"idx", "iat", "exp", "nbf", "auth_time", "expires_in"})
"""Members whose number is different every time."""
REST: Final = "…"
"""In an answer that a page shows: anything."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    kind: str
    """Its language; empty for pictures."""
    mark: str
    """The second word of its fence: the lane that executes it, or how it is meant."""
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order, without the indentation of a list that they are in."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    at = 0
    while at < len(lines):
        opened = _FENCE.fullmatch(lines[at])
        at += 1
        if opened is None:
            continue
        start = at
        while lines[at].strip() != "```":
            at += 1
        text = "".join(line.removeprefix(opened[1]) + "\n" for line in lines[start:at])
        kind, _, mark = opened[2].partition(" ")
        found.append(Block(kind, mark, text, start))
        at += 1
    return found


def texts(page: Path, kind: str) -> list[str]:
    """Return the texts of the blocks of one kind."""
    return [block.text for block in blocks_of(page) if block.kind == kind]


def rows_of(page: Path) -> list[str]:
    """Return the first cells, where they are literal text, of the rows of a page's tables."""
    return [row[1].replace("\\|", "|") for line in page.read_text().splitlines() if (row := _ROW.match(line))]


def shell(directory: Path, text: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run commands as somebody with this installation does; those of `tokenmint` do their work in a fork."""
    return _shell(directory, text, environ, folder(), Path(sys.executable).parent)


def installed_shell(directory: Path, text: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run commands as somebody with this installation does, with the program that is installed."""
    return _shell(directory, text, environ, Path(sys.executable).parent)


def _shell(
    directory: Path, text: str, environ: Mapping[str, str], *folders: Path
) -> "subprocess.CompletedProcess[str]":
    path = {"PATH": ":".join([*map(str, folders), "/usr/bin", "/bin"])}
    return subprocess.run(
        ["bash", "-c", text],
        cwd=directory,
        env=environment(**{**path, **environ}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def like(shown: str, told: str) -> bool:
    """Tell whether a shown line is what was told, its `…` aside."""
    return re.fullmatch(".*".join(re.escape(part) for part in shown.split(REST)), told, re.DOTALL) is not None


def differences(shown: Any, told: Any, place: str = "the answer") -> list[str]:
    """Return in what an answer is not as it is shown: no member too many, none too few, every value the same.

    A member `…` stands for further ones; `…` within a text for any text; times are any number.
    """
    if isinstance(shown, dict) and isinstance(told, dict):
        names = shown.keys() - {REST}
        found = [f"{place}: has no {name!r}" for name in sorted(names - told.keys())]
        if REST not in shown:
            found += [f"{place}: has {name!r}, which is not shown" for name in sorted(told.keys() - names)]
        for name in sorted(names & told.keys()):
            number = isinstance(shown[name], int) and isinstance(told[name], int)
            if not (name in _ANY_NUMBER and number):
                found += differences(shown[name], told[name], f"{place}.{name}")
        return found
    if isinstance(shown, list) and isinstance(told, list) and len(shown) == len(told):
        pairs = enumerate(zip(shown, told, strict=True))
        return [line for index, (one, other) in pairs for line in differences(one, other, f"{place}[{index}]")]
    if isinstance(shown, str) and isinstance(told, str) and like(shown, told):
        return []
    return [] if shown == told and type(shown) is type(told) else [f"{place}: is {told!r}, and {shown!r} is shown"]


def last_document(text: str) -> Any:
    """Return the last of the JSON documents that commands have printed, each from the beginning of a line."""
    decoder, found, at = json.JSONDecoder(), None, 0
    while at < len(text):
        if text[at] in "{[":
            found, at = decoder.raw_decode(text, at)
        at = text.find("\n", at) + 1 or len(text)
    return found


def check_output(block: Block, answer: Block | None, done: "subprocess.CompletedProcess[str]") -> None:
    """Compare what a block of commands did with the block that shows it, where there is one."""
    what = f"line {block.line}:\n{block.text}\nstatus {done.returncode}\n{done.stdout}\n{done.stderr}"
    refusal = answer is not None and (answer.mark == "refused" or answer.text.startswith("tokenmint: "))
    assert (done.returncode != 0) == refusal, what
    if answer is None:
        return
    if answer.kind == "json":
        found = differences(json.loads(answer.text), last_document(done.stdout))
        assert found == [], "\n".join([*found, what])
        return
    told_lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
    for line in answer.text.splitlines():
        assert any(like(line.rstrip(), told) for told in told_lines), f"not told: {line}\n{what}"
