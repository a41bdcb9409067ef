"""The tree that packages are built from: a copy of a commit, or of the files that git keeps here."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from release.archives import FILE, FOLDER, PROGRAM

ROOT: Final = Path(__file__).resolve().parents[1]
_NOT_PASSED: Final = ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")


class BuildFailed(Exception):
    """A program that builds or tries a package failed, or a package is not as it should be."""


def git(*arguments: str) -> bytes:
    """Return the output of git.

    Raises:
        BuildFailed: it failed: there is no such commit, or this is no clone.
    """
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True)
    if done.returncode:
        raise BuildFailed(f"git {arguments[0]}: {done.stderr.decode(errors='replace')[:500].strip()}")
    return done.stdout


def commit_of(name: str) -> str:
    """Return the full id of a commit."""
    return git("rev-parse", "--verify", f"{name}^{{commit}}").decode().strip()


def epoch_of(commit: str) -> int:
    """Return the time of a commit, in seconds since 1970: SOURCE_DATE_EPOCH."""
    return int(git("show", "--no-patch", "--format=%ct", commit))


def timestamp(epoch: int) -> str:
    """Return a time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def uncommitted() -> list[str]:
    """Return the files whose changes are in no commit."""
    return [line[3:] for line in git("status", "--porcelain").decode().splitlines()]


def lay_commit(tree: Path, commit: str, epoch: int) -> None:
    """Write the files of a commit into a new folder."""
    packed = git("-c", "tar.umask=0022", "archive", "--format=tar", commit)
    tree.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tree, filter="data")
    _settle(tree, epoch)


def lay_working_tree(tree: Path, epoch: int) -> None:
    """Write the files that git keeps into a new folder, as they are here."""
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    _settle(tree, epoch)


def _settle(tree: Path, epoch: int) -> None:
    for folder, _, names in os.walk(tree):
        Path(folder).chmod(FOLDER)
        for name in names:
            file = Path(folder, name)
            file.chmod(PROGRAM if file.stat().st_mode & 0o100 else FILE)
            os.utime(file, (epoch, epoch))


def environment(epoch: int, **more: str) -> dict[str, str]:
    """Return the environment of programs that build: ours, with one time, one place and one language."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED}
    return {**kept, "SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", **more}


def run(*command: str | Path, directory: Path, environ: Mapping[str, str], limit: float = 900.0) -> str:
    """Run a program to its end and return its output.

    Args:
        limit: seconds until it is ended.

    Raises:
        BuildFailed: it failed; the message has the end of its output.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=directory, env=dict(environ), capture_output=True, text=True, check=False, timeout=limit
        )
    except FileNotFoundError:
        raise BuildFailed(f"{words[0]} is not installed: docs/releasing.md names the tools") from None
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"{' '.join(words)[:200]}: did not end within {limit:.0f} s") from None
    if done.returncode:
        raise BuildFailed(f"{' '.join(words)[:200]}: status {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout
