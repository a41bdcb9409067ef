"""`make test-rust`: the example in a language without a client, from the packed protos to a verified token."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from release.packages import Build, protos
from release.versions import current
from tests.clients.runner import example_environment
from tests.clients.world import world
from tests.pages import ROOT

EXAMPLE: Final = ROOT / "examples" / "rust"
WORK: Final = ROOT / "build" / "examples"
PROGRAM: Final = WORK / "target" / "debug" / "tokenmint-example"
NEWER_THAN: Final = (1, 88)


def unpacked_protos(work: Path) -> Path:
    """Pack the protos as a release does, and unpack them as users do."""
    shutil.rmtree(work / "protos", ignore_errors=True)
    protos(Build(ROOT, work, work, current(ROOT), 0x3C000000, released=False))
    (packed,) = (work / "protos").iterdir()
    shutil.unpack_archive(packed, work / "protos")
    return work / "protos"


def build(work: Path) -> None:
    """Build the example from a copy: cargo writes Cargo.lock beside the manifest."""
    shutil.rmtree(work / "rust", ignore_errors=True)
    shutil.copytree(EXAMPLE, work / "rust", ignore=shutil.ignore_patterns("target", "Cargo.lock"))
    more = {"TOKENMINT_PROTOS": str(unpacked_protos(work)), "CARGO_TARGET_DIR": str(work / "target")}
    subprocess.run(["cargo", "build", "--quiet"], cwd=work / "rust", env={**os.environ, **more}, check=True)


def outcome(environ: Mapping[str, str], **changes: str) -> tuple[int, str]:
    """Run the example; return its status and output."""
    done = subprocess.run(
        [PROGRAM], env={**environ, **changes}, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def faults() -> list[str]:
    """Return the cases that did not end as they should."""
    with tempfile.TemporaryDirectory(prefix="tmr") as temporary, world(Path(temporary)) as live:
        environ = example_environment(live)
        elsewhere = live.proxy.url.replace("127.0.0.1", "localhost")
        cases = {
            "an exchange and a verification": (outcome(environ), 0, r"^hello ada$"),
            "an audience of other clients": (
                outcome(environ, TOKENMINT_AUDIENCE="https://others.example"), 1, r"PermissionDenied|permission",
            ),
            "a verifier of another issuer": (
                outcome(environ, TOKENMINT_ISSUER=elsewhere), 1, r"InvalidIssuer",
            ),
        }  # fmt: skip
    return [
        f"{name}: status {status}: {text}"
        for name, ((status, text), expected, pattern) in cases.items()
        if status != expected or re.search(pattern, text) is None
    ]


def main() -> int:
    """Return the exit status."""
    told = (
        subprocess.run(["cargo", "--version"], capture_output=True, text=True, check=False)
        if shutil.which("cargo")
        else None
    )
    number = re.search(r"(\d+)\.(\d+)", told.stdout) if told else None
    if number is None or tuple(map(int, number.groups())) < NEWER_THAN:
        print("test-rust: left out: no cargo of 1.88 or newer on PATH", file=sys.stderr)
        return 0
    WORK.mkdir(parents=True, exist_ok=True)
    build(WORK)
    found = faults()
    print("\n".join([*found, f"{3 - len(found)} passed, {len(found)} failed"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
