"""`tokenmint store`."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from tokenmint.cli.commands import App
from tokenmint.cli.output import Output, print_json

EVERY: Final = 1.0  # seconds between two lines of progress, which a terminal alone gets

app = App(add_completion=False, no_args_is_help=True, help="Move the store.")


@app.callback()
def _group() -> None:
    """Keep `copy` a subcommand, although it is the only one."""


@app.command()
def copy(
    to: Annotated[Path, typer.Option(help="The configuration that names the store to copy to, in [redis].")],
    config: Annotated[
        Path | None, typer.Option(help="Configuration file. Default: $TOKENMINT_CONFIG, then ./tokenmint.toml.")
    ] = None,
    output: Output = "text",
) -> None:
    """Copy everything in the store into another, empty store.

    No replica may write to the store meanwhile: stop all of them first, or its writes, as
    docs/runbooks/moving-the-store.md describes. The copy has the same keys, profiles, revocations and audit events, and
    fits the same high-water mark. It is refused if the other store holds a key ring. An interrupted copy begins again.

    Example: tokenmint store copy --to new.toml
    """
    from tokenmint.cli.storecopy import copy as copy_store

    told = time.monotonic()

    def progress(so_far: int) -> None:
        nonlocal told
        if sys.stderr.isatty() and time.monotonic() - told >= EVERY:
            told = time.monotonic()
            typer.echo(f"{so_far} values copied", err=True)

    copied = copy_store(config, to, os.environ, progress)
    if output == "json":
        print_json({"values": copied.values, "events": copied.events})
        return
    print(f"copied the key ring, {copied.values} other values and {copied.events} audit events")
    print(f"serve with {to} from now on; nothing may write to the store that was copied")
