"""`tokenmint keys`."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tokenmint.cli.commands import App
from tokenmint.cli.connection import Connection, as_operator, pages
from tokenmint.cli.output import Output, as_dict, print_json, print_message, print_table, when
from tokenmint.v1 import key_admin_service_pb2 as pb
from tokenmint.v1 import signing_key_pb2
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub

app = App(
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


def _show(keys: list[signing_key_pb2.SigningKey], output: str, document: object, empty: str = "no keys") -> None:
    if output == "json":
        print_json(document)
        return
    rows = [
        (
            key.key_id,
            key.algorithm,
            _state(key),
            when(key, "publish_time"),
            when(key, "planned_time" if key.HasField("planned_time") else "activate_time"),
            when(key, "delete_time"),
        )
        for key in keys
    ]
    print_table(("key id", "algorithm", "state", "published", "signs from", "withdrawn"), rows, empty)


@app.command("list")
@as_operator
def list_keys(
    service: Connection,
    verifiers: Annotated[
        bool, typer.Option("--verifiers", help="Also list replicas, and every verifier that fetched the key set.")
    ] = False,
    output: Output = "text",
) -> None:
    """List the keys, and the known verifiers that have not fetched a prepared key yet.

    With --output json: the keys; with --verifiers too: an object of signing_keys and status.
    """
    with service.stub(KeyAdminServiceStub) as stub:
        keys = pages(stub.ListSigningKeys, pb.ListSigningKeysRequest(page_size=1000), "signing_keys", service.call)
        if output == "json" and not verifiers:
            print_json([as_dict(key) for key in keys])
            return
        status = stub.GetKeyRingStatus(pb.GetKeyRingStatusRequest(), **service.call)
    _show(keys, output, {"signing_keys": [as_dict(key) for key in keys], "status": as_dict(status)})
    if output == "text":
        _show_status(status, everybody=verifiers)


def _show_status(status: pb.GetKeyRingStatusResponse, *, everybody: bool) -> None:
    missing = [one for one in status.verifiers if one.missing_key_ids]
    if everybody:
        print()
        replicas = [(one.replica, str(one.generation)) for one in status.replicas]
        print_table(("replica", "generation"), replicas, "no replicas")
    shown = status.verifiers if everybody else missing
    if shown or everybody:
        print()
        rows = [
            (one.address, one.agent or "-", when(one, "last_fetch_time"), ", ".join(one.missing_key_ids) or "-")
            for one in shown
        ]
        print_table(("verifier", "program", "fetched", "has not seen"), rows, "nobody has fetched the key set yet")
    print(f"\nknown verifiers: {len(status.verifiers)}, of which {len(missing)} have not fetched a prepared key yet")


@app.command()
@as_operator
def timeline(
    service: Connection,
    svg: Annotated[Path | None, typer.Option("--svg", help="The file to write. Default: standard output.")] = None,
) -> None:
    """Draw the life of the keys as SVG: when each was, is and will be prepared, active and retiring.

    Example: tokenmint keys timeline --svg keys.svg
    """
    from tokenmint.cli.timeline import svg as draw

    with service.stub(KeyAdminServiceStub) as stub:
        keys = pages(stub.ListSigningKeys, pb.ListSigningKeysRequest(page_size=1000), "signing_keys", service.call)
    picture = draw(keys, time.time())
    if svg is None:
        print(picture, end="")
        return
    svg.write_text(picture)
    print(f"wrote {svg}: {len(keys)} keys")


@app.command()
@as_operator
def reseal(service: Connection, output: Output = "text") -> None:
    """Seal every private key under the key-encryption key that is configured first.

    To replace that key: make the new one keys.encryption_key_file and name the old one in
    keys.other_encryption_key_files, restart every replica, reseal, remove the old one. Needs the security role.
    """
    with service.stub(KeyAdminServiceStub) as stub:
        answer = stub.ResealSigningKeys(pb.ResealSigningKeysRequest(), **service.call)
    _show(list(answer.signing_keys), output, as_dict(answer), "every key was sealed under it already")
    if output == "text":
        print(f"the key-encryption key in use has the id {answer.encryption_key_id}")


@app.command("accept-store")
def accept_store(
    config: Annotated[
        Path | None, typer.Option(help="Configuration file. Default: $TOKENMINT_CONFIG, then ./tokenmint.toml.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only what would be lost is said.")] = False,
    output: Output = "text",
) -> None:
    """Go on with a store that lost changes: the last resort, where no newer copy can be restored.

    Works on the store and on this machine's high-water mark, whether or not replicas run: those serve again at once.
    What is accepted is lost: profiles, revocations of tokens and uses of single-use tokens. Keys that this machine
    knows to be revoked are put back as revoked. Run it where the newest mark is, and see docs/runbooks/old-store.md
    before it. It is recorded in the audit stream.
    """
    from tokenmint.cli.acceptstore import accept

    found = accept(config, os.environ, write=yes)
    if output == "json":
        document = {"missing": found.missing, "revoked": found.revoked, "mark": str(found.mark)}
        print_json(document | {"accepted": yes and bool(found.missing)})
        return
    if not found.missing:
        print(f"{found.mark}: the store knows everything that was served here: nothing to accept")
        return
    for line in found.missing:
        print(f"the store is older: {line}")
    for key_id in found.revoked:
        print(f"{'put back' if yes else 'to be put back'} as revoked: key {key_id}")
    if yes:
        print(
            f"accepted: wrote {found.mark}. Replicas that run serve again within seconds; start those that do not. "
            "Then repeat what was lost: docs/runbooks/old-store.md says what to look for"
        )
    else:
        print("nothing was changed. Restore a newer copy of the store, or say --yes to go on with this one.")
        raise typer.Exit(1)


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
    with_prepared: Annotated[
        bool,
        typer.Option("--with-prepared", help="Revoke the prepared key of the algorithm too: where the store leaked."),
    ] = False,
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
        request = pb.RevokeSigningKeyRequest(key_id=key_id, reason=reason, with_prepared=with_prepared)
        answer = stub.RevokeSigningKey(request, **service.call)
    _show(
        [answer.signing_key, *([answer.active_key] if answer.HasField("active_key") else [])], output, as_dict(answer)
    )
    typer.echo(
        f"verifiers that cache may accept the revoked key's tokens for another {answer.verifiers_may_accept.seconds} s",
        err=True,
    )
    if answer.replicas_may_sign.seconds:
        typer.echo(
            f"a replica was not heard of: it stops signing within {answer.replicas_may_sign.seconds} s", err=True
        )
    _warn_missing(answer.verifiers_may_miss.seconds)


def _warn_missing(seconds: int) -> None:
    if seconds:
        typer.echo(f"verifiers may not know the key that signs now for up to {seconds} s", err=True)
