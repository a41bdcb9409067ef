"""Commands whose arguments may begin with a dash, and whose help names the kind of each value."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

_DASHED: Final = re.compile(r"-(?=[^-])")
"""The beginning of a word that is an option only if it is a known one-letter option; other options are `--name`."""
_MASK: Final = "\ufdd0"
"""Replaces that dash while options are parsed: a noncharacter of Unicode, which no terminal sends."""
_KINDS: Final = {"bool": "", "path": "FILE", "str": "TEXT", "int": "NUMBER", "float": "NUMBER", "list[str]": "TEXT"}
"""The words for values in the help, by the type. A flag has none."""


class HelpfulOptions:
    """Names the kinds of options' values in few characters, and lets the help wrap paragraphs by itself.

    At 80 columns the help needs the space for its texts.
    """

    help: str | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        self.help = "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs) or None

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, as the base class does."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # the mixin stands before a command class
        for parameter in parameters:
            if parameter.param_type_name == "option" and parameter.metavar is None:
                shown = str(parameter.display_type_rich(ctx=ctx) or "").strip("<>")
                parameter.metavar = _KINDS.get(shown.removesuffix(" range"), shown)
        return parameters


class Command(HelpfulOptions, TyperCommand):
    """A command that accepts `-RwZ…` as an argument.

    A key id is a thumbprint in base64url (RFC 7638 section 3), so one in 64 begins with a dash. Providers also choose
    principals and subjects freely.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, as the base class does."""
        options = {option for parameter in self.params for option in parameter.opts} | set(ctx.help_option_names)
        masked = [_MASK + word[1:] if _DASHED.match(word) and word not in options else word for word in args]
        rest: list[str] = super().parse_args(ctx, masked)
        ctx.params = {name: _unmasked(value) for name, value in ctx.params.items()}
        return [str(_unmasked(word)) for word in rest]


class CommandGroup(HelpfulOptions, TyperGroup):
    """A group of commands."""


class App(typer.Typer):
    """A group of such commands."""

    def __init__(self, **options: Any) -> None:
        settings: dict[str, Any] = {"cls": CommandGroup, "add_completion": False} | options
        super().__init__(**settings)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Register a command, as the base class does."""
        return super().command(name, **{"cls": Command} | options)


def unmasked(message: str) -> str:
    """Return an error's message with the words as they were typed; the library may have quoted them."""
    return message.replace(_MASK, "-").replace(repr(_MASK)[1:-1], "-")


def _unmasked(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_MASK, "-")
    if isinstance(value, Path):
        return type(value)(str(value).replace(_MASK, "-"))
    if isinstance(value, tuple | list):
        return type(value)(_unmasked(item) for item in value)
    return value
