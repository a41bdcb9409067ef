"""`tokenmint clients`."""

import os

import typer

from tokenmint.bootstrap import new_secret as make_secret
from tokenmint.cli.output import Output, print_json

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Secrets for callers.")


@app.callback()
def _group() -> None:
    """Keep `new-secret` a command of its own, though it is the only one."""


@app.command("new-secret")
def new_secret(output: Output = "text") -> None:
    """Make a secret for a client or an operator. It is shown once; the configuration keeps its hash.

    To replace one: add the new line beside the old, reload, give the caller the new secret, remove the old line.
    """
    secret = make_secret(os.urandom)
    line = f"sha256:{secret.fingerprint()}"
    if output == "json":
        print_json({"secret": secret.reveal(), "hash": line})
        return
    print(f"for the caller, shown once:  {secret.reveal()}")
    print(f'for the configuration:       secrets = ["{line}"]')
