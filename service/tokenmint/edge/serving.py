"""Runs the sidecar until a signal ends it."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tokenmint.base.addresses import Address
from tokenmint.base.background import Background
from tokenmint.base.clock import Clock, SystemClock
from tokenmint.base.http_url import HttpUrl
from tokenmint.base.logs import configure, log_loop_error
from tokenmint.base.telemetry import Metrics
from tokenmint.edge.answers import Answers, Limits
from tokenmint.edge.application import HEALTH, Edge
from tokenmint.edge.following import Following, Source
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
    limits: Limits
    token_headers: Sequence[str]
    host_header: str
    authorities: bytes | None
    revocations: HttpUrl | None = None
    """tokenmint's gRPC listener; None: revocations are not followed."""
    audiences: Sequence[str] = ()
    """Those whose revocations are followed."""


@asynccontextmanager
async def running(options: Options, clock: Clock) -> AsyncIterator[HttpServer]:
    """Run the sidecar in this event loop. Raises ``ConfigurationError`` if it can't listen."""
    background = Background(clock, random.random, Metrics())
    upstream = Upstream(options.upstream, options.client_id, options.secret, authorities=options.authorities)
    following = Following(options.audiences, clock) if options.revocations is not None else None
    async with upstream:
        answers = Answers(upstream.ask, clock, options.limits, following=following, client_id=options.client_id)
        edge = Edge(answers, options.token_headers, options.host_header, following, options.limits.lag)
        server = HttpServer(edge.application(), options.listen, always=frozenset({HEALTH}))
        server.start(background, "http")
        try:
            if following is not None and options.revocations is not None:
                following.follow(background, _source(options, options.revocations))
            yield server
        finally:
            await server.stop()
            await background.close()


def _source(options: Options, url: HttpUrl) -> Source:
    return Source(url, options.client_id, options.secret, options.authorities)


async def serve(options: Options, announce: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; call ``announce`` once the port is listened on."""
    configure("info", "auto")
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(log_loop_error)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    async with running(options, SystemClock()):
        announce()
        await over.wait()
