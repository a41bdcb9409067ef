"""The build of a release: from a commit, in a folder of its own, the same bytes every time."""

import fcntl
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import Final

from release import archives, bills, sums, versions
from release.packages import CLIENTS, OTHERS, Build
from release.trees import (
    ROOT,
    BuildFailed,
    commit_of,
    environment,
    epoch_of,
    lay_commit,
    lay_working_tree,
    run,
    timestamp,
)

RECORD: Final = "BUILD.json"
"""The file that names the commit and the tools: other versions of them may make other bytes."""
_TOOLS: Final = {
    "node": ("node", "--version"),
    "npm": ("npm", "--version"),
    "go": ("go", "env", "GOVERSION"),
    "maven": ("mvn", "-q", "-B", "--version"),
    "javac": ("javac", "--version"),
}
_NUMBER: Final = re.compile(r"\d+\.[\w.]+")
_ELSEWHERE: Final = {"TZ": "Pacific/Auckland", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
"""The environment of the second of two builds: none of it may show."""


def build(version: str, commit: str, work: Path, out: Path) -> str:
    """Build all packages of a release, and return their sums.

    Args:
        work: a folder that is made anew, for what is thrown away; its path must not show in a package.
        out: the folder of the release; it is replaced.

    Raises:
        BuildFailed: a tool is missing or failed, or a package has a path of this machine.
    """
    os.umask(0o022)
    commit = commit_of(commit)
    epoch = epoch_of(commit)
    shutil.rmtree(work, ignore_errors=True)
    lay_commit(work / "tree", commit, epoch)
    versions.write(work / "tree", version, released=True)
    made = Build(_folder(work, "tree"), _folder(work, "parts"), _folder(work, "out"), version, epoch, released=True)
    for name, builder in {**OTHERS, **CLIENTS}.items():
        _say(f"building {name} ...")
        builder(made)
    _say("writing bills of materials ...")
    bills.write(made, commit)
    record = {"version": version, "commit": commit, "time": timestamp(epoch), "tools": tools(epoch)}
    (made.out / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    traces = machine_names(made.out, [str(work), str(ROOT), str(Path.home()) + "/", socket.gethostname()])
    if traces:
        raise BuildFailed("these files have a path or the name of this machine:\n" + "\n".join(traces))
    told = sums.write(made.out)
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(made.out, out)
    shutil.rmtree(work)
    return told


def build_twice(version: str, commit: str, work: Path, out: Path) -> str:
    """Build a release, and again in another place and another environment; return the sums.

    Raises:
        BuildFailed: the two differ; the message names the files.
    """
    commit = commit_of(commit)  # both are of the same one, even if HEAD moves meanwhile
    first = build(version, commit, work / "one", out)
    again = work / "another" / "folder" / "two"
    _say("building everything again, in another folder ...")
    command = [sys.executable, "-m", "release", "build", "--version", version, "--commit", commit, "--quiet"]
    words = [
        "sh",
        "-c",
        'umask 077; exec "$@"',
        "sh",
        *command,
        "--work",
        str(again / "work"),
        "--out",
        str(again / "out"),
    ]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **_ELSEWHERE}, check=False)
    if done.returncode:
        raise BuildFailed("the second build failed")
    different = differences(out, again / "out")
    if different:
        raise BuildFailed("two builds of one commit differ:\n" + "\n".join(different))
    shutil.rmtree(work)
    return first


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold a folder of builds: a second build at the same time would remove the files of the first.

    Raises:
        BuildFailed: another process holds it.
    """
    work.parent.mkdir(parents=True, exist_ok=True)
    with work.with_name(f"{work.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildFailed(f"another build is in {work}: wait until it has ended") from None
        yield


def differences(one: Path, other: Path) -> list[str]:
    """Return the names of the files that two folders do not have in common, with what differs within archives."""
    first, second = sums.of_folder(one), sums.of_folder(other)
    found = []
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) == second.get(name):
            continue
        if name not in first or name not in second:
            found.append(f"{name}: only in one")
            continue
        inner, others = dict(archives.contents(one / name)), dict(archives.contents(other / name))
        parts = sorted(part for part in inner.keys() | others.keys() if inner.get(part) != others.get(part))
        found.append(f"{name}: {', '.join(parts) or 'order, times or modes'}")
    return found


def clients(names: Sequence[str], out: Path) -> None:
    """Build packages of clients from the files as they are here, not from a commit.

    Raises:
        BuildFailed: there is no such client, or a tool is missing or failed.
    """
    unknown = sorted(set(names) - CLIENTS.keys())
    if unknown:
        raise BuildFailed(f"there is no client for {', '.join(unknown)}: the clients are {', '.join(CLIENTS)}")
    os.umask(0o022)
    epoch = epoch_of("HEAD")
    work = out / ".work"
    shutil.rmtree(work, ignore_errors=True)
    lay_working_tree(work / "tree", epoch)
    version = versions.current(work / "tree")
    made = Build(work / "tree", _folder(work, "parts"), out, version, epoch, released=False)
    folders = {"python": "python", "node": "npm", "go": "go", "java": "maven"}
    for name in names:
        _say(f"building the client for {name} ...")
        shutil.rmtree(out / folders[name], ignore_errors=True)
        CLIENTS[name](made)
    shutil.rmtree(work)


def tools(epoch: int) -> dict[str, str]:
    """Return the versions of the programs that build."""
    here = {"python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}
    here |= {name: installed(name) for name in ("pip", "setuptools")}
    told = {name: run(*command, directory=ROOT, environ=environment(epoch)) for name, command in _TOOLS.items()}
    return here | {name: match[0] for name, text in told.items() if (match := _NUMBER.search(text))}


def machine_names(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the files, also within archives, that have one of these texts."""
    sought = [name.encode() for name in names if len(name) > 3]
    return [
        f"{path.relative_to(folder)}: {inner}: {name.decode()}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for inner, content in archives.contents(path)
        for name in sought
        if name in content
    ]


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir(parents=True, exist_ok=True)
    return parent / name


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
