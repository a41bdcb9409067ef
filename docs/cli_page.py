"""The generated part of docs/cli.md: every command, from the command line's own help."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from tokenmint.cli import COMMANDS, app
from tokenmint.cli.options import PANEL
from tokenmint.config.entries import Entry

HEADINGS: Final = "| Option | Meaning |\n|---|---|\n"


def commands(_: Mapping[str, Entry]) -> str:
    """Return a section for each command: its usage, its words, its arguments and its own options."""
    return "\n".join(_section(words, command) for words, command in every_command())


def connection(_: Mapping[str, Entry]) -> str:
    """Return the table of the options that every command with a connection has."""
    options = next(found for _, command in every_command() if (found := _options(command, of_connection=True)))
    return HEADINGS + "".join(options)


def every_command() -> Iterator[tuple[str, Any]]:
    """Yield every command with its words, in the order of the help."""
    top = typer.main.get_command(app)
    for name in COMMANDS:
        group: Any = top.get_command(typer.Context(top), name)  # type: ignore[attr-defined]  # a group
        for word, command in getattr(group, "commands", {"": group}).items():
            yield f"{name} {word}".strip(), command


def _section(words: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    usage = " ".join(["tokenmint", words, *(one.display_name_raw.upper() for one in arguments), "[OPTIONS]"])
    parts = [f"### tokenmint {words}", f"`{usage}`", *map(_paragraph, (command.help or "").split("\n\n"))]
    parts += [f"- `{one.display_name_raw.upper()}`: {_meaning(one)}" for one in arguments if one.help]
    options = _options(command, of_connection=False)
    if options:
        parts.append(HEADINGS + "".join(options).rstrip("\n"))
    if any(_options(command, of_connection=True)):
        parts.append("It has the [options of a connection](#options-of-a-connection).")
    return "\n\n".join(parts) + "\n"


def _paragraph(text: str) -> str:
    text = " ".join(inspect.cleandoc(text).split())
    head, _, line = text.partition("Example: ")
    return f"{head}Example: `{line}`" if line else text.replace("<", "\\<")


def _options(command: Any, *, of_connection: bool) -> list[str]:
    context = typer.Context(command)
    found = []
    for one in command.get_params(context):
        if one.param_type_name != "option" or "--help" in one.opts:
            continue
        if (one.rich_help_panel == PANEL and "target" in {each.name for each in command.params}) is of_connection:
            names = ", ".join(f"`{name}`" for name in sorted(one.opts, key=len, reverse=True))
            value = f" {one.metavar}".replace("|", " or ").rstrip()
            found.append(f"| {names}{value} | {_meaning(one)} |\n")
    return found


def _meaning(one: Any) -> str:
    text = " ".join((one.help or "").split()).replace("|", "\\|")
    if one.required and one.param_type_name == "option":
        text += " Required."
    if one.envvar:
        text += f" `{one.envvar}`"
    shown = one.default if one.show_default else None
    if shown not in (None, False, (), "") and not callable(shown):
        text += f" Default: `{shown}`"
    return text
