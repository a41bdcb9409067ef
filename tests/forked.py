"""`tokenmint serve` in a fork of a process that has loaded it: loading takes 0.7 s of computing in each start.

A fork calls the command's own `main`, with arguments, directory, environment and standard streams of its own. Tests of
starting itself, and those that change how the interpreter starts, use `Service`: the command as it is installed.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Final

from tests.process import Service, ServiceWithLog, environment

LOADED: Final = [
    "tokenmint.cli.serve", "tokenmint.process.worker", "tokenmint.rpc.native", "tokenmint.formats.app_service",
    "tokenmint.formats.reference", "uvicorn.protocols.http.auto", "uvicorn.lifespan.off", "uvloop",
]  # fmt: skip
_forks: Final = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(LOADED)
_lock: Final = threading.Lock()
"""Held where the state of a fork is read: its status can be read once."""


def _serve(arguments: tuple[str, ...], directory: str, environ: Mapping[str, str], output: Any, errors: Any) -> None:
    """Serve in the fork."""
    from tokenmint.cli import main

    for stream, descriptor in ((output, 1), (errors, 2)):
        os.dup2(given := stream.detach(), descriptor)
        os.close(given)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["tokenmint", *arguments]
    main()


class Fork:
    """A fork, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, arguments: tuple[str, ...], directory: Path, environ: Mapping[str, str], errors: int) -> None:
        reading, writing = os.pipe()
        with _lock:
            work = (arguments, str(directory), environ, DupFd(writing), DupFd(errors))
            self._process = _forks.Process(target=_serve, args=work, daemon=True)
            self._process.start()
        os.close(writing)
        self.stdout = os.fdopen(reading, encoding="utf-8")
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
            raise subprocess.TimeoutExpired("tokenmint serve", timeout or 0.0)
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
        return Fork(arguments, self.directory, environment(**changes), errors)


class ForkedWithLog(ServiceWithLog, ForkedService):
    """One whose standard error is the descriptor ``log``, which is open: Python itself starts otherwise without one."""
