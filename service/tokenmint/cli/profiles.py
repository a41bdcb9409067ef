"""`tokenmint profiles`."""

import contextlib
import json
import sys
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Final

import grpc
import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict, ParseError

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.commands import App
from tokenmint.cli.connection import Connection, as_operator, pages
from tokenmint.cli.output import Output, as_dict, plain, print_json, print_message, print_table, when
from tokenmint.model.secret import shown
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1 import profile_pb2
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub

IMPORT_TIMEOUT: Final = 600.0  # seconds
SHOWN_PROBLEMS: Final = 20  # listed for a file to import
SPOOL: Final = 16 << 20  # bytes of a file to import kept in memory
PROGRESS: Final = 1000  # profiles between two lines of progress

app = App(add_completion=False, no_args_is_help=True, help="Manage the profiles that enrich minted tokens.")

ProfileFile = Annotated[Path, typer.Argument(help="JSON file with the profile; - for standard input.")]
ReplaceDeleted = Annotated[bool, typer.Option("--replace-deleted", help="Allow a deleted principal again.")]
Provider = Annotated[str, typer.Argument(help="The configured name of the provider, e.g. google.")]
Subject = Annotated[str, typer.Argument(help="The provider's name for the principal, e.g. its sub.")]


def _row(profile: profile_pb2.Profile) -> tuple[str, ...]:
    identities = ", ".join(f"{item.provider}/{item.subject}" for item in profile.identities)
    state = "disabled" if profile.disabled else "enabled"
    return profile.principal, state, ", ".join(profile.roles), identities, when(profile, "update_time")


def _parse(text: bytes, where: str) -> profile_pb2.Profile:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{where}: is not JSON") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{where}: expected one profile, a JSON object with its principal")
    try:
        return ParseDict(document, profile_pb2.Profile())
    except (ParseError, TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where}: {error}") from None


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = file.open("rb")
    except OSError as error:
        raise ConfigurationError(f"{plain(shown(file))}: can't be read ({error.strerror})") from None
    with stream:
        yield stream


def _read(file: Path) -> profile_pb2.Profile:
    with _opened(file) as stream:
        try:
            text = stream.read()
        except OSError as error:  # a directory
            raise ConfigurationError(f"{plain(shown(file))}: can't be read ({error.strerror})") from None
    return _parse(text, str(file))


@app.command("get")
@as_operator
def get_profile(service: Connection, principal: str, output: Output = "json") -> None:
    """Show a profile as JSON, in the form that `put` reads."""
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.GetProfile(pb.GetProfileRequest(principal=principal), **service.call)
    print_message(answer.profile, output)


@app.command("create")
@as_operator
def create_profile(
    service: Connection, file: ProfileFile, replace_deleted: ReplaceDeleted = False, output: Output = "json"
) -> None:
    """Create a profile. Fails if it exists; `put` replaces it."""
    request = pb.CreateProfileRequest(profile=_read(file), replace_deleted=replace_deleted)
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.CreateProfile(request, **service.call)
    print_message(answer.profile, output)


@app.command("put")
@as_operator
def put_profile(
    service: Connection, file: ProfileFile, replace_deleted: ReplaceDeleted = False, output: Output = "json"
) -> None:
    """Create a profile, or replace claims, roles and state of the existing one.

    Identities that the existing one lacks are linked; none is unlinked. An etag in the file is compared.

    Example: {"principal": "ada", "identities": [{"provider": "google", "subject": "1842"}], "roles": ["clerk"]}
    """
    profile = _read(file)
    with service.stub(ProfileAdminServiceStub) as stub:
        try:
            request = pb.CreateProfileRequest(profile=profile, replace_deleted=replace_deleted)
            stored = stub.CreateProfile(request, **service.call).profile
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
            mask = FieldMask(paths=["disabled", "claims", "roles"])
            stored = stub.UpdateProfile(
                pb.UpdateProfileRequest(profile=profile, update_mask=mask), **service.call
            ).profile
            linked = {(item.provider, item.subject) for item in stored.identities}
            for item in profile.identities:
                if (item.provider, item.subject) not in linked:
                    link = pb.LinkIdentityRequest(principal=profile.principal, identity=item)
                    stored = stub.LinkIdentity(link, **service.call).profile
    print_message(stored, output)


@app.command("delete")
@as_operator
def delete_profile(service: Connection, principal: str, output: Output = "text") -> None:
    """Delete a profile. Its principal and identities stay refused."""
    with service.stub(ProfileAdminServiceStub) as stub:
        stub.DeleteProfile(pb.DeleteProfileRequest(principal=principal), **service.call)
    if output == "json":
        print_json({"principal": principal, "deleted": True})
    else:
        print(f"deleted {principal}")


