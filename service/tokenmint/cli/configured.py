"""Completes the names of clients, audiences and providers in a shell, from the configuration file alone."""

import os
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import typer

from tokenmint.base.files import read_text


def names_of(*tables: Literal["clients", "operators", "audiences", "providers"]) -> Callable[..., list[str]]:
    """Return the function that completes a name of some tables, for `autocompletion` of an argument or option.

    The file is the one of --config, of `TOKENMINT_CONFIG`, or `./tokenmint.toml`. It is not checked. A file that can't
    be read has no names, and no message: a shell would show it among the words that are typed.
    """

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        given = context.params.get("config") or os.environ.get("TOKENMINT_CONFIG") or "tokenmint.toml"
        with suppress(OSError, ValueError, RecursionError):
            document = tomllib.loads(read_text(Path(given)))
            found = [name for table in tables if isinstance(names := document.get(table), dict) for name in names]
            return [name for name in found if name.startswith(incomplete) and name.isprintable()]
        return []

    return complete
