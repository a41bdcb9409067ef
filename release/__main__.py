"""`make release` and its relatives: build, compare, sign, try out."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from release import building, sums, versions
from release.packages import CLIENTS
from release.trees import ROOT, BuildFailed, uncommitted

WORK = ROOT / "build" / "release"
OUT = ROOT / "dist"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="release", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    for name in ("build", "check"):
        command = commands.add_parser(name)
        command.add_argument("--version", default=None, help="default: pyproject.toml's")
        command.add_argument("--commit", default="HEAD")
        command.add_argument("--work", type=Path, default=WORK)
        command.add_argument("--out", type=Path, default=OUT)
        command.add_argument("--quiet", action="store_true", help="do not print the sums")
        command.add_argument("--sign-key", type=Path, default=None)
    command = commands.add_parser("sign")
    command.add_argument("--out", type=Path, default=OUT)
    command.add_argument("--sign-key", type=Path, required=True)
    command = commands.add_parser("clients")
    command.add_argument("names", nargs="*", metavar="LANGUAGE", help=f"of {', '.join(CLIENTS)}; default: all")
    command.add_argument("--out", type=Path, default=ROOT / "build" / "packages")
    command = commands.add_parser("version")
    command.add_argument("version", nargs="?")
    return made


def released(arguments: argparse.Namespace) -> None:
    """Build a release, once or twice, print its sums, and sign them if there is a key."""
    version = versions.checked(arguments.version or versions.current(ROOT))
    changed = uncommitted()
    if changed and not arguments.quiet:
        print(
            f"note: changes that {arguments.commit} does not have are left out; files: {len(changed)}",
            file=sys.stderr,
        )
    make = building.build_twice if arguments.command == "check" else building.build
    work = arguments.work.resolve()
    with building.alone(work):
        told = make(version, arguments.commit, work, arguments.out.resolve())
    if not arguments.quiet:
        print(told, end="")
    if arguments.command == "check":
        print("two builds: the same hashes")
    if arguments.sign_key is not None:
        signed(arguments)


def signed(arguments: argparse.Namespace) -> None:
    """Sign the sums, and print the line by which users verify it."""
    line = sums.sign(arguments.out, arguments.sign_key)
    print(f"signed {arguments.out / sums.SIGNATURE}; the line of its key for allowed_signers:\n{line}", end="")


def main(words: Sequence[str]) -> int:
    """Return the exit status."""
    arguments = parser().parse_args(words)
    try:
        if arguments.command in ("build", "check"):
            released(arguments)
        elif arguments.command == "sign":
            signed(arguments)
        elif arguments.command == "clients":
            building.clients(arguments.names or list(CLIENTS), arguments.out.resolve())
        elif arguments.version is None:
            print(versions.current(ROOT))
        else:
            versions.write(ROOT, versions.checked(arguments.version), released=False)
    except (BuildFailed, versions.BadVersion) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
