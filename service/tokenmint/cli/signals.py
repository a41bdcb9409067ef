"""`tokenmint signals`: the streams by which providers send signals about accounts."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from tokenmint.base.errors import ConfigurationError, NotFound
from tokenmint.cli.commands import App
from tokenmint.cli.configured import names_of
from tokenmint.cli.output import Output, print_json, without_log
from tokenmint.cli.token_files import read_token
from tokenmint.config.load import load, locate
from tokenmint.config.settings import Settings, issuer_of
from tokenmint.config.suggestions import no_such_table
from tokenmint.model.signals import Action
from tokenmint.signals.transmitter import Document, Transmitter
from tokenmint.verification.event_types import APPLE, LOGOUT
from tokenmint.verification.fetch import HttpFetch

T = TypeVar("T")
app = App(
    add_completion=False,
    no_args_is_help=True,
    help="Create, verify and delete the streams of a provider's transmitter (Shared Signals Framework 1.0). "
    "They need the configuration but no running service.",
)

Provider = Annotated[str, typer.Argument(autocompletion=names_of("providers"))]
Config = Annotated[
    Path | None, typer.Option(help="Configuration file. Default: $TOKENMINT_CONFIG, then ./tokenmint.toml.")
]
Stream = Annotated[str, typer.Option(help="The id of the stream. Default: the only stream that the transmitter has.")]


@app.command("create")
def create(
    provider: Provider,
    endpoint: Annotated[str, typer.Option(help="The URL for pushes. Default: issuer/signals/PROVIDER.")] = "",
    push_token_file: Annotated[
        Path | None,
        typer.Option(help="File that holds the bearer token for pushes, one of push_secrets; - for standard input."),
    ] = None,
    poll: Annotated[bool, typer.Option("--poll", help="Have the events polled for, at a URL that is shown.")] = False,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Create a stream for the events whose action is not `ignore`.

    Events are pushed to this service, or with --poll kept until it polls: put the URL into signals.poll.url.

    Example: tokenmint signals create work --push-token-file push.token
    """
    settings, transmitter = _transmitter(provider, config)
    rules = settings.providers[provider].signals
    actions = rules.actions if rules is not None else {}
    events = tuple(
        uri for uri, action in actions.items() if action is not Action.IGNORE and not uri.startswith((LOGOUT, APPLE))
    )
    endpoint = endpoint or f"{issuer_of(settings.issuer, settings.listen.http)}/signals/{provider}"
    token = read_token(push_token_file) if push_token_file is not None else ""
    if rules is not None and rules.push_secrets and not token and not poll:
        raise ConfigurationError(f"providers.{provider}.signals.push_secrets: name one of them by --push-token-file")
    made = _run(lambda: transmitter.create(endpoint, events, push_token=token, poll=poll))
    _show(made, output)


@app.command("verify")
def verify(provider: Provider, stream: Stream = "", config: Config = None, output: Output = "text") -> None:
    """Ask the transmitter for a verification event. The audit trail of the service shows its arrival, by its state."""
    _, transmitter = _transmitter(provider, config)
    state = secrets.token_hex(8)

    async def asked() -> str:
        name = stream or await _only(transmitter)
        await transmitter.verify(name, state)
        return name

    asked_of = _run(asked)
    if output == "json":
        print_json({"stream_id": asked_of, "state": state})
        return
    print(
        f"requested a verification event with the state {state}: "
        "`tokenmint audit tail --kind signal` shows when it arrives"
    )


@app.command("status")
def status(provider: Provider, stream: Stream = "", config: Config = None, output: Output = "text") -> None:
    """Show the status of a stream: enabled, paused or disabled."""
    _, transmitter = _transmitter(provider, config)

    async def asked() -> Document:
        return await transmitter.status(stream or await _only(transmitter))

    _show(_run(asked), output)


@app.command("delete")
def delete(provider: Provider, stream: Stream = "", config: Config = None, output: Output = "text") -> None:
    """Delete a stream. The transmitter sends no more events on it."""
    _, transmitter = _transmitter(provider, config)

    async def asked() -> str:
        name = stream or await _only(transmitter)
        await transmitter.delete(name)
        return name

    name = _run(asked)
    if output == "json":
        print_json({"stream_id": name})
    else:
        print(f"deleted the stream {name}")


def _transmitter(provider: str, config: Path | None) -> tuple[Settings, Transmitter]:
    with without_log():
        settings = load(locate(config, os.environ), os.environ)
    found = settings.providers.get(provider)
    if found is None:
        raise NotFound("provider", provider, no_such_table("providers", provider, settings.providers))
    if found.signals is None:
        raise ConfigurationError(f"providers.{provider}.signals: is required: this provider's signals are not accepted")
    if not found.signals.transmitter:
        raise ConfigurationError(f"providers.{provider}.signals.transmitter: is required: the transmitter's issuer")
    return settings, Transmitter(found, HttpFetch().send)


async def _only(transmitter: Transmitter) -> str:
    """Return the id of the transmitter's only stream. Raises ``NotFound`` if there is none, or more than one."""
    names = [one.get("stream_id") for one in await transmitter.streams() if isinstance(one, dict)]
    if len(names) != 1 or not isinstance(names[0], str):
        raise NotFound("stream", "", f"the transmitter has {len(names)} streams: name one of them by --stream")
    return names[0]


def _run(work: Callable[[], Awaitable[T]]) -> T:
    async def done() -> T:
        return await work()

    with without_log():
        return asyncio.run(done())


def _show(document: Document, output: Output) -> None:
    """Print what the transmitter said about a stream, without its secret."""
    delivery = document.get("delivery")
    shown = dict(document)
    if isinstance(delivery, dict):
        shown["delivery"] = {key: value for key, value in delivery.items() if key != "authorization_header"}
    if output == "json":
        print_json(shown)
        return
    if isinstance(delivery, dict) and "endpoint_url" in delivery:
        shown["endpoint_url"] = delivery["endpoint_url"]
    for name in ("stream_id", "endpoint_url", "status", "reason", "iss", "aud", "events_delivered"):
        value = shown.get(name)
        if value:
            lines = value if isinstance(value, list) else [value]
            for line in lines:
                print(f"{name}: {str(line)[:512]!r}" if not str(line).isprintable() else f"{name}: {str(line)[:512]}")
