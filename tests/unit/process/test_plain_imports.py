"""A worker loads no package that it never uses: each would take memory and a part of the start."""

import subprocess
import sys

import pytest

UNUSED = ("rich", "h2", "grpc_channelz")


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("start", ["process.worker", "cli.serve, tokenmint.process.worker", "cli.edge"])
def test_a_process_that_serves_loads_no_package_that_it_never_uses(start: str) -> None:
    program = (
        "import sys\n"
        f"import tokenmint.{start}\n"
        f"loaded = [name for name in {UNUSED} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
        "import rich, h2.connection\n"  # of others that do use them
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
