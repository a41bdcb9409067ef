"""Groups of options that commands share: a group is a frozen dataclass, and each of its fields is an option.

typer knows single options only. It sees the fields of the groups (:func:`expanded`), and the command gets the groups
(:func:`collected`).
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tokenmint.cli.times import duration

PANEL: Final = "Connection"
"""The panel of the help for the options of :class:`ConnectionOptions`."""
Timeout = Annotated[
    float,
    typer.Option(
        parser=duration,
        metavar="TIME",
        show_default=False,
        rich_help_panel=PANEL,
        help="How long to wait for an answer. Default: 10s",
    ),
]


class Group:
    """Base of the groups."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ConnectionOptions(Group):
    """The options of every command with a connection."""

    target: Annotated[
        str | None,
        typer.Option(
            envvar="TOKENMINT_TARGET", metavar="ADDRESS", rich_help_panel=PANEL, help="host:port of the listener."
        ),
    ] = None
    client_id: Annotated[
        str | None,
        typer.Option(envvar="TOKENMINT_CLIENT_ID", metavar="ID", rich_help_panel=PANEL, help="Your id at the service."),
    ] = None
    secret_file: Annotated[
        Path | None,
        typer.Option(
            envvar="TOKENMINT_SECRET_FILE",
            rich_help_panel=PANEL,
            help="File with your secret; or set TOKENMINT_CLIENT_SECRET.",
        ),
    ] = None
    credentials: Annotated[
        Path | None,
        typer.Option(
            envvar="TOKENMINT_CREDENTIALS",
            rich_help_panel=PANEL,
            help="JSON file with id and secret. Default for operators: .tokenmint/operator.json",
        ),
    ] = None
    ca_file: Annotated[
        Path | None,
        typer.Option(envvar="TOKENMINT_CA_FILE", rich_help_panel=PANEL, help="Use TLS, trusting this PEM file."),
    ] = None
    cert_file: Annotated[
        Path | None,
        typer.Option(
            envvar="TOKENMINT_CERT_FILE", rich_help_panel=PANEL, help="Your own certificate (PEM), for mutual TLS."
        ),
    ] = None
    key_file: Annotated[
        Path | None,
        typer.Option(envvar="TOKENMINT_KEY_FILE", rich_help_panel=PANEL, help="The private key of --cert-file."),
    ] = None
    tls: Annotated[
        bool, typer.Option("--tls", rich_help_panel=PANEL, help="Use TLS, trusting the public authorities.")
    ] = False
    insecure: Annotated[
        bool,
        typer.Option("--insecure", rich_help_panel=PANEL, help="Send secrets and tokens unencrypted beyond loopback."),
    ] = False
    timeout: Timeout = 10.0

    @property
    def uses_tls(self) -> bool:
        """Whether one of them asks for TLS."""
        return self.tls or any(file is not None for file in (self.ca_file, self.cert_file, self.key_file))


def expanded(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    """Return a command's parameters for typer, with the fields of each group in place of the group."""
    found: list[inspect.Parameter] = []
    for parameter in parameters:
        group = _group_of(parameter)
        found += [parameter] if group is None else inspect.signature(group).parameters.values()
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in found]


def collected(parameters: Iterable[inspect.Parameter], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments for ``parameters``. Groups are made of their fields, which leave ``arguments``."""
    found: dict[str, Any] = {}
    for parameter in parameters:
        group = _group_of(parameter)
        if group is None:
            found[parameter.name] = arguments.pop(parameter.name)
        else:
            found[parameter.name] = group(**{name: arguments.pop(name) for name in inspect.signature(group).parameters})
    return found


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command without a connection the options of its groups."""
    own = [*inspect.signature(function).parameters.values()]

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        function(**collected(own, arguments))

    parameters = expanded(own)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads the options of it
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _group_of(parameter: inspect.Parameter) -> type[Group] | None:
    kind = parameter.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Group) else None
