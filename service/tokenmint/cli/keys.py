"""`tokenmint keys`."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tokenmint.cli.commands import App
from tokenmint.cli.connection import Connection, as_operator, pages
from tokenmint.cli.following import EVERY, Every, follow
from tokenmint.cli.key_ids import KeyId, whole_id
from tokenmint.cli.output import Output, as_dict, plain, print_json
from tokenmint.cli.tables import Cell, enum_word, print_message, print_table, state
from tokenmint.cli.times import spoken, when
from tokenmint.v1 import key_admin_service_pb2 as pb
from tokenmint.v1 import signing_key_pb2
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub

app = App(
    add_completion=False,
    no_args_is_help=True,
    help="List and manage the signing keys. Their states: prepared, active, retiring, retired.",
)

Algorithm = Annotated[str | None, typer.Option(help="ES256, RS256 or EdDSA. Default: the only configured one.")]
KeyIdArgument = Annotated[str, KeyId]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Do not wait until verifiers have fetched the key. Verifiers with a cached key set refuse its tokens "
        "until they fetch it again; the command prints for how long. Needs the security role.",
    ),
]


def _state(key: signing_key_pb2.SigningKey) -> Cell:
    return state(enum_word(signing_key_pb2.SigningKey.State.DESCRIPTOR, key.state))


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
    columns = ("key id", "algorithm", "state", "published", "signs from", "withdrawn")
    print_table(columns, rows, empty, lead=3)


@app.command("list")
@as_operator
def list_keys(
    service: Connection,
    verifiers: Annotated[
        bool, typer.Option("--verifiers", help="Also list the replicas, and every verifier that fetched the key set.")
    ] = False,
    output: Output = "text",
) -> None:
    """List the keys, and the verifiers that have not fetched a prepared key yet.

    --output json prints the keys, or with --verifiers an object of signing_keys and status.
    """
    with service.stub(KeyAdminServiceStub) as stub:
        keys = pages(stub.ListSigningKeys, pb.ListSigningKeysRequest(page_size=1000), "signing_keys", service.call)
        if output == "json" and not verifiers:
            print_json([as_dict(key) for key in keys])
            return
        status = stub.GetKeyRingStatus(pb.GetKeyRingStatusRequest(), **service.call)
    _show(keys, output, {"signing_keys": [as_dict(key) for key in keys], "status": as_dict(status)})
    if output == "text":
        _show_status(status, every_verifier=verifiers)


def _show_status(status: pb.GetKeyRingStatusResponse, *, every_verifier: bool) -> None:
    missing = [one for one in status.verifiers if one.missing_key_ids]
    if every_verifier:
        print()
        replicas = [(one.replica, str(one.generation)) for one in status.replicas]
        print_table(("replica", "generation"), replicas, "no replicas")
    listed = status.verifiers if every_verifier else missing
    if listed or every_verifier:
        print()
        rows = [
            (one.address, one.agent or "-", when(one, "last_fetch_time"), ", ".join(one.missing_key_ids) or "-")
            for one in listed
        ]
        columns = ("verifier", "program", "fetched", "has not seen")
        print_table(columns, rows, "no verifier has fetched the key set yet", folded=("program", "has not seen"))
    if not status.verifiers and not every_verifier:
        print("\nno verifier has fetched the key set yet")
        return
    print(f"\nknown verifiers: {len(status.verifiers)}; without a prepared key: {len(missing)}")


@app.command()
@as_operator
def timeline(
    service: Connection,
    svg: Annotated[Path | None, typer.Option("--svg", help="The file to write. Default: standard output.")] = None,
) -> None:
    """Draw the life of the keys as SVG, with past and planned states.

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
def watch(service: Connection, every: Every = EVERY, output: Output = "text") -> None:
    """Print every key with its state, and then each change of the ring, until Ctrl-C.

    Changes between two looks are one change. --output json prints a line for each.
    """
    from tokenmint.cli.key_changes import Ring, look, show

    ring = Ring()
    with service.stub(KeyAdminServiceStub) as stub:
        show(ring.changes(*look(service, stub)), output)
        follow(service, lambda: show(ring.changes(*look(service, stub)), output), every)


@app.command()
@as_operator
def reseal(service: Connection, output: Output = "text") -> None:
    """Seal every private key under the current key-encryption key.

    To replace that key: set the new one as keys.encryption_key_file and the old one as keys.other_encryption_key_files,
    restart every replica, reseal, then remove the old one. Needs the security role.
    """
    with service.stub(KeyAdminServiceStub) as stub:
        answer = stub.ResealSigningKeys(pb.ResealSigningKeysRequest(), **service.call)
    _show(list(answer.signing_keys), output, as_dict(answer), "every key is sealed under it already")
    if output == "text":
        print(f"the key-encryption key in use has the id {answer.encryption_key_id}")


