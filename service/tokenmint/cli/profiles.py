"""`tokenmint profiles`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import grpc
import typer
from google.protobuf.field_mask_pb2 import FieldMask

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.commands import App
from tokenmint.cli.configured import names_of
from tokenmint.cli.connection import Connection, as_operator, pages
from tokenmint.cli.output import Output, as_dict, plain, print_json
from tokenmint.cli.profile_erase import erase
from tokenmint.cli.profile_export import differences, export
from tokenmint.cli.profile_import import GIVE_UP, SUFFIX, Importer, PlaceFile, Result, as_document
from tokenmint.cli.profile_lines import MAX_LINE, checked_input, opened, parse
from tokenmint.cli.progress import shown_progress
from tokenmint.cli.tables import Value, print_message, print_table, state
from tokenmint.cli.times import duration, when
from tokenmint.model.secret import shown
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1 import profile_pb2
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub

app = App(no_args_is_help=True, help="Manage the profiles that enrich minted tokens.")

ProfileFile = Annotated[Path, typer.Argument(help="JSON file with the profile; - for standard input.")]
ExportFile = Annotated[Path, typer.Argument(help="The file to write; - for standard output.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the profiles against the store; change nothing.")]
ResumeFrom = Annotated[int | None, typer.Option(min=1, help="Begin at this line, and not where FILE.import says.")]
FromStart = Annotated[bool, typer.Option("--from-start", help="Begin at the first line, in spite of FILE.import.")]
GiveUp = Annotated[
    float,
    typer.Option(
        parser=duration,
        metavar="TIME",
        show_default=False,
        help="End after this time without an acknowledgement. Default: 2m",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]
ReplaceDeleted = Annotated[bool, typer.Option("--replace-deleted", help="Allow a deleted principal again.")]
Provider = Annotated[
    str, typer.Argument(help="The configured name of the provider, e.g. google.", autocompletion=names_of("providers"))
]
Subject = Annotated[str, typer.Argument(help="The provider's name for the principal, e.g. its sub.")]


def _row(profile: profile_pb2.Profile) -> tuple[Value, ...]:
    identities = ", ".join(f"{item.provider}/{item.subject}" for item in profile.identities)
    condition = state("disabled" if profile.disabled else "enabled")
    return profile.principal, condition, ", ".join(profile.roles), identities, when(profile, "update_time")


def _read(file: Path) -> profile_pb2.Profile:
    with opened(file) as stream:
        text = stream.read(MAX_LINE + 1)
    if len(text) > MAX_LINE:
        raise ConfigurationError(f"{plain(shown(file))}: is longer than {MAX_LINE} bytes")
    return parse(text, str(file))


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
    _warn_providers(answer.unknown_providers)
    print_message(answer.profile, output)


@app.command("put")
@as_operator
def put_profile(
    service: Connection, file: ProfileFile, replace_deleted: ReplaceDeleted = False, output: Output = "json"
) -> None:
    """Create a profile, or replace claims, roles and state of the existing one.

    Claims, roles and state that the file leaves out are removed. Identities that the existing profile lacks are linked;
    none is unlinked. An etag in the file is compared.

    Example: {"principal": "ada", "identities": [{"provider": "google", "subject": "1842"}], "roles": ["clerk"]}
    """
    profile = _read(file)
    with service.stub(ProfileAdminServiceStub) as stub:
        try:
            request = pb.CreateProfileRequest(profile=profile, replace_deleted=replace_deleted)
            created = stub.CreateProfile(request, **service.call)
            stored, unknown = created.profile, set(created.unknown_providers)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
            mask = FieldMask(paths=["disabled", "claims", "roles"])
            stored = stub.UpdateProfile(
                pb.UpdateProfileRequest(profile=profile, update_mask=mask), **service.call
            ).profile
            unknown = set()
            linked = {(item.provider, item.subject) for item in stored.identities}
            for item in profile.identities:
                if (item.provider, item.subject) not in linked:
                    link = pb.LinkIdentityRequest(principal=profile.principal, identity=item)
                    answer = stub.LinkIdentity(link, **service.call)
                    stored = answer.profile
                    unknown.update(answer.unknown_providers)
    _warn_providers(unknown)
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
        columns = ("principal", "state", "roles", "identities", "changed")
        print_table(columns, map(_row, profiles), "no profiles", folded=("roles", "identities"), lead=2)


@app.command("link")
@as_operator
def link_identity(
    service: Connection, principal: str, provider: Provider, subject: Subject, output: Output = "json"
) -> None:
    """Make an identity resolve to a principal."""
    identity = profile_pb2.Identity(provider=provider, subject=subject)
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.LinkIdentity(pb.LinkIdentityRequest(principal=principal, identity=identity), **service.call)
    _warn_providers(answer.unknown_providers)
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


@app.command("disable")
@as_operator
def disable_profile(service: Connection, principal: str, output: Output = "text") -> None:
    """Refuse a principal, and its tokens, until `enable`. Roles, claims and identities stay."""
    _set_disabled(service, principal, True, output)


@app.command("enable")
@as_operator
def enable_profile(service: Connection, principal: str, output: Output = "text") -> None:
    """Serve a disabled principal again. Roles, claims and identities stay."""
    _set_disabled(service, principal, False, output)


def _set_disabled(service: Connection, principal: str, disabled: bool, output: Output) -> None:
    profile = profile_pb2.Profile(principal=principal, disabled=disabled)
    request = pb.UpdateProfileRequest(profile=profile, update_mask=FieldMask(paths=["disabled"]))
    with service.stub(ProfileAdminServiceStub) as stub:
        stored = stub.UpdateProfile(request, **service.call).profile
    if output == "json":
        print_message(stored, output)
    else:
        print(f"{'disabled' if disabled else 'enabled'} {principal}")


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
    dry_run: DryRun = False,
    resume_from: ResumeFrom = None,
    from_start: FromStart = False,
    give_up: GiveUp = GIVE_UP,
    output: Output = "text",
) -> None:
    """Create or replace many profiles. Running it again is safe. Exit status 1 if the service refused any.

    The whole input is checked before the first profile is sent: with one bad line, nothing is imported. An interrupted
    import goes on where it was when the same command runs again: FILE.import keeps the place.

    Example: tokenmint profiles import people.jsonl
    """
    kept = None if dry_run or str(file) == "-" else PlaceFile(file.with_name(file.name + SUFFIX))
    with checked_input(file) as given, service.stub(ProfileAdminServiceStub) as stub:
        importer = Importer(service, stub, given, kept, dry=dry_run, give_up=give_up)
        importer.find_place(resume_from, from_start=from_start)
        if importer.resumed:
            typer.echo(f"goes on at line {importer.next_line}: what is above it was imported before", err=True)
        try:
            with shown_progress(len(given), "profiles acknowledged") as progress:
                importer.run(progress)
        except (grpc.RpcError, KeyboardInterrupt):
            _tell_where(importer, len(given), kept)
            raise
    result = importer.result
    if output == "json":
        print_json(as_document(result, importer.resumed, progress, dry=dry_run))
    else:
        _print_result(result, dry=dry_run)
    _warn_providers(result.unknown_providers)
    if result.refused:
        raise typer.Exit(1)


def _tell_where(importer: Importer, total: int, kept: PlaceFile | None) -> None:
    how = "run the same command again" if kept else f"go on with --resume-from {importer.next_line}"
    typer.echo(f"{importer.contiguous} of {total} profiles are acknowledged: {how}", err=True)


def _print_result(result: Result, *, dry: bool) -> None:
    if dry:
        print(f"would create {result.created}, would replace {result.replaced}, would refuse {result.refused}")
    else:
        print(f"created {result.created}, replaced {result.replaced}, refused {result.refused}")
    rows = [(str(line), principal, reason, message) for line, principal, reason, message in sorted(result.failures)]
    if rows:
        print_table(("line", "principal", "reason", "problem"), rows, "", folded=("problem",), lead=2)
    if result.refused > len(rows):
        print(f"and {result.refused - len(rows)} more")


def _warn_providers(names: Iterable[str]) -> None:
    for name in sorted(names):
        typer.echo(f"warning: no provider {plain(name)!r} is configured: identities at it can't sign in yet", err=True)


@app.command("export")
@as_operator
def export_profiles(service: Connection, file: ExportFile, force: Force = False, output: Output = "text") -> None:
    """Write every profile as a line of JSON, in the form that `import` reads. Deleted ones are left out.

    Each profile is written as it was when it was read. One that is changed, created or deleted during the export is
    written as before or as after it.

    Example: tokenmint profiles export people.jsonl
    """
    with service.stub(ProfileAdminServiceStub, long_answers=True) as stub:
        number = export(stub, service.call, file, force=force)
    if str(file) == "-":
        return
    if output == "json":
        print_json({"file": str(file), "profiles": number})
    else:
        print(f"wrote {plain(str(file))}: {number} profiles")


@app.command("diff")
@as_operator
def diff_profiles(
    service: Connection,
    file: Annotated[Path, typer.Argument(help="One JSON profile on each line; - for standard input.")],
    output: Output = "text",
) -> None:
    """Compare a file with the store. Exit status 0: the same; 1: they differ; 2 and above: not compared.

    added: in the file alone, `import` would create it. changed: `import` would change it (but it never unlinks an
    identity). missing: in the store alone.
    """
    with checked_input(file) as given, service.stub(ProfileAdminServiceStub, long_answers=True) as stub:
        found = differences(stub, service.call, given)
    if output == "json":
        print_json(found.document)
    else:
        print_table(
            ("profile", "principal", "line", "fields"), found.rows, "no differences", folded=("fields",), lead=2
        )
    if found.rows:
        raise typer.Exit(1)


@app.command("erase")
@as_operator
def erase_profile(
    service: Connection,
    principal: str,
    allow_return: Annotated[
        bool,
        typer.Option(
            "--allow-return",
            help="Leave nothing that refuses the person: a later sign-in counts as that of a new person.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    output: Output = "text",
) -> None:
    """Erase a person: profile, identities, reference tokens. A keyed hash stays, and refuses the person; no undo.

    Needs the security role. Exit status 5 if nothing of the person was there.

    Example: tokenmint profiles erase ada --yes
    """
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("an erasure can't be undone: confirm it with --yes", param_hint="--yes")
        typer.confirm(f"Erase {plain(principal)}? It can't be undone.", abort=True, err=True)
    with service.stub(ProfileAdminServiceStub) as stub:
        erased = erase(stub, service.call, principal, allow_return=allow_return)
    if output == "json":
        print_json({"principal": principal, "allow_return": allow_return, **erased.document})
    else:
        print(erased.described(principal, allow_return=allow_return))
    if not erased.anything:
        raise typer.Exit(5)
