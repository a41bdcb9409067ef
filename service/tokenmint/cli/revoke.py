"""`tokenmint revoke`."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import grpc
import typer

from tokenmint.cli.commands import App
from tokenmint.cli.configured import names_of
from tokenmint.cli.connection import Connection, as_operator
from tokenmint.cli.output import Output, as_dict, plain, print_json
from tokenmint.cli.times import when
from tokenmint.v1 import revocation_admin_service_pb2 as pb
from tokenmint.v1.profile_admin_service_pb2 import GetProfileRequest
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.revocation_admin_service_pb2_grpc import RevocationAdminServiceStub

app = App(
    no_args_is_help=True,
    help="Revoke many tokens at once: everything that was issued up to now. New tokens are minted as before, so close "
    "the door, too. One token: `tokenmint token revoke`.",
)

Reason = Annotated[str, typer.Option(help="The reason, for the record.")]
WithDerived = Annotated[
    bool,
    typer.Option(
        "--with-derived",
        help="Also every token for an audience that accepts such tokens in exchange (reexchange_from).",
    ),
]
Removed = Annotated[bool, typer.Option("--removed", help="Accept a name that is no longer configured.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


@app.command()
@as_operator
def client(
    service: Connection,
    name: Annotated[str, typer.Argument(metavar="CLIENT", help="The client's id.", autocompletion=names_of("clients"))],
    reason: Reason,
    with_derived: WithDerived = False,
    removed: Removed = False,
    yes: Yes = False,
    output: Output = "text",
) -> None:
    """Revoke the tokens that a client got.

    Example: tokenmint revoke client web --reason "its secret leaked" --yes
    """
    _revoke(
        service,
        f"the tokens of the client {name}",
        {"client_id": name, **_also(with_derived, removed)},
        reason,
        yes,
        output,
    )


@app.command()
@as_operator
def audience(
    service: Connection,
    name: Annotated[
        str, typer.Argument(metavar="AUDIENCE", help="The audience's name.", autocompletion=names_of("audiences"))
    ],
    reason: Reason,
    with_derived: WithDerived = False,
    removed: Removed = False,
    yes: Yes = False,
    output: Output = "text",
) -> None:
    """Revoke every token for an audience."""
    _revoke(service, f"the tokens for {name}", {"audience": name, **_also(with_derived, removed)}, reason, yes, output)


@app.command()
@as_operator
def provider(
    service: Connection,
    name: Annotated[
        str, typer.Argument(metavar="PROVIDER", help="The provider's name.", autocompletion=names_of("providers"))
    ],
    reason: Reason,
    yes: Yes = False,
    output: Output = "text",
) -> None:
    """Revoke a provider's own tokens, and every token for an audience that they may have led to.

    No token names its provider. So this includes the tokens of other providers' users for the same audiences.
    """
    _revoke(service, f"the tokens of the provider {name}", {"provider": name}, reason, yes, output)


@app.command()
@as_operator
def principal(
    service: Connection,
    name: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="The principal, with or without a profile.")],
    reason: Reason,
    yes: Yes = False,
    output: Output = "text",
) -> None:
    """Revoke the tokens of a principal: those of tokenmint, and those of its providers."""
    _revoke(service, f"the tokens of {name}", {"principal": name}, reason, yes, output)
    if not _has_profile(service, name):
        typer.echo(
            f"tokenmint: warning: {plain(name)} has no profile: if it is not one of the principals without one, check "
            "the name",
            err=True,
        )


def _has_profile(service: Connection, principal: str) -> bool:
    """Return whether a principal has a profile; also True if that can't be found out, because it was revoked anyway."""
    with service.stub(ProfileAdminServiceStub) as stub:
        try:
            stub.GetProfile(GetProfileRequest(principal=principal), **service.call)
        except grpc.RpcError as error:
            return error.code() is not grpc.StatusCode.NOT_FOUND
    return True


def _also(with_derived: bool, removed: bool) -> dict[str, bool]:
    return {"with_derived": with_derived, "removed": removed}


def _revoke(service: Connection, what: str, fields: Mapping[str, Any], reason: str, yes: bool, output: Output) -> None:
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("a revocation can't be undone: confirm it with --yes", param_hint="--yes")
    if not yes:
        typer.confirm(f"Revoke {plain(what)} that were issued up to now?", abort=True, err=True)
    with service.stub(RevocationAdminServiceStub) as stub:
        request = pb.RevokeTokensRequest(**fields, reason=reason)
        answer = stub.RevokeTokens(request, **service.call)
    if output == "json":
        print_json(as_dict(answer))
        return
    print(f"{plain(what)}, issued in or before {when(answer, 'tokens_valid_after_time')}, are refused")
    for one in answer.audiences:
        print(f"  every token for {plain(one)}")
