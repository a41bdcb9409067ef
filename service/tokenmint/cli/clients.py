"""`tokenmint clients`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.commands import App
from tokenmint.cli.output import Output, print_json
from tokenmint.process.new_secrets import new_secret as make_secret
from tokenmint.process.new_secrets import write_private

app = App(no_args_is_help=True, help="Make secrets for callers.")


@app.callback()
def _group() -> None:
    """Keep `new-secret` a subcommand, although it is the only one."""


@app.command("new-secret")
def new_secret(
    secret_file: Annotated[
        Path | None, typer.Option(help="Write the secret to this file, readable only by you, and do not print it.")
    ] = None,
    output: Output = "text",
) -> None:
    """Make a secret for a client or an operator. It is printed once; the configuration holds its hash.

    To replace one: add the new line beside the old, reload, give the caller the new secret, remove the old line.

    Example: tokenmint clients new-secret --secret-file web.secret
    """
    secret = make_secret(os.urandom)
    line = f"sha256:{secret.fingerprint()}"
    if secret_file is not None:
        if secret_file.exists():
            raise ConfigurationError(f"{secret_file}: exists and is not overwritten: choose another file, or remove it")
        write_private(secret_file, secret.reveal() + "\n")
        if output == "json":
            print_json({"secret_file": str(secret_file), "hash": line})
            return
        print(f"the secret, readable only by you:   {secret_file}")
        print(f'for the configuration:              secrets = ["{line}"]')
        return
    if output == "json":
        print_json({"secret": secret.reveal(), "hash": line})
        return
    print(f"for the caller, shown once:  {secret.reveal()}")
    print(f'for the configuration:       secrets = ["{line}"]')
