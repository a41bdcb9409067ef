"""Standard output and error that are closed, or that nobody reads, neither stop nor end a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.processes]

SAY = """
from tokenmint.base.standard_streams import hold, say, show
hold()
{function}("tokenmint: a line\\n")
open("went-on", "w").close()
"""
READY = """
from tokenmint.base.standard_streams import hold
hold()
from tokenmint.cli.serve import print_ready_text
from tokenmint.process.supervisor import Ready, print_ready
for announce in (print_ready_text, print_ready):
    announce(Ready(1, dict.fromkeys(("grpc", "admin", "http", "ops"), "127.0.0.1:1")))
open("went-on", "w").close()
"""
KINDS = ["closed", "reader gone", "nobody reads", "no room"]


def run(program: str, directory: Path, stream: str, target: int | None) -> int:
    """Run a program with one of its standard streams elsewhere (None: closed); return its exit status."""
    command = [sys.executable, "-c", program]
    if target is None:
        command = ["sh", "-c", f'exec "$@" {1 if stream == "stdout" else 2}>&-', "sh", *command]
    elsewhere = target if target is not None else subprocess.DEVNULL
    done = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, timeout=120, check=False,
        stdout=elsewhere if stream == "stdout" else subprocess.DEVNULL,
        stderr=elsewhere if stream == "stderr" else subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("function", "stream"), [("show", "stdout"), ("say", "stderr")], ids=["stdout", "stderr"])
def test_a_line_that_nobody_takes_ends_nothing(tmp_path: Path, function: str, stream: str, kind: str) -> None:
    assert through(SAY.format(function=function), tmp_path, stream, kind) == 0
    assert (tmp_path / "went-on").exists()


def test_a_ready_line_that_nobody_takes_ends_nothing(tmp_path: Path) -> None:
    assert through(READY, tmp_path, "stdout", "reader gone") == 0
    assert (tmp_path / "went-on").exists()


def through(program: str, directory: Path, stream: str, kind: str) -> int:
    if kind == "closed":
        return run(program, directory, stream, None)
    if kind == "no room":
        with open("/dev/full", "wb") as device:  # noqa: PTH123  # a device
            return run(program, directory, stream, device.fileno())
    reading, writing = os.pipe()
    try:
        if kind == "reader gone":
            os.close(reading)
        else:
            os.set_blocking(writing, False)
            try:
                while os.write(writing, b"x" * 4096):
                    pass
            except BlockingIOError:
                os.set_blocking(writing, True)
        return run(program, directory, stream, writing)
    finally:
        os.close(writing)
        if kind != "reader gone":
            os.close(reading)


def test_a_closed_standard_error_stands_for_no_file_that_is_opened_later(tmp_path: Path) -> None:
    program = """
import os, socket
from tokenmint.base.standard_streams import ERROR, hold, say
hold()
one, other = socket.socketpair()
say("tokenmint: a line of the log\\n")
other.setblocking(False)
try:
    other.recv(100)
except BlockingIOError:
    open("nothing-came", "w").close()
assert 2 not in (one.fileno(), other.fileno())
assert ERROR.writer.problem == "the log can't be written (EBADF)"
"""
    assert run(program, tmp_path, "stderr", None) == 0
    assert (tmp_path / "nothing-came").exists()


def test_grpcs_core_writes_nothing_by_itself_unless_it_is_asked_to(tmp_path: Path) -> None:
    """It writes from C, where no queue is before it: a pipe that nobody reads would stop the thread that writes."""
    program = """
import socket
import tokenmint
import grpc
from concurrent.futures import ThreadPoolExecutor
taken = socket.socket()
taken.bind(("127.0.0.1", 0))
taken.listen()
server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
try:
    server.add_insecure_port(f"127.0.0.1:{taken.getsockname()[1]}")
except RuntimeError:
    open("went-on", "w").close()
"""
    kept = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    for asked, told in (({}, b""), ({"GRPC_VERBOSITY": "ERROR"}, b"Failed to add port")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=kept | asked,
            capture_output=True,
            timeout=120,
            check=True,
        )
        assert (told in done.stderr) if told else not done.stderr
    assert (tmp_path / "went-on").exists()
