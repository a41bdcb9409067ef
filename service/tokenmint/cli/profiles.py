"""`tokenmint profiles`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict, ParseError

from tokenmint.cli.connection import Connection, as_operator
from tokenmint.cli.output import Output, as_dict, print_json, print_table, when
from tokenmint.errors import ConfigurationError
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1 import profile_pb2
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub

IMPORT_TIMEOUT: Final = 600.0  # seconds

app = typer.Typer(no_args_is_help=True, help="Keep the profiles that minted tokens are enriched from.")

Provider = Annotated[str, typer.Argument(help="The configured name of the provider, e.g. google.")]
Subject = Annotated[str, typer.Argument(help="The provider's name for the principal, e.g. its sub.")]


def _row(profile: profile_pb2.Profile) -> tuple[str, ...]:
    identities = ", ".join(f"{item.provider}/{item.subject}" for item in profile.identities)
    state = "disabled" if profile.disabled else "enabled"
    return profile.principal, state, ", ".join(profile.roles), identities, when(profile, "update_time")


def _parse(document: dict[str, Any], where: str) -> profile_pb2.Profile:
    try:
        return ParseDict(document, profile_pb2.Profile())
    except ParseError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _documents(file: Path) -> Iterator[str]:
    if str(file) == "-":
        yield from sys.stdin
        return
    with file.open() as lines:
        yield from lines


@app.command("get")
@as_operator
def get_profile(service: Connection, principal: str) -> None:
    """Show a profile as JSON, in the form that `put` reads."""
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.GetProfile(pb.GetProfileRequest(principal=principal), **service.call)
    print_json(as_dict(answer.profile))


@app.command("put")
@as_operator
def put_profile(
    service: Connection,
    file: Annotated[Path, typer.Argument(help="JSON file with the profile; - for standard input.")],
    replace_deleted: Annotated[bool, typer.Option(help="Let a deleted principal come back.")] = False,
) -> None:
    """Create a profile, or replace the claims, roles and state of the one there is.

    Example: {"principal": "ada", "identities": [{"provider": "google", "subject": "1842"}], "roles": ["clerk"]}
    """
    try:
        document = json.loads("".join(_documents(file)))
    except ValueError:
        raise ConfigurationError(f"{file}: is not JSON") from None
    profile = _parse(document, str(file))
    import grpc

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
            known = {(item.provider, item.subject) for item in stored.identities}
            for item in profile.identities:
                if (item.provider, item.subject) not in known:
                    link = pb.LinkIdentityRequest(principal=profile.principal, identity=item)
                    stored = stub.LinkIdentity(link, **service.call).profile
    print_json(as_dict(stored))


@app.command("delete")
@as_operator
def delete_profile(service: Connection, principal: str) -> None:
    """Delete a profile. Its principal and identities stay refused."""
    with service.stub(ProfileAdminServiceStub) as stub:
        stub.DeleteProfile(pb.DeleteProfileRequest(principal=principal), **service.call)
    print(f"deleted {principal}")


@app.command("list")
@as_operator
def list_profiles(service: Connection, output: Output = "text") -> None:
    """List the profiles."""
    found: dict[str, profile_pb2.Profile] = {}
    token = ""
    with service.stub(ProfileAdminServiceStub) as stub:
        while True:
            answer = stub.ListProfiles(pb.ListProfilesRequest(page_size=500, page_token=token), **service.call)
            found |= {profile.principal: profile for profile in answer.profiles}
            token = answer.next_page_token
            if not token:
                break
    profiles = [found[principal] for principal in sorted(found)]
    if output == "json":
        print_json([as_dict(profile) for profile in profiles])
    else:
        print_table(("principal", "state", "roles", "identities", "changed"), map(_row, profiles), "no profiles")


@app.command("link")
@as_operator
def link_identity(service: Connection, principal: str, provider: Provider, subject: Subject) -> None:
    """Make an identity resolve to a principal."""
    identity = profile_pb2.Identity(provider=provider, subject=subject)
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.LinkIdentity(pb.LinkIdentityRequest(principal=principal, identity=identity), **service.call)
    print_json(as_dict(answer.profile))


@app.command("unlink")
@as_operator
def unlink_identity(service: Connection, principal: str, provider: Provider, subject: Subject) -> None:
    """Refuse an identity from now on."""
    identity = profile_pb2.Identity(provider=provider, subject=subject)
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.UnlinkIdentity(pb.UnlinkIdentityRequest(principal=principal, identity=identity), **service.call)
    print_json(as_dict(answer.profile))


@app.command("revoke-tokens")
@as_operator
def revoke_tokens(service: Connection, principal: str) -> None:
    """Refuse every token of a principal that was issued up to now."""
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.RevokePrincipalTokens(pb.RevokePrincipalTokensRequest(principal=principal), **service.call)
    print(f"nothing issued in or before {when(answer, 'tokens_valid_after_time')} is accepted for {principal}")


@app.command("import")
@as_operator
def import_profiles(
    service: Connection,
    file: Annotated[Path, typer.Argument(help="One JSON profile on each line; - for standard input.")],
    output: Output = "text",
) -> None:
    """Create or replace many profiles. Running it again is safe."""
    sent = 0

    def requests() -> Iterator[pb.ImportProfilesRequest]:
        nonlocal sent
        for number, line in enumerate(_documents(file), start=1):
            if not line.strip():
                continue
            try:
                document = json.loads(line)
            except ValueError:
                raise ConfigurationError(f"{file}:{number}: is not JSON") from None
            yield pb.ImportProfilesRequest(profile=_parse(document, f"{file}:{number}"))
            sent += 1
            if sent % 1000 == 0:
                typer.echo(f"{sent} profiles sent", err=True)

    prepared = list(requests())  # a broken line must not stop an import half-way
    with service.stub(ProfileAdminServiceStub) as stub:
        answer = stub.ImportProfiles(iter(prepared), **service.call | {"timeout": max(IMPORT_TIMEOUT, service.timeout)})
    if output == "json":
        print_json(as_dict(answer))
    else:
        print(f"created {answer.created_count}, replaced {answer.updated_count}, refused {answer.failed_count}")
        rows = [(str(item.index), item.principal, item.reason, item.message) for item in answer.failures]
        if rows:
            print_table(("position", "principal", "reason", "what was wrong"), rows, "")
    if answer.failed_count:
        raise typer.Exit(1)
