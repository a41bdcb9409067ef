"""`tokenmint top`: the rates of the last minute, by client and by reason."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from tokenmint.base.clock import rfc3339
from tokenmint.base.foreign_text import SHORT, clipped
from tokenmint.cli.audit_events import (
    PAGE,
    PAGE_BYTES,
    Event,
    count_of,
    dated,
    rate,
    reasons_of,
    text_of,
    time_of,
)
from tokenmint.cli.connection import Connection, as_operator
from tokenmint.cli.following import EVERY, Every, follow
from tokenmint.cli.output import Output, as_json, plain
from tokenmint.cli.tables import terminal
from tokenmint.cli.times import duration, relative, spoken
from tokenmint.v1 import audit_admin_service_pb2 as pb
from tokenmint.v1.audit_admin_service_pb2_grpc import AuditAdminServiceStub

ROWS = 15
"""The most clients, and reasons, on a terminal."""


@dataclass(slots=True)
class Rates:
    """The calls of clients in a time."""

    seconds: float
    calls: Counter[str] = field(default_factory=Counter)
    """By client."""
    refused: Counter[str] = field(default_factory=Counter)
    """By client."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By reason and client."""
    latest: dict[tuple[str, str], float] = field(default_factory=dict)
    """The time of the last of them."""

    def document(self, now: float) -> dict[str, Any]:
        """Return them as JSON."""
        return {
            "time": rfc3339(now),
            "seconds": round(self.seconds, 3),
            "calls_per_second": round(self.calls.total() / self.seconds, 3),
            "refused_per_second": round(self.refused.total() / self.seconds, 3),
            "clients": [
                {
                    "client": client,
                    "calls_per_second": round(count / self.seconds, 3),
                    "refused_per_second": round(self.refused[client] / self.seconds, 3),
                }
                for client, count in self.calls.most_common()
            ],
            "refusals": [
                {"reason": reason, "client": client, "count": count, "last_time": rfc3339(self.latest[reason, client])}
                for (reason, client), count in self.reasons.most_common()
            ],
        }


def rates(events: Iterable[Event], window: float, now: float) -> Rates:
    """Return the rates of the newest ``events``, over ``window`` seconds or as long as they reach back."""
    recent, seconds = rate(events, window, now)
    found = Rates(seconds)
    for event in recent:
        if event.get("kind") != "exchange":
            continue
        client, times, refused = text_of(event, "caller") or "-", count_of(event), reasons_of(event)
        found.calls[client] += times
        if refused:
            found.refused[client] += times
        for reason in refused:
            found.reasons[reason, client] += times
            found.latest[reason, client] = time_of(event)
    return found


@as_operator
def command(
    service: Connection,
    window: Annotated[
        float,
        typer.Option(parser=duration, metavar="TIME", show_default=False, help="The time that is counted. Default: 1m"),
    ] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Print once, and end.")] = False,
    every: Every = EVERY,
    output: Output = "text",
) -> None:
    """Show how many calls clients make, and why calls are refused, until Ctrl-C. It counts events of the audit trail.

    At high rates it counts the newest 1,000 events, and divides by the time that they cover.

    --output json prints a line for each look, or one document with --once.
    """
    if window <= 0:
        raise typer.BadParameter("expected a time above zero", param_hint="--window")
    with service.stub(AuditAdminServiceStub) as stub:
        request = pb.ListAuditEventsRequest(stream=pb.AUDIT_STREAM_EXCHANGES, page_size=PAGE, page_bytes=PAGE_BYTES)

        def look() -> tuple[Rates, float]:
            answer = stub.ListAuditEvents(request, **service.call)
            now = time.time()
            return rates(dated(answer.events), window, now), now

        console = terminal()
        if output == "json":
            if once:
                found, now = look()
                print(as_json(found.document(now)))
                return
            follow(service, lambda: _print_line(*look()), every)
        if once or not console.is_terminal:
            if once:
                console.print(_picture(*look(), service.target))
                return
            follow(service, lambda: console.print(_picture(*look(), service.target)), every)
        from rich.live import Live

        with Live(console=console, screen=True, auto_refresh=False) as live:
            follow(service, lambda: live.update(_picture(*look(), service.target), refresh=True), every)


def _print_line(found: Rates, now: float) -> None:
    import json

    print(plain(json.dumps(found.document(now), ensure_ascii=False)), flush=True)


def _name(text: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(plain(clipped(text) if len(text) > SHORT else text), style=style)


def _picture(found: Rates, now: float, target: str) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def table(*columns: str) -> Table:
        made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            numbers = "/s" in column or column in ("refused", "count")
            made.add_column(column, justify="right" if numbers else "left", overflow="fold")
        return made

    seconds, calls, refused = found.seconds, found.calls.total(), found.refused.total()
    head = Text(f"{target}  calls of clients in the last {spoken(seconds)}", style="bold")
    total = Text(f"{calls / seconds:.1f} calls/s  {refused / seconds:.1f} refused/s")
    if calls:
        total.append(f"  ({100 * refused / calls:.1f} % refused)", style="red" if refused else "")
    clients = table("client", "count", "calls/s", "refused/s", "refused")
    for client, count in found.calls.most_common(ROWS):
        bad = found.refused[client]
        clients.add_row(
            _name(client), str(count), f"{count / seconds:.1f}", f"{bad / seconds:.1f}",
            Text(f"{100 * bad / count:.0f} %", style="red" if bad else "green"),
        )  # fmt: skip
    reasons = table("reason", "client", "count", "last")
    for (reason, client), count in found.reasons.most_common(ROWS):
        ago = relative(found.latest[reason, client] - now)
        reasons.add_row(_name(reason, "yellow"), _name(client), str(count), ago)
    parts: list[Any] = [head, total, Text()]
    parts += [clients] if calls else [Text("no calls")]
    if found.reasons:
        parts += [Text(), reasons]
    return Group(*parts)
