"""`tokenmint profiles import`: a file in parts, each acknowledged by the service, and a place to go on from."""

import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import typer

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.connection import Connection, is_too_long, retry_after
from tokenmint.cli.output import plain
from tokenmint.cli.profile_lines import Input
from tokenmint.cli.progress import Progress
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1 import profile_pb2
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub

PART: Final = 1000  # profiles in one call, which the service acknowledges
MESSAGE: Final = 28 * 1024
"""Bytes of the profiles in one message: less than every service allows (`limits.message_bytes`)."""
OF_MESSAGE: Final = 16  # bytes of a message beside its only profile
SHOWN_LARGE: Final = 20  # profiles that are told to be too long for a message
AT_ONCE: Final = 4  # calls at a time; one where the order of lines counts
TIMEOUT: Final = 60.0  # seconds for a call
GIVE_UP: Final = 120.0  # seconds without an acknowledgement
LONGEST_PLACE: Final = 4096  # bytes of the file that tells where to go on
SHOWN_FAILURES: Final = 1000  # refused profiles that are told one by one
SUFFIX: Final = ".import"
"""Of the file beside the input that tells where to go on."""


@dataclass(slots=True)
class Result:
    """The acknowledgements of the service, summed up."""

    created: int = 0
    replaced: int = 0
    refused: int = 0
    failures: list[tuple[int, str, str, str]] = field(default_factory=list)
    """Line, principal, reason and message of refused profiles."""
    unknown_providers: set[str] = field(default_factory=set)

    def add(self, answer: pb.ImportProfilesResponse, line_of: Callable[[int], int]) -> None:
        """Add the answer about one part."""
        self.created += answer.created_count
        self.replaced += answer.updated_count
        self.refused += answer.failed_count
        room = SHOWN_FAILURES - len(self.failures)
        self.failures += [
            (line_of(item.index), item.principal, item.reason, item.message) for item in answer.failures[:room]
        ]
        self.unknown_providers.update(answer.unknown_providers)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the input up to which all is acknowledged."""

    profiles: int
    """Their number."""
    sha256: str
    """The hash of them."""
    target: str
    created: int = 0
    replaced: int = 0
    refused: int = 0


class PlaceFile:
    """The file beside the input that tells where to go on after an interruption."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Place | None:
        """Return the place; None if there is no file. Raises ``ConfigurationError``."""
        try:
            with self.path.open("rb") as file:
                found: dict[str, Any] = json.loads(file.read(LONGEST_PLACE))
            texts = ("sha256", "target")
            if not all(
                type(one) is str if name in texts else type(one) is int and one >= 0 for name, one in found.items()
            ):
                raise TypeError
            return Place(**found)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            raise ConfigurationError(f"{self.path}: can't be used: delete it, or import --from-start") from None

    def write(self, place: Place) -> None:
        """Keep the place: all of it or nothing, whenever this process is killed."""
        new = self.path.with_name(self.path.name + ".new")
        with new.open("w") as file:
            json.dump(asdict(place), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def remove(self) -> None:
        """Remove it, at the end."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Part:
    """Some profiles that are sent in one call."""

    first: int
    """The place of the first among all, from 0."""
    profiles: list[bytes]
    sha256: str
    """The hash of all up to its end."""


class Importer:
    """Sends a file in parts, several at a time.

    Args:
        service: the connection.
        stub: of the service.
        given: the profiles.
        place: the file with the place to go on from; None: no place is kept.
        dry: whether the service only checks.
        give_up: the seconds without an acknowledgement after which it ends.
    """

    def __init__(
        self, service: Connection, stub: ProfileAdminServiceStub, given: Input, place: PlaceFile | None,
        *, dry: bool = False, give_up: float = GIVE_UP,
    ) -> None:  # fmt: skip
        self._service = service
        self._stub = stub
        self._given = given
        self._place = place
        self._dry = dry
        self._give_up = give_up
        self._last = time.monotonic()
        self._stopping = threading.Event()
        self._calls: set[grpc.Future[pb.ImportProfilesResponse]] = set()
        self.result = Result()
        self._before = Result()
        """Of the profiles up to ``contiguous``."""
        self.resumed = 0
        """The number of profiles that were acknowledged before."""
        self.contiguous = 0
        """The number of profiles, from the first, that all are acknowledged or were left out."""

    def find_place(self, from_line: int | None, *, from_start: bool) -> None:
        """Decide where to begin: at a line, or at the place of an earlier run. Raises ``ConfigurationError``."""
        if from_line is not None:
            self.resumed = sum(1 for line in self._given.lines if line < from_line)
        elif self._place is not None and not from_start and (kept := self._place.read()) is not None:
            if kept.target != self._service.target:
                raise ConfigurationError(
                    f"{self._place.path}: belongs to an import into {plain(kept.target)}: delete it, or import "
                    "--from-start"
                )
            if self._hash_of(kept.profiles) != kept.sha256:
                raise ConfigurationError(
                    f"{self._given.name}: was changed above the place from which to go on: import --from-start"
                )
            self.resumed = kept.profiles
            self.result = Result(kept.created, kept.replaced, kept.refused)
            self._before = Result(kept.created, kept.replaced, kept.refused)
        self.contiguous = self.resumed

    def run(self, progress: Progress) -> None:
        """Send the profiles from the place on. Raises ``grpc.RpcError`` if the service does not take them."""
        progress.begin(self.resumed)
        parts, waiting = self._parts(), dict[Future[pb.ImportProfilesResponse], _Part]()
        done: dict[int, tuple[_Part, pb.ImportProfilesResponse]] = {}
        acknowledged = self.resumed
        at_once = 1 if self._given.repeats else AT_ONCE
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                while True:
                    for part in itertools.islice(parts, at_once - len(waiting)):
                        waiting[pool.submit(self._send, part)] = part
                    if not waiting:
                        break
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        part = waiting.pop(future)
                        answer = future.result()
                        self._acknowledged(part, answer)
                        done[part.first] = part, answer
                        acknowledged += len(part.profiles)
                    self._keep(done)
                    progress.update(acknowledged)
            finally:
                self._stopping.set()
                for call in list(self._calls):
                    call.cancel()
        if self._place is not None:
            self._place.remove()

    @property
    def next_line(self) -> int:
        """The line of the first profile that may not be acknowledged."""
        lines = self._given.lines
        return lines[min(self.contiguous, len(lines) - 1)] if lines else 1

    # --- parts ---------------------------------------------------------------------------------------------------

    def _parts(self) -> Iterator[_Part]:
        digest, profiles = hashlib.sha256(), self._given.profiles()
        for content in itertools.islice(profiles, self.resumed):
            digest.update(content)
        first = self.resumed
        while some := list(itertools.islice(profiles, PART)):
            for content in some:
                digest.update(content)
            yield _Part(first, some, digest.hexdigest())
            first += len(some)

    def _hash_of(self, count: int) -> str:
        digest = hashlib.sha256()
        for content in itertools.islice(self._given.profiles(), count):
            digest.update(content)
        return digest.hexdigest() if count <= len(self._given) else ""

    def _acknowledged(self, part: _Part, answer: pb.ImportProfilesResponse) -> None:
        told = answer.created_count + answer.updated_count + answer.failed_count
        if told != len(part.profiles):
            raise ConfigurationError(
                f"{self._service.target}: the service acknowledged {told} of {len(part.profiles)} profiles: it is of "
                "an older version, use its own command line"
            )
        self.result.add(answer, lambda index: self._given.lines[part.first + index])

    def _keep(self, done: dict[int, tuple[_Part, pb.ImportProfilesResponse]]) -> None:
        """Write the place down, as far as every profile before it is acknowledged."""
        place = None
        while self.contiguous in done:
            place, answer = done.pop(self.contiguous)
            self.contiguous += len(place.profiles)
            self._before.add(answer, lambda index: index)
        if place is not None and self._place is not None:
            told = self._before
            kept = Place(self.contiguous, place.sha256, self._service.target, told.created, told.replaced, told.refused)
            try:
                self._place.write(kept)
            except OSError as error:
                typer.echo(f"warning: {self._place.path}: can't be written ({error.strerror})", err=True)
                self._place = None

    def _tell_large(self, part: _Part) -> None:
        """Raise ``ConfigurationError`` if a profile has a message of its own, which the service takes for too long."""
        large = [
            f"{self._given.name}:{self._given.lines[part.first + index]}: takes {len(content)} bytes as a message, "
            f"which may be too long: set the service's limits.message_bytes to {len(content) + OF_MESSAGE} at least"
            for index, content in enumerate(part.profiles)
            if len(content) > MESSAGE
        ]
        if large:
            raise ConfigurationError(large[:SHOWN_LARGE])

    def _send(self, part: _Part) -> pb.ImportProfilesResponse:
        """Send a part until it is acknowledged. Raises ``grpc.RpcError``, and as :meth:`_tell_large`."""
        while True:
            arguments = self._service.call | {"timeout": max(TIMEOUT, self._service.options.timeout)}
            call = self._stub.ImportProfiles.future(_messages(part.profiles, dry=self._dry), **arguments)
            self._calls.add(call)
            try:
                answer = call.result()
            except grpc.RpcError as error:
                delay = retry_after(error)
                if is_too_long(error):
                    self._tell_large(part)
                if delay is None or time.monotonic() - self._last + delay > self._give_up:
                    raise
                if self._stopping.wait(delay):
                    raise
            else:
                self._last = time.monotonic()
                return answer
            finally:
                self._calls.discard(call)


def _messages(profiles: list[bytes], *, dry: bool) -> Iterator[pb.ImportProfilesRequest]:
    request, size = pb.ImportProfilesRequest(validate_only=dry), 0
    for content in profiles:
        if size and size + len(content) > MESSAGE:
            yield request
            request, size = pb.ImportProfilesRequest(), 0
        request.profiles.append(profile_pb2.Profile.FromString(content))
        size += len(content) + 4
    yield request


def as_document(result: Result, resumed: int, progress: Progress, *, dry: bool) -> dict[str, Any]:
    """Return the result as JSON. Counts are texts, as protobuf writes 64-bit numbers."""
    return {
        "created_count": str(result.created),
        "updated_count": str(result.replaced),
        "failed_count": str(result.refused),
        "failures": [
            {"line": line, "principal": principal, "reason": reason, "message": message}
            for line, principal, reason, message in result.failures
        ],
        "unknown_providers": sorted(result.unknown_providers),
        "dry_run": dry,
        "resumed_after": resumed,
        "seconds": round(progress.seconds, 3),
    }
