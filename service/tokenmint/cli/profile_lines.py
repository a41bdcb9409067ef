"""Profiles in files: one JSON object on each line. Lines are bounded, checked one by one, and kept in a spool."""

import contextlib
import json
import sys
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from google.protobuf.json_format import ParseDict, ParseError

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.output import plain
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.secret import shown
from tokenmint.profiles.limits import profile_violations
from tokenmint.v1 import profile_pb2

MAX_LINE: Final = 1024 * 1024
"""Bytes of a line. The largest profile in its longest spelling is smaller."""
SHOWN_PROBLEMS: Final = 20  # bad lines that are told with their faults
NAMED_LINES: Final = 1000  # ... and further ones that are told by number
SHOWN_FAULT: Final = 500  # characters of a fault
SPOOL: Final = 16 << 20  # bytes of checked profiles kept in memory; more are in a temporary file
_DIGITS: Final = 32  # of a whole number
_LENGTH: Final = 4  # bytes before each profile in the spool
_PLAIN: Final = {"principal": str, "disabled": bool, "roles": list, "identities": list, "claims": dict}
"""The members of a usual profile and their types, which need no slow reader."""


@contextlib.contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """Open a file, or standard input for `-`. Raises ``ConfigurationError``, also for errors of reads in the block."""
    try:
        if str(file) == "-":
            yield sys.stdin.buffer
            return
        with file.open("rb") as stream:
            yield stream
    except OSError as error:
        raise ConfigurationError(f"{plain(shown(file))}: can't be read ({error.strerror})") from None


def parse(text: bytes, where: str) -> profile_pb2.Profile:
    """Read a profile. Raises ``ConfigurationError`` that begins with ``where``."""
    return _message(_document(text, where), where)


class _Changed(ValueError):
    """JSON that would be stored otherwise than it is written."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Changed("a name is twice in one object: one of its values would be lost")
    return members


def _whole(digits: str) -> int:
    """Return a whole number. Numbers are stored as doubles, which hold others only nearly."""
    if len(digits) > _DIGITS or int(float(digits)) != int(digits):
        raise _Changed(f"{digits[:_DIGITS]} can't be kept exactly as a number: write it as text")
    return int(digits)


def _document(text: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_members, parse_int=_whole)
    except _Changed as change:
        raise ConfigurationError(f"{where}: {change}") from None
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{where}: is not JSON") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{where}: expected one profile, a JSON object with its principal")
    return document


def _message(document: dict[str, Any], where: str) -> profile_pb2.Profile:
    with contextlib.suppress(TypeError, ValueError, AttributeError, RecursionError):
        if all(
            type(value) is _PLAIN.get(name) for name, value in document.items()
        ):  # the other takes five times as long
            return profile_pb2.Profile(**document)
    try:
        return ParseDict(document, profile_pb2.Profile())
    except (ParseError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"{where}: {plain(str(error))[:SHOWN_FAULT]}") from None


def checked(text: bytes, where: str) -> profile_pb2.Profile:
    """Read a profile, and check its limits as the service does. Raises ``ConfigurationError``."""
    document = _document(text, where)
    message = _message(document, where)
    claims = document.get("claims")
    profile = Profile(
        principal=message.principal,
        identities=tuple(Identity(item.provider, item.subject) for item in message.identities),
        disabled=message.disabled,
        claims=claims if isinstance(claims, dict) else {},
        roles=tuple(message.roles),
    )
    violations = profile_violations(profile)
    if violations:
        faults = "; ".join(f"{item.field.removeprefix('profile.')}: {item.description}" for item in violations)
        raise ConfigurationError(f"{where}: {plain(faults)[:SHOWN_FAULT]}")
    return message


def lines_of(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line that is not empty, with its number from 1; None for one that is too long."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE)
            yield number, None
        elif line.strip():
            yield number, line


@dataclass(frozen=True, slots=True)
class Input:
    """A checked file: its profiles in a spool, in order."""

    name: str
    lines: "array[int]"
    """The number of each profile's line."""
    repeats: bool
    """Whether a principal or an identity seems to be on two lines, so that the order counts."""
    spool: IO[bytes]

    def __len__(self) -> int:
        return len(self.lines)

    def profiles(self) -> Iterator[bytes]:
        """Yield each profile, as a serialised message. Once at a time."""
        self.spool.seek(0)
        while head := self.spool.read(_LENGTH):
            yield self.spool.read(int.from_bytes(head))


class Faults:
    """The bad lines of a file."""

    def __init__(self) -> None:
        self.count = 0
        self._told: list[str] = []
        self._more: array[int] = array("Q")

    def add(self, number: int, problems: "tuple[str, ...] | list[str]") -> None:
        """Add a line."""
        self.count += 1
        if self.count <= SHOWN_PROBLEMS:
            self._told += problems
        elif len(self._more) < NAMED_LINES:
            self._more.append(number)

    def described(self) -> list[str]:
        """Return the faults, for people."""
        more = self.count - SHOWN_PROBLEMS
        if more <= 0:
            return self._told
        named = f"and {more} more: lines {ranges(self._more)}" + (" ..." if more > len(self._more) else "")
        return [*self._told, named]


def ranges(numbers: "array[int]") -> str:
    """Return rising numbers in words: `3-7, 12`."""
    parts: list[tuple[int, int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1] = parts[-1][0], number
        else:
            parts.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


@contextlib.contextmanager
def checked_input(file: Path) -> Iterator[Input]:
    """Check every line of ``file``, or of standard input, and yield its profiles.

    Raises:
        ConfigurationError: it can't be read, or a line is bad; every bad line is named.
    """
    faults, lines, repeats = Faults(), array("Q"), False
    names: set[int] = set()
    with tempfile.SpooledTemporaryFile(SPOOL) as spool:
        with opened(file) as stream:
            for number, line in lines_of(stream):
                try:
                    if line is None:
                        raise ConfigurationError(f"{file}:{number}: is longer than {MAX_LINE} bytes")
                    profile = checked(line, f"{file}:{number}")
                except ConfigurationError as error:
                    faults.add(number, error.problems)
                    continue
                if faults.count:
                    continue
                before = len(names)
                names.add(hash(profile.principal))
                names.update(hash((item.provider, item.subject)) for item in profile.identities)
                repeats = repeats or len(names) != before + 1 + len(profile.identities)
                content = profile.SerializeToString(deterministic=True)  # a place to go on from is known by its hash
                spool.write(len(content).to_bytes(_LENGTH) + content)
                lines.append(number)
        if faults.count:
            raise ConfigurationError([*faults.described(), "nothing was imported"])
        yield Input(str(file), lines, repeats, spool)
