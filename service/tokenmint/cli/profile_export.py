"""`tokenmint profiles export` and `diff`: every profile of the store, one by one."""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from google.protobuf.json_format import MessageToDict

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.output import plain
from tokenmint.cli.profile_lines import Input
from tokenmint.model.secret import shown
from tokenmint.rpc import structs
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1 import profile_pb2
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub

PAGE: Final = 500
FIELDS: Final = ("principal", "identities", "disabled", "claims", "roles")
"""The fields that an import sets, in the order of an exported line."""
_SEPARATORS: Final = re.compile("[\u2028\u2029]")
"""Ends of lines to some readers. In JSON they are in strings alone, so an escape stands for the same."""


def stored(stub: ProfileAdminServiceStub, call: Mapping[str, Any]) -> Iterator[profile_pb2.Profile]:
    """Yield each profile of the store once: the service may list one on two pages."""
    seen: set[str] = set()
    request = pb.ListProfilesRequest(page_size=PAGE)
    while True:
        answer = stub.ListProfiles(request, **call)
        for profile in answer.profiles:
            if profile.principal not in seen:
                seen.add(profile.principal)
                yield profile
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def line_of(profile: profile_pb2.Profile) -> str:
    """Return the line that an import reads as this profile; always the same line for the same profile."""
    document = MessageToDict(profile, preserving_proto_field_name=True)
    if profile.HasField("claims"):
        document["claims"] = structs.plain(profile.claims)  # whole numbers as such
    fields = (
        f'"{name}": {json.dumps(document[name], ensure_ascii=False, sort_keys=True)}'
        for name in FIELDS
        if document.get(name)
    )
    text = "{" + ", ".join(fields) + "}"
    return _SEPARATORS.sub(lambda match: f"\\u{ord(match[0]):04x}", plain(text))


def export(stub: ProfileAdminServiceStub, call: Mapping[str, Any], file: Path, *, force: bool) -> int:
    """Write every profile to ``file``, or to standard output for `-`; return their number.

    Raises:
        ConfigurationError: the file exists, or can't be written.
    """
    number = 0
    with _written(file, force=force) as stream:
        for profile in stored(stub, call):
            stream.write(line_of(profile).encode() + b"\n")
            number += 1
    return number


@contextlib.contextmanager
def _written(file: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Open a new file, readable only by its owner, that is in its place only when all of it is written."""
    if str(file) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if file.exists() and not force:
        raise ConfigurationError(f"{plain(shown(file))}: exists: --force replaces it")
    new = file.with_name(file.name + ".new")
    try:
        new.unlink(missing_ok=True)  # of an export that was killed, or somebody else's, who could read this one
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
    except OSError as error:
        raise ConfigurationError(f"{plain(shown(file))}: can't be written ({error.strerror})") from None
    finally:
        new.unlink(missing_ok=True)


@dataclass(slots=True)
class Differences:
    """The differences between a file and the store."""

    added: list[tuple[str, int]] = field(default_factory=list)
    """Principals in the file alone, with their lines."""
    changed: list[tuple[str, int, tuple[str, ...]]] = field(default_factory=list)
    """... in both, with the fields that differ."""
    missing: list[str] = field(default_factory=list)
    """... in the store alone."""

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """The differences as rows of a table, by principal."""
        rows = [("added", principal, str(line), "-") for principal, line in self.added]
        rows += [("changed", principal, str(line), ", ".join(fields)) for principal, line, fields in self.changed]
        rows += [("missing", principal, "-", "-") for principal in self.missing]
        return sorted(rows, key=lambda row: row[1])

    @property
    def document(self) -> dict[str, Any]:
        """The differences as JSON."""
        return {
            "added": [{"principal": principal, "line": line} for principal, line in sorted(self.added)],
            "changed": [
                {"principal": principal, "line": line, "fields": list(fields)}
                for principal, line, fields in sorted(self.changed)
            ],
            "missing": sorted(self.missing),
        }


def differences(stub: ProfileAdminServiceStub, call: Mapping[str, Any], given: Input) -> Differences:
    """Compare the profiles of a file with those of the store. Of two lines with one principal, the later counts."""
    wanted: dict[str, tuple[int, bytes]] = {}
    for line, content in zip(given.lines, given.profiles(), strict=True):
        wanted[profile_pb2.Profile.FromString(content).principal] = line, content
    found = Differences()
    for profile in stored(stub, call):
        line, content = wanted.pop(profile.principal, (0, b""))
        if not line:
            found.missing.append(profile.principal)
        elif fields := _different(profile, profile_pb2.Profile.FromString(content)):
            found.changed.append((profile.principal, line, fields))
    found.added = [(principal, line) for principal, (line, _) in wanted.items()]
    return found


def _different(one: profile_pb2.Profile, other: profile_pb2.Profile) -> tuple[str, ...]:
    return tuple(name for name in FIELDS if _comparable(one, name) != _comparable(other, name))


def _comparable(profile: profile_pb2.Profile, name: str) -> object:
    """Return a field's value. The order of identities does not count: an import adds them at the end."""
    if name == "identities":
        return {(identity.provider, identity.subject) for identity in profile.identities}
    if name == "claims":
        return MessageToDict(profile.claims)
    value: object = getattr(profile, name)
    return value if isinstance(value, str | bool) else list(profile.roles)
