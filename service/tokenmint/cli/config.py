"""`tokenmint config`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tokenmint.cli.output import Output, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Look at a configuration.")


@app.callback()
def _group() -> None:
    """Keep `check` a command of its own, though it is the only one."""


@app.command()
def check(
    config: Annotated[
        Path | None, typer.Option(help="Configuration file. Default: $TOKENMINT_CONFIG, then ./tokenmint.toml.")
    ] = None,
    dev: Annotated[bool, typer.Option("--dev", help="By the rules of `serve --dev`.")] = False,
    output: Output = "text",
) -> None:
    """Check the configuration, the environment included, and list every problem. Exit status 2 where there are any."""
    from tokenmint.config import load, locate

    path = locate(config, os.environ)
    settings = load(path, os.environ, development=dev)
    if output == "json":
        names = {kind: sorted(getattr(settings, kind)) for kind in ("providers", "audiences", "clients", "operators")}
        print_json({"file": str(path) if path else None, **names})
        return
    print(f"{path or 'no file: the defaults'}: no problems")
    rows = [
        (name, audience.algorithm, f"{audience.lifetime} s", ", ".join(sorted(audience.clients)),
         ", ".join(sorted(audience.providers)))
        for name, audience in sorted(settings.audiences.items())
    ]  # fmt: skip
    print_table(("audience", "algorithm", "lifetime", "clients", "providers"), rows, "no audiences: nothing is minted")
