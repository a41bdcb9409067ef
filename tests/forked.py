"""`tokenmint` in a fork of a process that has loaded it: loading takes 0.2 to 0.7 s of computing in each start.

A fork calls the command's own `main`, with arguments, directory, environment and standard streams of its own. Tests of
starting itself, and those that change how the interpreter starts, use `Service`: the command as it is installed.
"""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any, Final

from tests.process import START_LIMIT, Service, ServiceWithLog, environment

LOADED: Final = [
    "tokenmint.cli.serve", "tokenmint.process.worker", "tokenmint.rpc.native", "tokenmint.formats.app_service",
    "tokenmint.formats.reference", "uvicorn.protocols.http.auto", "uvicorn.lifespan.off", "uvloop",
    "tokenmint.cli.clients", "tokenmint.cli.config", "tokenmint.cli.init", "tokenmint.cli.keys",
    "tokenmint.cli.profiles", "tokenmint.cli.providers", "tokenmint.cli.token", "typer._adapters",
    "anyio._backends._asyncio", "rich.console", "rich.table", "tests.frozen",
]  # fmt: skip
_forks: Final = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(LOADED)
_lock: Final = threading.Lock()
"""Held where the state of a fork is read: its status can be read once."""


def share_server() -> None:
    """Start the process that forks, for this process and its own forks: otherwise each would load one for itself."""
    server = forkserver._forkserver  # the class has no public way to say that one runs
    server.ensure_running()
    os.register_at_fork(after_in_child=lambda: setattr(server, "ensure_running", lambda: None))


def _main(
    module: str, arguments: tuple[str, ...], directory: str, environ: Mapping[str, str], streams: tuple[Any, ...]
) -> None:
    """Run the `main` of the command line, or of another module, in the fork."""
    for descriptor, stream in enumerate(streams):
        os.dup2(given := stream.detach(), descriptor)
        os.close(given)
    sys.stdin = os.fdopen(0, closefd=False)
    for stream in (sys.stdout, sys.stderr):  # Python does it where it starts with a terminal
        stream.reconfigure(line_buffering=stream is sys.stderr or os.isatty(1))  # type: ignore[union-attr]  # files
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["tokenmint", *arguments]
    sys.exit(importlib.import_module(module).main())


class Fork:
    """A fork, with the part of `subprocess.Popen` that tests use. ``streams``: its standard streams' descriptors."""

    stdout: IO[str]

    def __init__(
        self,
        arguments: tuple[str, ...],
        directory: Path,
        environ: Mapping[str, str],
        streams: tuple[int, int, int],
        module: str = "tokenmint.cli",
    ) -> None:
        with _lock:
            work = (module, arguments, str(directory), environ, tuple(DupFd(stream) for stream in streams))
            self._process = _forks.Process(target=_main, args=work, daemon=True)
            self._process.start()
        self.pid: int = self._process.pid or 0

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs; the negative number of the signal that ended it."""
        with _lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its exit status."""
        wait([self._process.sentinel], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired("tokenmint", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """End it as an operator would."""
        self.send_signal(signal.SIGTERM)


class ForkedService(Service):
    """A running `tokenmint serve`, started more quickly."""

    def _start(self, arguments: tuple[str, ...], errors: int | None, changes: Mapping[str, str]) -> Any:
        assert errors is not None, "Python itself starts in another way without a standard error"
        reading, writing = os.pipe()
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # a device
            fork = Fork(arguments, self.directory, environment(**changes), (nothing.fileno(), writing, errors))
        os.close(writing)
        fork.stdout = os.fdopen(reading, encoding="utf-8")
        return fork


class ForkedWithLog(ServiceWithLog, ForkedService):
    """One whose standard error is the descriptor ``log``, which is open: Python itself starts otherwise without one."""


def run_forked(
    *arguments: str, directory: Path, stdin: str = "", module: str = "tokenmint.cli", **changes: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command line, or the `main` of another module, to its end, in a fork."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        given.write(stdin)
        given.seek(0)
        streams = (given.fileno(), out.fileno(), err.fileno())
        status = Fork(arguments, directory, environment(**changes), streams, module).wait(START_LIMIT)
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess(arguments, status, out.read(), err.read())