@app.command("list")
@as_operator
def list_profiles(service: Connection, output: Output = "text") -> None:
    """List the profiles."""
    with service.stub(ProfileAdminServiceStub) as stub:
        listed = pages(stub.ListProfiles, pb.ListProfilesRequest(page_size=500), "profiles", service.call)
    by_name = {profile.principal: profile for profile in listed}  # a profile may be listed twice
    profiles = [by_name[principal] for principal in sorted(by_name)]
    if output == "json":
        print_json([as_dict(profile) for profile in profiles])
    else:
        print_table(("principal", "state", "roles", "identities", "changed"), map(_row, profiles), "no profiles")


@app.command("link")
@as_operator
def link_identity(
    service: Connection, principal: str, provider: Provider, subject: Subject, output: Output = "json"
) -> None:
    """Make an identity resolve to a principal."""
    identity = profile_pb2.Identity(provider=provider, subject=subject)
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.LinkIdentity(pb.LinkIdentityRequest(principal=principal, identity=identity), **service.call)
    print_message(answer.profile, output)


@app.command("unlink")
@as_operator
def unlink_identity(
    service: Connection, principal: str, provider: Provider, subject: Subject, output: Output = "json"
) -> None:
    """Refuse an identity from now on."""
    identity = profile_pb2.Identity(provider=provider, subject=subject)
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.UnlinkIdentity(pb.UnlinkIdentityRequest(principal=principal, identity=identity), **service.call)
    print_message(answer.profile, output)


@app.command("revoke-tokens")
@as_operator
def revoke_tokens(service: Connection, principal: str, output: Output = "text") -> None:
    """Refuse every token of a principal that was issued up to now."""
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.RevokePrincipalTokens(pb.RevokePrincipalTokensRequest(principal=principal), **service.call)
    if output == "json":
        print_json({"principal": principal, **as_dict(answer)})
        return
    print(f"tokens of {principal} issued in or before {when(answer, 'tokens_valid_after_time')} are refused")


@app.command("import")
@as_operator
def import_profiles(
    service: Connection,
    file: Annotated[Path, typer.Argument(help="One JSON profile on each line; - for standard input.")],
    output: Output = "text",
) -> None:
    """Create or replace many profiles. Running it again is safe. Exit status 1 if the service refused any.

    The whole input is checked before the first profile is sent: with one broken line, nothing is imported.

    Example: tokenmint profiles import people.jsonl
    """
    with tempfile.SpooledTemporaryFile(SPOOL) as spool:
        places = _check_lines(file, spool)

        def requests() -> Iterator[pb.ImportProfilesRequest]:
            spool.seek(0)
            for index, line in enumerate(spool):
                if index and index % PROGRESS == 0:
                    typer.echo(f"{index} of {len(places)} profiles sent", err=True)
                yield pb.ImportProfilesRequest(profile=_parse(line, f"{file}:{places[index]}"))

        with service.stub(ProfileAdminServiceStub) as stub:
            arguments = service.call | {"timeout": max(IMPORT_TIMEOUT, service.options.timeout)}
            answer = stub.ImportProfiles(requests(), **arguments)
    if output == "json":
        print_json(as_dict(answer))
    else:
        print(f"created {answer.created_count}, replaced {answer.updated_count}, refused {answer.failed_count}")
        rows = [
            (
                str(places[item.index]) if 0 <= item.index < len(places) else "-",
                item.principal,
                item.reason,
                item.message,
            )
            for item in answer.failures
        ]
        if rows:
            print_table(("line", "principal", "reason", "problem"), rows, "")
        if answer.failed_count > len(rows):
            print(f"and {answer.failed_count - len(rows)} more")
    if answer.failed_count:
        raise typer.Exit(1)


def _check_lines(file: Path, spool: IO[bytes]) -> "array[int]":
    """Copy the lines that are not empty to ``spool``; return their numbers. Raises ``ConfigurationError``."""
    places = array("Q")
    problems: list[str] = []
    more = 0
    with _opened(file) as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    _parse(line, f"{file}:{number}")
                except ConfigurationError as error:
                    more += len(problems) >= SHOWN_PROBLEMS
                    problems += error.problems if len(problems) < SHOWN_PROBLEMS else ()
                places.append(number)
                spool.write(line.strip() + b"\n")
        except OSError as error:
            raise ConfigurationError(f"{plain(shown(file))}: can't be read ({error.strerror})") from None
    if problems:
        raise ConfigurationError([*problems, *([f"and {more} more"] if more else []), "nothing was imported"])
    return places
