"""Commands that follow a service until Ctrl-C: they go on after a failure that a retry can mend."""

import select
import sys
import time
from collections.abc import Callable
from typing import Annotated, Final

import grpc
import typer

from tokenmint.cli.connection import Connection, describe, retry_after
from tokenmint.cli.times import duration

LEAST: Final = 0.05  # seconds between two requests


def _pause(value: object) -> float:
    seconds = duration(value)
    if seconds < LEAST:
        raise typer.BadParameter(f"expected {LEAST * 1000:.0f}ms or more")
    return seconds


Every = Annotated[
    float,
    typer.Option("--every", parser=_pause, metavar="TIME", show_default=False, help="How often to ask. Default: 2s"),
]
EVERY: Final = 2.0  # seconds


def follow(service: Connection, look: Callable[[], None], every: float) -> None:
    """Call ``look`` again and again, with pauses of ``every`` seconds. Never returns.

    A service that is out of reach, or asks to wait, is reported once; ``look`` is called again after the pause.
    """
    away = False
    while True:
        pause = every
        try:
            look()
            if away:
                typer.echo("tokenmint: the service answers again", err=True)
            away = False
        except grpc.RpcError as error:
            delay = retry_after(error)
            if delay is None:
                raise
            pause = max(every, delay)
            if not away:
                message, _ = describe(error, service.target, service.options)
                typer.echo(f"tokenmint: {message}\ntokenmint: goes on as soon as it answers", err=True)
            away = True
        _sleep(pause)


def _sleep(seconds: float) -> None:
    """Wait. Raises ``BrokenPipeError`` as soon as the reader of standard output is gone, with nothing to print too."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # it is no file
        time.sleep(seconds)
        return
    poll = select.poll()
    poll.register(output, 0)  # errors are reported always; a terminal that was closed is one
    if poll.poll(seconds * 1000):
        raise BrokenPipeError
