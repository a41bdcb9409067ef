"""`tokenmint keys`."""

import sys
from typing import Annotated

import typer

from tokenmint.cli.connection import Connection, as_operator, pages
from tokenmint.cli.output import Output, as_dict, print_json, print_message, print_table, when
from tokenmint.v1 import key_admin_service_pb2 as pb
from tokenmint.v1 import signing_key_pb2
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Look at the signing keys and move them through their life: prepared, active, retiring, retired.",
)

Algorithm = Annotated[str | None, typer.Option(help="ES256, RS256 or EdDSA. Default: the only configured one.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Before verifiers have had time to see the key: those that cached the key set refuse its tokens until "
        "they fetch it again. For how long is printed. Needs the security role.",
    ),
]


def _state(key: signing_key_pb2.SigningKey) -> str:
    return signing_key_pb2.SigningKey.State.Name(key.state).removeprefix("STATE_").lower()


def _show(keys: list[signing_key_pb2.SigningKey], output: str, document: object) -> None:
    if output == "json":
        print_json(document)
        return
    rows = [
        (
            key.key_id,
            key.algorithm,
            _state(key),
            when(key, "publish_time"),
            when(key, "activate_time"),
            when(key, "delete_time"),
        )
        for key in keys
    ]
    print_table(("key id", "algorithm", "state", "published", "signs from", "withdrawn"), rows, "no keys")


@app.command("list")
@as_operator
def list_keys(service: Connection, output: Output = "text") -> None:
    """List the keys."""
    with service.stub(KeyAdminServiceStub) as stub:
        keys = pages(stub.ListSigningKeys, pb.ListSigningKeysRequest(page_size=1000), "signing_keys", service.call)
    _show(keys, output, [as_dict(key) for key in keys])


@app.command("get")
@as_operator
def get_key(service: Connection, key_id: str, output: Output = "json") -> None:
    """Show one key as JSON, with its public half."""
    with service.stub(KeyAdminServiceStub) as stub:
        answer = stub.GetSigningKey(pb.GetSigningKeyRequest(key_id=key_id), **service.call)
    print_message(answer.signing_key, output)


@app.command()
@as_operator
def prepare(service: Connection, algorithm: Algorithm = None, output: Output = "text") -> None:
    """Publish a prepared key, where the algorithm has none."""
    with service.stub(KeyAdminServiceStub) as stub:
        answer = stub.PrepareSigningKey(pb.PrepareSigningKeyRequest(algorithm=algorithm or ""), **service.call)
    _show([answer.signing_key], output, as_dict(answer))


@app.command()
@as_operator
def activate(service: Connection, key_id: str, force: Force = False, output: Output = "text") -> None:
    """Let a prepared key sign."""
    with service.stub(KeyAdminServiceStub) as stub:
        answer = stub.ActivateSigningKey(pb.ActivateSigningKeyRequest(key_id=key_id, force=force), **service.call)
    _show([answer.signing_key], output, as_dict(answer))
    _warn_missing(answer.verifiers_may_miss.seconds)


@app.command()
@as_operator
def rotate(service: Connection, algorithm: Algorithm = None, force: Force = False, output: Output = "text") -> None:
    """Let the prepared key sign and prepare the next one.

    Refused while verifiers may not have seen the prepared key yet; the refusal says from when it is allowed.

    Example: tokenmint keys rotate --algorithm ES256
    """
    with service.stub(KeyAdminServiceStub) as stub:
        answer = stub.RotateSigningKey(
            pb.RotateSigningKeyRequest(algorithm=algorithm or "", force=force), **service.call
        )
    keys = [answer.active_key, answer.prepared_key]
    if answer.HasField("retiring_key"):
        keys.append(answer.retiring_key)
    _show(keys, output, as_dict(answer))
    _warn_missing(answer.verifiers_may_miss.seconds)


@app.command()
@as_operator
def revoke(
    service: Connection,
    key_id: str,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    output: Output = "text",
) -> None:
    """Take a key out of use and out of the key set at once. Its tokens stop verifying; it never comes back.

    Example: tokenmint keys revoke KEY_ID --reason "copied from a stolen backup"
    """
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("revoking can't be undone: say --yes", param_hint="--yes")
        typer.confirm(f"Revoke {key_id}? Tokens that it signed stop verifying.", abort=True, err=True)
    with service.stub(KeyAdminServiceStub) as stub:
        answer = stub.RevokeSigningKey(pb.RevokeSigningKeyRequest(key_id=key_id, reason=reason), **service.call)
    _show([answer.signing_key, answer.active_key], output, as_dict(answer))
    typer.echo(
        f"verifiers that cache may accept the revoked key's tokens for another {answer.verifiers_may_accept.seconds} s",
        err=True,
    )
    _warn_missing(answer.verifiers_may_miss.seconds)


def _warn_missing(seconds: int) -> None:
    if seconds:
        typer.echo(f"verifiers may not know the key that signs now for up to {seconds} s", err=True)
