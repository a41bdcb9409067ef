"""`tokenmint regions`."""

import json
import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.cli.commands import App
from tokenmint.cli.output import Output, print_json
from tokenmint.cli.tables import Cell, print_table
from tokenmint.cli.times import at
from tokenmint.process.new_secrets import write_private

app = App(add_completion=False, no_args_is_help=True, help="Make the keys of regions, and give up a region.")
Config = Annotated[
    Path | None, typer.Option(help="Configuration file. Default: $TOKENMINT_CONFIG, then ./tokenmint.toml.")
]
MOST_FILE: Final = 16 * 1024


@app.command("new-key")
def new_key(
    name: Annotated[str, typer.Argument(help="The name of the region, or `authority`.")],
    directory: Annotated[Path, typer.Option(help="The folder of both files.")] = Path(),
    output: Output = "text",
) -> None:
    """Make the key that proves a region to the others, or that of the authority.

    The private half goes to NAME.pem, readable only by you, and the public half to NAME.jwks.json. These keys sign no
    tokens. Keep the authority's private half off every region: it gives up regions.

    Example: tokenmint regions new-key eu
    """
    from cryptography.hazmat.primitives import serialization

    from tokenmint.keys.signers.local import generate
    from tokenmint.regions.identity import read_identity

    private = generate("ES256").private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secret, public = directory / f"{name}.pem", directory / f"{name}.jwks.json"
    for path in (secret, public):
        if path.exists():
            raise ConfigurationError(f"{path}: exists and is not overwritten: choose another folder, or remove it")
    write_private(secret, private.decode())
    public.write_text(json.dumps({"keys": [read_identity(str(secret), [private]).public_jwk]}) + "\n")
    if output == "json":
        print_json({"private": str(secret), "public": str(public)})
        return
    print(f"the private half, readable only by you:  {secret}")
    print(f"the public half, for the other regions:  {public}")


@app.command("list")
def list_regions(config: Config = None, output: Output = "text") -> None:
    """List the other regions, and how current their keys and revocations are in this region's store."""
    from tokenmint.cli.region_records import listed

    regions = listed(config, os.environ)
    if output == "json":
        print_json([
            {
                "name": one.name,
                "given_up": one.given_up is not None,
                "generation": one.record.generation if one.record is not None else None,
                "keys": [key.key_id for key in one.record.keys] if one.record is not None else [],
                "keys_as_of": one.record.as_of if one.record is not None else None,
                "revocations_as_of": one.record.revocations_as_of if one.record is not None else None,
            }
            for one in regions
        ])  # fmt: skip
        return
    rows = []
    for one in regions:
        record = one.record
        age, revocations, keys = Cell("never"), Cell("never"), "0"
        if record is not None:
            age, revocations = at(record.as_of), at(record.revocations_as_of)
            keys = str(len(record.keys))
        rows.append((one.name, "given up" if one.given_up is not None else "", keys, age, revocations))
    print_table(("region", "state", "keys", "keys complete up to", "revocations up to"), rows, "no other regions")


@app.command()
def statement(
    region: Annotated[str, typer.Argument(help="The region that is given up.")],
    authority_key: Annotated[Path, typer.Option(help="The authority's private key (PEM).")],
    issuer: Annotated[str, typer.Option(help="The issuer of the regions.")],
    to: Annotated[Path, typer.Option(help="The file to write.")],
    output: Output = "text",
) -> None:
    """Sign the statement that a region is given up. It changes nothing before `give-up` gets it.

    Run it where the authority's key is kept. The statement is no secret, and holds for ever.

    Example: tokenmint regions statement eu --authority-key authority.pem --issuer URL --to eu.statement
    """
    from tokenmint.regions.given_up import state
    from tokenmint.regions.identity import read_identity

    try:
        HttpUrl.parse(issuer)
    except BadUrl as error:
        raise typer.BadParameter(str(error), param_hint="--issuer") from None
    authority = read_identity(str(authority_key), [read_bytes(authority_key, most=MOST_FILE)])
    to.write_text(state(authority, issuer, region, time.time()) + "\n")
    if output == "json":
        print_json({"region": region, "statement": str(to)})
        return
    print(f"wrote {to}: `tokenmint regions give-up {to} --yes`, in every region, gives up {region}")


@app.command("give-up")
def give_up(
    statement_file: Annotated[Path, typer.Argument(help="The statement that `tokenmint regions statement` wrote.")],
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Give it up. Without it, the command only proves it.")] = False,
    output: Output = "text",
) -> None:
    """Give up a region, for ever: its keys leave the key set, and tokens that it signed are refused.

    Running replicas notice it at once, and the other regions at their next pull. Run it in every region all the same:
    one that is cut off would learn of it late. The audit stream records it. Read docs/runbooks/giving-up-a-region.md.
    """
    from tokenmint.cli.region_records import give_up as record

    text = read_bytes(statement_file, most=MOST_FILE).decode(errors="replace").strip()
    region = record(config, os.environ, text, write=yes)
    if output == "json":
        print_json({"region": region, "given_up": yes})
        return
    if yes:
        print(f"given up: {region}. Its tokens are refused here from now on")
        return
    print(f"the statement gives up {region}. Nothing was changed: --yes gives it up")
    raise typer.Exit(1)


@app.command()
def accept(
    region: Annotated[str, typer.Argument(help="The region.")],
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept it. Without it, the command changes nothing.")] = False,
    output: Output = "text",
) -> None:
    """Accept another key ring of a region, or an older generation: its store was replaced, or lost changes.

    Its keys that were revoked before stay so. Ask the operators of that region first: someone who holds its key may
    tell an old state. The audit stream records it.
    """
    from tokenmint.cli.region_records import accept as record

    known = record(config, os.environ, region, write=yes)
    if output == "json":
        print_json({"region": region, "generation": known.generation, "accepted": yes})
        return
    if yes:
        print(f"the next document of {region} is accepted, with any ring and generation")
        return
    print(f"{region} was at generation {known.generation} of ring {known.ring_id[:12]}. Nothing was changed: add --yes")
    raise typer.Exit(1)
