"""docs/tutorial.md, followed: every program, every command, the configuration, and every answer that it shows."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from tests.guides import need
from tests.pages import ROOT, shell
from tests.tutorial import LANES, PAGE, Reader

pytestmark = pytest.mark.processes


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reading = Reader(tmp_path)
    try:
        yield reading
    finally:
        reading.stop()


def key_id(token: str) -> str:
    return str(jwt.get_unverified_header(token.strip())["kid"])


def test_the_tutorial_does_what_it_says(reader: Reader) -> None:
    need("curl")
    ran = reader.follow()
    assert {"login.py", "service.py"} < set(ran)
    assert len(ran) > 20
    before, after = (key_id((reader.directory / name).read_text()) for name in ("token.txt", "new-token.txt"))
    assert before != after  # the service accepted tokens of both keys


def test_the_commands_in_a_checkout(reader: Reader) -> None:
    make, exports = [block.text for block in reader.blocks if block.mark == "checkout"]
    assert make.splitlines() == ["make demo"]  # the job `demo` of .ci/run executes it
    for line in make.splitlines():
        assert subprocess.run([*shlex.split(line), "-n"], cwd=ROOT, capture_output=True, check=False).returncode == 0
    done = shell(ROOT, f"{exports}\ncd /\npython -c 'import tokenmint_client; print(tokenmint_client.__file__)'")
    assert done.stdout.startswith(str(ROOT / "clients" / "python")), done.stderr


def test_every_block_is_one_that_something_executes(reader: Reader) -> None:
    envoy = [line.strip() for line in (ROOT / "deploy" / "envoy" / "envoy.yaml").read_text().splitlines()]
    for at, block in enumerate(reader.blocks):
        place = f"line {block.line}: nothing executes it"
        if block.kind in ("json", "text"):
            assert reader.blocks[at - 1].kind in ("sh", "python"), place
        elif block.kind == "yaml":
            shown = [line.strip() for line in block.text.splitlines()]
            assert any(envoy[start : start + len(shown)] == shown for start in range(len(envoy))), place
        elif block.kind == "python":
            assert block.mark in ("", "login.py", "service.py"), place
        elif block.kind == "sh":
            assert block.mark in ("", *LANES), place
            assert not block.mark or PAGE.name in (ROOT / LANES[block.mark]).read_text(), place
        else:
            assert (block.kind, block.mark) == ("toml", "") or (not block.kind and "──▶" in block.text), place
