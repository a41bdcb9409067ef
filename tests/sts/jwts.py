"""Every kind of JWT at every place that takes one: runs the test of it, and prints its table."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.jwts.matrix import TABLE_FILE
from tests.sts.table import Outcome

ROOT: Final = Path(__file__).parents[2]
TEST: Final = "tests/e2e/test_jwt_matrix.py"
LIMIT: Final = 600.0  # seconds


def outcomes(directory: Path) -> list[Outcome]:
    """Run the test, print the table, and return one outcome: whether nothing is accepted off the diagonal."""
    file = directory / "jwts.txt"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", TEST], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=LIMIT, env={**os.environ, TABLE_FILE: str(file)},
    )  # fmt: skip
    table = file.read_text() if file.exists() else ""
    print(f"\n{table}")
    fault = "" if done.returncode == 0 else f"{done.stdout[-3000:]}{done.stderr[-1000:]}"
    return [Outcome("every kind of JWT", "at every place that takes one", fault, table.rpartition("\n")[2])]