@app.command("accept-store")
def accept_store(
    config: Annotated[
        Path | None, typer.Option(help="Configuration file. Default: $TOKENMINT_CONFIG, then ./tokenmint.toml.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept. Without it, the command only lists the losses.")] = False,
    output: Output = "text",
) -> None:
    """Accept a store that lost changes: the last resort if no newer copy can be restored.

    It changes the store and this machine's high-water mark. Running replicas serve again at once. The lost changes stay
    lost: profiles, revocations of tokens and uses of single-use tokens. Keys that this machine's mark lists as revoked
    are revoked again. Run it on the machine with the newest mark, after reading docs/runbooks/old-store.md. The audit
    stream records it.
    """
    from tokenmint.cli.acceptstore import accept

    comparison = accept(config, os.environ, write=yes)
    if output == "json":
        document = {"missing": comparison.missing, "revoked": comparison.revoked, "mark": str(comparison.mark)}
        print_json(document | {"accepted": yes and bool(comparison.missing)})
        return
    if not comparison.missing:
        print(f"{comparison.mark}: the store lacks nothing that was served here: nothing to accept")
        return
    for line in comparison.missing:
        print(f"the store is older: {line}")
    for key_id in comparison.revoked:
        print(f"{'revoked' if yes else 'to be revoked'} again: key {key_id}")
    if yes:
        print(
            f"accepted: wrote {comparison.mark}. Running replicas serve again within seconds; start the others. "
            "Then repeat the lost changes, as docs/runbooks/old-store.md describes"
        )
    else:
        print("nothing was changed. Restore a newer copy of the store, or accept this one with --yes.")
        raise typer.Exit(1)


@app.command("get")
@as_operator
def get_key(service: Connection, key_id: KeyIdArgument, output: Output = "json") -> None:
    """Show one key as JSON, with its public half."""
    with service.stub(KeyAdminServiceStub) as stub:
        request = pb.GetSigningKeyRequest(key_id=whole_id(key_id, stub.ListSigningKeys, service.call))
        answer = stub.GetSigningKey(request, **service.call)
    print_message(answer.signing_key, output)


@app.command()
@as_operator
def prepare(service: Connection, algorithm: Algorithm = None, output: Output = "text") -> None:
    """Publish a prepared key, if the algorithm has none."""
    with service.stub(KeyAdminServiceStub) as stub:
        answer = stub.PrepareSigningKey(pb.PrepareSigningKeyRequest(algorithm=algorithm or ""), **service.call)
    _show([answer.signing_key], output, as_dict(answer))


@app.command()
@as_operator
def activate(service: Connection, key_id: KeyIdArgument, force: Force = False, output: Output = "text") -> None:
    """Let a prepared key sign."""
    with service.stub(KeyAdminServiceStub) as stub:
        key_id = whole_id(key_id, stub.ListSigningKeys, service.call)
        answer = stub.ActivateSigningKey(pb.ActivateSigningKeyRequest(key_id=key_id, force=force), **service.call)
    _show([answer.signing_key], output, as_dict(answer))
    _warn_missing(answer.verifiers_may_miss.seconds)


@app.command()
@as_operator
def rotate(service: Connection, algorithm: Algorithm = None, force: Force = False, output: Output = "text") -> None:
    """Let the prepared key sign and prepare the next one.

    Refused while verifiers may lack the prepared key; the refusal names the time from which it is allowed.

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
    key_id: KeyIdArgument,
    reason: Annotated[str, typer.Option(help="The reason, for the record.")],
    with_prepared: Annotated[
        bool,
        typer.Option("--with-prepared", help="Also revoke the algorithm's prepared key, in case the store leaked."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    output: Output = "text",
) -> None:
    """Remove a key from use and from the key set at once. Its tokens stop verifying; this can't be undone.

    Example: tokenmint keys revoke KEY_ID --reason "copied from a stolen backup"
    """
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("a revocation can't be undone: confirm it with --yes", param_hint="--yes")
    with service.stub(KeyAdminServiceStub) as stub:
        key_id = whole_id(key_id, stub.ListSigningKeys, service.call)
        if not yes:
            typer.confirm(f"Revoke {plain(key_id)}? Tokens that it signed stop verifying.", abort=True, err=True)
        request = pb.RevokeSigningKeyRequest(key_id=key_id, reason=reason, with_prepared=with_prepared)
        answer = stub.RevokeSigningKey(request, **service.call)
    _show(
        [answer.signing_key, *([answer.active_key] if answer.HasField("active_key") else [])], output, as_dict(answer)
    )
    typer.echo(
        "verifiers with a cached key set may accept the revoked key's tokens for another "
        f"{spoken(answer.verifiers_may_accept.seconds)}",
        err=True,
    )
    if answer.replicas_may_sign.seconds:
        typer.echo(
            f"a replica did not answer: it stops signing within {spoken(answer.replicas_may_sign.seconds)}", err=True
        )
    _warn_missing(answer.verifiers_may_miss.seconds)


def _warn_missing(seconds: int) -> None:
    if seconds:
        typer.echo(f"verifiers may not know the key that signs now for up to {spoken(seconds)}", err=True)
