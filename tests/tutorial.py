"""A reader who follows docs/tutorial.md from its first block to its last, in one empty folder.

Only the addresses are other ones: free ports in place of the usual ones. The programs and the configuration are saved
as the page tells, and the exports of one block hold for all later ones, as in a terminal.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from tests.forked import ForkedService
from tests.forked_commands import folder
from tests.guides import ANSWERS, NOBODYS, USUAL
from tests.pages import PATIENCE, PORTS, ROOT, Block, blocks_of, check_output, shell
from tests.process import Service, environment

PAGE: Final = ROOT / "docs" / "tutorial.md"
LANES: Final = {
    "checkout": "tests/e2e/test_tutorial.py",
    "packages": "release/installing.py",
    "envoy": "tests/interop/test_guide.py",
}
"""The runners of blocks that are not commands of the walk itself, by the second word of their fence."""
SERVICE: Final = '("127.0.0.1", 9000)'
_OPERATORS: Final = re.compile(r"tokenmint (profiles|keys) ")
_EXPORTS: Final = re.compile(r"^export (TOKENMINT_.+)$", re.MULTILINE)
_SECRETS: Final = re.compile(r'secrets = \["sha256:(\w+)"\]')


class Reader:
    """A walk through the tutorial. ``started``: the starters of programs that run on, by their command."""

    def __init__(self, directory: Path, started: Mapping[str, Callable[["Reader"], None]] | None = None) -> None:
        self.directory = directory
        self.started = {"tokenmint serve": Reader.serve, "python service.py": Reader.protect, **(started or {})}
        self.blocks = blocks_of(PAGE)
        self.service: Service | None = None
        self.protected: subprocess.Popen[str] | None = None
        self.addresses: dict[str, str] = {}
        self.exports = ""
        self.hashes: list[str] = []

    def follow(self, lanes: Collection[str] = ()) -> list[str]:
        """Execute the walk's own blocks and those of some lanes; return the marks of the executed ones."""
        ran = []
        for block, following in zip(self.blocks, [*self.blocks[1:], None], strict=True):
            if block.mark in LANES and block.mark not in lanes:
                continue
            if block.kind == "toml":
                self.configure(block.text)
            elif block.kind == "python" and block.mark:
                (self.directory / block.mark).write_text(self.placed(block.text))
            elif block.kind in ("sh", "python"):
                answer = following if following is not None and following.kind in ANSWERS else None
                self.step(block, answer)
            else:
                continue
            ran.append(block.mark)
        return ran

    def step(self, block: Block, answer: Block | None) -> None:
        """Execute one block and compare its outcome with the one that is shown."""
        start = self.started.get(block.text.strip())
        if start is not None:
            start(self)
            return
        done = self.python(block.text) if block.kind == "python" else self.run(block.text)
        check_output(block, answer, done)
        self.hashes += _SECRETS.findall(done.stdout)

    def configure(self, text: str) -> None:
        """Save the configuration, each line of zeros replaced by the line of a command, in their order."""
        assert text.count(NOBODYS) == len(self.hashes) == 2, "there is one hash for each secret"
        for fingerprint in self.hashes:
            text = text.replace(NOBODYS, fingerprint, 1)
        (self.directory / "tokenmint.toml").write_text(text)

    def serve(self) -> None:
        """Serve, as in the first terminal."""
        self.service = ForkedService(self.directory, **PORTS)
        self.addresses |= {USUAL[name]: self.service.listen[name] for name in ("grpc", "admin", "http")}

    def protect(self) -> None:
        """Start the protected service, as in the third terminal, on a free port."""
        program = self.directory / "service.py"
        text = program.read_text()
        assert SERVICE in text
        program.write_text(text.replace(SERVICE, SERVICE.replace("9000", "0")))
        self.protected = subprocess.Popen(
            ["bash", "-c", f"{self.checkout()}\nexec python service.py"],
            cwd=self.directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.protected.stdout is not None
        self.addresses["127.0.0.1:9000"] = self.protected.stdout.readline().removeprefix("listening on ").strip()

    def stop(self) -> None:
        """Stop what was started."""
        if self.protected is not None:
            self.protected.terminate()
            self.protected.wait(PATIENCE)
            if self.protected.stdout is not None:
                self.protected.stdout.close()
        if self.service is not None:
            self.service.stop()

    def checkout(self) -> str:
        """Return the exports that the page asks for in a checkout, for the shell of a terminal."""
        (exports,) = [block.text for block in self.blocks if block.mark == "checkout" and "export" in block.text]
        return f'cd "{ROOT}"\n{exports}cd "{self.directory}"\nexport PATH="{folder()}:$PATH"\nset -euo pipefail'

    def run(self, text: str) -> "subprocess.CompletedProcess[str]":
        """Run commands in the second terminal."""
        listener = "admin" if _OPERATORS.search(text) else "grpc"
        target = {"TOKENMINT_TARGET": self.service.listen[listener]} if self.service is not None else {}
        done = shell(self.directory, f"{self.checkout()}\n{self.exports}{self.placed(text)}", **target)
        self.exports += "".join(f"export {said}\n" for said in _EXPORTS.findall(text))
        return done

    def python(self, text: str) -> "subprocess.CompletedProcess[str]":
        """Run a program."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", self.placed(text)], cwd=self.directory, env=environment(),
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def placed(self, text: str) -> str:
        """Return a text with the addresses of this walk."""
        for usual, actual in self.addresses.items():
            text = text.replace(usual, actual)
        return text
