"""The `tokenmint` command line.

The admin verbs are clients of the admin services. What takes long to import is imported by the command that needs it.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

import typer
from typer.core import TyperGroup

EPILOG: Final = (
    "Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 the service is out of reach, try again; "
    "4 not authenticated or not permitted; 5 not found."
)


COMMANDS: Final = {
    "init": "init:command",
    "serve": "serve:command",
    "demo": "demo:command",
    "config": "config:app",
    "keys": "keys:app",
    "profiles": "profiles:app",
    "providers": "providers:app",
    "clients": "clients:app",
    "token": "token:app",
}
"""Module and attribute of each command."""


class Commands(TyperGroup):
    """The top level, whose commands are imported when they are used."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the base class's signature
        """Return the names in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  # as above
        """Return the command, or None where there is none of this name."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found: Any = getattr(importlib.import_module(f"tokenmint.cli.{module}"), attribute)
        if not isinstance(found, typer.Typer):
            holder = typer.Typer(add_completion=False)
            holder.command(cmd_name)(found)
            found = holder
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, which may be secrets
    no_args_is_help=True,
    epilog=EPILOG,
    help="Exchange identity providers' tokens for short-lived tokens of your own.\n\n"
    "Begin with `tokenmint demo` to see it work, `tokenmint init` to write a configuration, and `tokenmint serve`.",
)


@app.callback()
def _root() -> None:
    """Nothing happens before a command."""


def main() -> NoReturn:
    """Run the command line; ends the process."""
    sys.exit(run(app))


def run(program: Callable[[], object]) -> int:
    """Run ``program`` and return the exit status: a mistake becomes a line with the way out, never a traceback."""
    from tokenmint.errors import ConfigurationError, DependencyUnavailable, TokenmintError

    try:
        program()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except ConfigurationError as error:
        return _fail("\n".join(error.problems), 2)
    except DependencyUnavailable as error:
        return _fail(error.message + (f" ({error.detail})" if error.detail else ""), 3)
    except TokenmintError as error:
        return _fail(error.message + (f" ({error.detail})" if error.detail else ""), 1)
    except BrokenPipeError:
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    return 0


def _fail(text: str, status: int) -> int:
    for line in text.splitlines():
        sys.stderr.write(f"tokenmint: {line}\n")
    return status
