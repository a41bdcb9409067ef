"""`tokenmint config`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.commands import App
from tokenmint.cli.output import Output, print_json, without_log
from tokenmint.cli.tables import print_table
from tokenmint.cli.times import spoken
from tokenmint.model.policy import Audience

app = App(no_args_is_help=True, help="Check a configuration.")


@app.callback()
def _group() -> None:
    """Keep `check` a subcommand, although it is the only one."""


@app.command()
def check(
    config: Annotated[
        Path | None, typer.Option(help="Configuration file. Default: $TOKENMINT_CONFIG, then ./tokenmint.toml.")
    ] = None,
    dev: Annotated[bool, typer.Option("--dev", help="Apply the rules of `serve --dev`.")] = False,
    output: Output = "text",
) -> None:
    """Check the configuration with the environment, and list every problem. Exit status 2 if there are any."""
    from tokenmint.config.load import load, locate

    path = locate(config, os.environ)
    try:
        with without_log():
            settings = load(path, os.environ, development=dev, starting=True)
    except ConfigurationError as error:
        if output == "json":
            print_json({"file": str(path) if path else None, "problems": list(error.problems)})
            raise typer.Exit(2) from None
        raise
    if output == "json":
        names = {kind: sorted(getattr(settings, kind)) for kind in ("providers", "audiences", "clients", "operators")}
        print_json({"file": str(path) if path else None, "problems": [], "warnings": list(settings.warnings), **names})
        return
    print(f"{path or 'no file: the defaults'}: no problems")
    for warning in settings.warnings:
        print(f"warning: {warning}")
    for kind in ("providers", "clients", "operators"):
        print(f"{kind + ':':<11}{', '.join(sorted(getattr(settings, kind))) or 'none'}")
    rows = [
        (name, _tokens(audience), spoken(audience.lifetime),
         ", ".join(sorted(audience.clients)), ", ".join(sorted(audience.providers | audience.reexchange_from)))
        for name, audience in sorted(settings.audiences.items())
    ]  # fmt: skip
    columns = ("audience", "tokens", "lifetime", "clients", "exchanged from")
    print_table(columns, rows, "no audiences: nothing is minted", folded=("clients", "exchanged from"))


def _tokens(audience: Audience) -> str:
    """Return the text for the column `tokens`: the algorithm if it can be chosen, and a format of its own."""
    name = audience.format.name
    if not audience.format.signed_by_ring:
        return name
    return audience.algorithm if audience.format.gives_access else f"{audience.algorithm} {name}"
