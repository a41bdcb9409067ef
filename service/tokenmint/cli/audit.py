"""`tokenmint audit`."""

import sys
import time
from collections import deque
from typing import Annotated

import typer

from tokenmint.cli.audit_events import STREAM_OF, STREAMS, Event, Filter, Trail, as_line, described
from tokenmint.cli.commands import App
from tokenmint.cli.connection import Connection, as_operator
from tokenmint.cli.following import EVERY, Every, follow
from tokenmint.cli.output import Output
from tokenmint.cli.tables import terminal
from tokenmint.cli.times import duration
from tokenmint.v1.audit_admin_service_pb2_grpc import AuditAdminServiceStub

app = App(no_args_is_help=True, help="Read the audit trail: exchanges, refusals and operators' actions.")


@app.callback()
def _group() -> None:
    """Keep `tail` a subcommand, although it is the only one."""


@app.command()
@as_operator
def tail(
    service: Connection,
    wanted: Filter,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Begin with so many events.")] = 10,
    since: Annotated[
        float | None,
        typer.Option(
            parser=duration, metavar="TIME", help="Begin so long ago, for example 1h, with every event since."
        ),
    ] = None,
    ends: Annotated[bool, typer.Option("--no-follow", help="End, and do not wait for new events.")] = False,
    every: Every = EVERY,
    output: Output = "text",
) -> None:
    """Print the newest events of the audit trail, and new ones as they come, until Ctrl-C.

    Times are in UTC. The store keeps as many events as the configuration says (audit.*); the log has all of them.

    --output json prints a line of JSON for each event, as the log has it.

    Example: tokenmint audit tail --client web --outcome refused --since 1h
    """
    kinds = [STREAM_OF.get(wanted.kind, wanted.kind)] if wanted.kind else list(STREAMS)
    with service.stub(AuditAdminServiceStub) as stub:
        trail = Trail(stub, service.call, kinds, time.time() - since if since is not None else None)
        shown = _Shown(output)

        def first() -> None:
            events = filter(wanted.takes, trail.read())
            for event in events if since is not None else deque(events, maxlen=last):
                shown.print(event)

        def following_ones() -> None:
            for event in trail.read():
                if trail.gaps:
                    trail.gaps = 0
                    typer.echo("tokenmint: events are missing here: the stream was full and dropped them", err=True)
                if wanted.takes(event):
                    shown.print(event)

        first()
        if not ends:
            if sys.stderr.isatty():
                typer.echo("waiting for events: Ctrl-C ends", err=True)
            follow(service, following_ones, every)


class _Shown:
    """Prints events at once, so that a pipe's reader has them too."""

    def __init__(self, output: str) -> None:
        self._json = output == "json"
        self._console = None if self._json else terminal()

    def print(self, event: Event) -> None:
        if self._console is None or not self._console.is_terminal:
            print(as_line(event) if self._json else "  ".join(text for text, _ in described(event)), flush=True)
            return
        from rich.text import Text

        line = Text("  ").join(Text(text, style=style) for text, style in described(event))
        self._console.print(line, soft_wrap=True)
