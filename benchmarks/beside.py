"""Another commit of tokenmint beside this one: a work tree below build/, with an install of its own."""

import subprocess
import sys
from pathlib import Path

from benchmarks.world import ROOT

REQUIREMENTS = ("runtime", "dev")
"""Sets that a server is started with. The second one has the native transport."""


def install(commit: str) -> tuple[str, Path]:
    """Make the work tree and the install of ``commit``, where they are not there; return its id and its interpreter.

    Raises ``SystemExit`` where that commit can't be installed.
    """
    full = _git("rev-parse", "--verify", f"{commit}^{{commit}}")
    short = full[:7]
    tree = ROOT / "build" / "beside" / short
    python = tree / ".venv" / "bin" / "python"
    if not (tree / "pyproject.toml").exists():
        tree.parent.mkdir(parents=True, exist_ok=True)
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", "--force", str(tree), full)
    if not (tree / ".venv" / ".ready").exists():
        print(f"installing {short} into {tree.relative_to(ROOT)} (once; about a minute) ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", tree / ".venv"], check=True)
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        for name in REQUIREMENTS:
            subprocess.run([*pip, "--require-hashes", "-r", tree / "requirements" / f"{name}.txt"], check=True)
        subprocess.run([*pip, "--no-build-isolation", "--editable", tree], check=True)
        (tree / ".venv" / ".ready").touch()
    return short, python


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
