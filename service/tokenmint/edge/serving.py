"""Runs the sidecar until a signal ends it."""

import asyncio
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenmint.base.addresses import Address
from tokenmint.base.background import Background
from tokenmint.base.clock import SystemClock
from tokenmint.base.http_url import HttpUrl
from tokenmint.base.logs import configure, log_loop_error
from tokenmint.base.telemetry import Metrics
from tokenmint.edge.answers import Answers
from tokenmint.edge.application import HEALTH, Edge
from tokenmint.edge.upstream import Upstream
from tokenmint.model.secret import Secret
from tokenmint.web.server import HttpServer


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the sidecar."""

    upstream: HttpUrl
    client_id: str
    secret: Secret
    listen: Address
    longest: float
    """Seconds for which an answer is kept at most."""
    token_headers: Sequence[str]
    host_header: str
    authorities: str | None


async def serve(options: Options, announce: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; call ``announce`` once the port is listened on."""
    configure("info", "auto")
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(log_loop_error)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    clock = SystemClock()
    background = Background(clock, random.random, Metrics())
    upstream = Upstream(options.upstream, options.client_id, options.secret, authorities=options.authorities)
    async with upstream:
        answers = Answers(upstream.ask, clock, longest=options.longest)
        edge = Edge(answers, options.token_headers, options.host_header)
        server = HttpServer(edge.application(), options.listen, always=frozenset({HEALTH}))
        server.start(background, "http")
        announce()
        await over.wait()
        await server.stop()
        await background.close()
