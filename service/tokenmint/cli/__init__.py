"""The `tokenmint` command line.

The admin verbs are clients of the admin services. Slow imports happen in the commands that need them.
"""

import contextlib
import gc
import importlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand

from tokenmint.base.standard_streams import hold, say
from tokenmint.cli.commands import App, CommandGroup, unmasked
from tokenmint.cli.completion import VARIABLE

EPILOG: Final = (
    "Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 the service is out of reach, try again; "
    "4 not authenticated or not permitted; 5 not found; 70 a fault of tokenmint itself; 130 ended by Ctrl-C."
)
DEBUG: Final = "TOKENMINT_DEBUG"
"""If set, a fault is printed with every place that it passed through. Values are never printed."""
COLLECT_AFTER: Final = 50_000
"""New objects after which garbage is collected: not often while modules load, because what they make stays."""
_WORD: Final = re.compile(r"[^\s'\"()\[\]]{32,}")
"""A possible secret or token; those that tokenmint makes are longer."""
_UsageError: Final[Any] = typer.BadParameter.__base__  # typer does not export the class


COMMANDS: Final = {
    "init": ("init:command", "Write a first configuration, and secrets for a first client and operator."),
    "serve": ("serve:command", "Run the service."),
    "edge": ("edge:command", "Keep tokenmint's answers for a gateway on the same machine."),
    "demo": ("demo:command", "Show an exchange with real servers: a provider's ID token in, an issued token out."),
    "config": ("config:app", "Check a configuration."),
    "keys": ("keys:app", "List and manage the signing keys."),
    "regions": ("regions:app", "Make the keys of regions, and give up a region."),
    "store": ("store:app", "Move the store."),
    "profiles": ("profiles:app", "Manage the profiles that enrich minted tokens."),
    "providers": ("providers:app", "List the providers whose tokens are accepted, and try or add one."),
    "signals": ("signals:app", "Manage the streams by which providers send signals about accounts."),
    "clients": ("clients:app", "Make secrets for callers."),
    "token": ("token:app", "Exchange, introspect, revoke, explain, inspect and verify tokens."),
    "revoke": ("revoke:app", "Revoke many tokens at once: of a client, an audience, a provider or a principal."),
    "audit": ("audit:app", "Follow the audit trail: exchanges, refusals and operators' actions."),
    "top": ("top:command", "Show the rates of calls and refusals, live."),
    "completion": ("completion:command", "Print the script that completes the command line in bash, zsh or fish."),
}
"""Module, attribute and help text of each command. The help lists the commands without importing them."""

_LISTING: Final = "tokenmint.cli.listing"


class Commands(CommandGroup):
    """The top level; commands are imported when they are used."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the base class's signature
        """Return the names in the order in which a new user needs them."""
        return list(COMMANDS)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the arguments. Errors omit words that may be secrets."""
        with _shortened():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command's arguments and run it; errors as above."""
        with _shortened():
            return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help without importing the commands."""
        ctx.meta[_LISTING] = True
        super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete the name of a command, without importing the commands."""
        ctx.meta[_LISTING] = True
        found: list[Any] = super().shell_complete(ctx, incomplete)
        return found

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        if ctx.meta.get(_LISTING):
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])
        return _command(cmd_name)


@cache
def _command(name: str) -> Any:
    """Return a command. It is made once, because its parameters are read from the annotations of functions."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found: Any = getattr(importlib.import_module(f"tokenmint.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        holder = App()
        holder.command(name)(found)
        found = holder
    command = typer.main.get_command(found)
    command.name = name
    return command


@contextlib.contextmanager
def _shortened() -> Iterator[None]:
    """Remove long words from an error about the arguments, because one may be a token that was given by mistake.

    The words are those that were typed, and the library's own prefix is left out.
    """
    try:
        yield
    except _UsageError as error:
        error.message = unmasked(error.message).removeprefix("Value error, ")
        error.message = _WORD.sub(lambda word: f"({len(word[0])} characters)", error.message)
        raise


app = typer.Typer(
    cls=Commands,
    add_completion=False,  # `tokenmint completion` prints the scripts
    pretty_exceptions_enable=False,  # they print local variables, which may be secrets
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},  # commands have the same
    epilog=EPILOG,
    help="Exchange identity providers' tokens for short-lived tokens of your own.\n\n"
    "Begin with `tokenmint demo` to see it work, `tokenmint init` to write a configuration, and `tokenmint serve`.",
)


def _print_version(wanted: bool) -> None:  # a callback of typer
    if wanted:
        from importlib import metadata

        print(f"tokenmint {metadata.version('tokenmint')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # its callback prints it
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")
    ] = False,
) -> None:
    """Do nothing before a command."""


def main() -> NoReturn:
    """Run the command line and end the process."""
    gc.set_threshold(COLLECT_AFTER)
    hold()
    if VARIABLE in os.environ:
        from typer.completion import get_completion_inspect_parameters

        get_completion_inspect_parameters()  # makes the shells known
    threading.excepthook = lambda failed: say(_fault(failed.exc_value))
    sys.exit(run(app))


def run(program: Callable[[], object]) -> int:
    """Run ``program`` and return the exit status. An error becomes a line with a remedy, never a traceback."""
    from tokenmint.base.errors import ConfigurationError, DependencyUnavailable, NotFound, TokenmintError

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
    except NotFound as error:
        return _fail(error.message, 5)
    except TokenmintError as error:
        return _fail(error.message + (f" ({error.detail})" if error.detail else ""), 1)
    except BrokenPipeError:
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'system'}: {error.strerror or type(error).__name__}", 1)
    except Exception as error:  # noqa: BLE001  # its text may hold a secret, and users can't act on a traceback
        say(_fault(error))
        return 70
    return 0


def _fault(error: BaseException | None) -> str:
    """Return the message for an unexpected error: its type and place, without its text."""
    from tokenmint.base.telemetry import places

    lines = []
    while error is not None:
        trace = places(error)
        lines.append(f"a fault of tokenmint itself, please report it: {type(error).__name__} at {(trace or ['?'])[-1]}")
        if not os.environ.get(DEBUG):
            lines.append(f"{DEBUG}=1 prints every place that it passed through, without values")
            break
        lines += [f"  {place}" for place in trace]
        error = error.__cause__ or error.__context__
    return "".join(f"tokenmint: {line}\n" for line in lines)


def _fail(text: str, status: int) -> int:
    for line in text.splitlines():
        say(f"tokenmint: {line}\n")
    return status
