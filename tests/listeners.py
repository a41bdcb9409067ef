"""One HTTP listener with an application for tests, on either event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvloop
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.sockets import PATIENCE, Place, place

from tokenmint.admission.certificates import CertificateFiles
from tokenmint.base.addresses import Address, Reservations
from tokenmint.base.background import Background
from tokenmint.base.clock import SystemClock
from tokenmint.base.telemetry import Metrics
from tokenmint.web.closing import ClosingConnections
from tokenmint.web.fast_requests import DatedAnswer, FastRoutes, Later, dated_answer
from tokenmint.web.server import HttpLimits, HttpServer

LONG = 60.0  # seconds that no test waits for
LARGE = b"x" * (8 * 1024 * 1024)
FORM = b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=b"


@dataclass
class Application:
    """Answers at once, when the gate is opened, or with more than a socket takes."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    bodies: list[bytes] = field(default_factory=list)

    def routes(self) -> Starlette:
        async def quick(_: Request) -> Response:
            return PlainTextResponse("ok\n")

        async def gated(_: Request) -> Response:
            self.waiting += 1
            await self.gate.wait()
            return PlainTextResponse("late\n")

        async def large(_: Request) -> Response:
            return Response(LARGE)

        async def form(request: Request) -> Response:
            self.bodies.append(await request.body())
            return await gated(request)

        async def broken(_: Request) -> Response:
            raise ValueError("tms_canary")

        return Starlette(
            routes=[
                Route("/healthz", quick), Route("/quick", quick), Route("/gated", gated), Route("/large", large),
                *(Route(path, form, methods=["POST"]) for path in ("/form", "/oauth2/token", "/oauth2/revoke")),
                Route("/broken", broken),
            ]
        )  # fmt: skip


@dataclass
class Fast:
    """The fast way of an application: of `/quick`, and of `/form` where the gate is open."""

    application: Application
    answered: int = 0
    traceparents: list[str] = field(default_factory=list)

    def routes(self) -> FastRoutes:
        return FastRoutes({("GET", "/quick"): self, ("POST", "/form"): self}, self.application.stopping.is_set, 65_536)

    def learn(self, fields: Headers, *, has_body: bool) -> str:
        return "form" if has_body else "quick"

    def answer(self, learned: str, body: bytes, address: str, traceparent: str = "") -> DatedAnswer | Later | None:
        self.traceparents.append(traceparent)
        if learned == "form":
            if body.startswith(b"wait"):
                return partial(self.later, body)
            if not self.application.gate.is_set():
                return None
            self.application.bodies.append(body)
            self.application.waiting += 1
        self.answered += 1
        return dated_answer(PlainTextResponse("late\n" if learned == "form" else "ok\n"))

    async def later(self, body: bytes) -> DatedAnswer | None:
        """Wait for the gate; then answer, leave a body to the full way, or fail."""
        self.application.waiting += 1
        await self.application.gate.wait()
        if body == b"wait for the full way":
            return None
        if body == b"wait and fail":
            raise ValueError("tms_canary")
        self.application.bodies.append(body)
        self.answered += 1
        return dated_answer(PlainTextResponse("late\n"))


@dataclass
class Served:
    """A running listener."""

    at: Place
    application: Application
    server: HttpServer
    counted: list[str]
    fast: Fast

    async def until_waiting(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.application.waiting < count:  # noqa: ASYNC110  # what is waited for knows of no test
                await asyncio.sleep(0)

    async def until_held(self, count: int) -> None:
        """Wait until the listener holds so many connections."""
        async with asyncio.timeout(PATIENCE):
            while len(self.server._connections) != count:  # noqa: ASYNC110  # the same
                await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    tls: CertificateFiles | None = None, *, with_fast_way: bool = True, **limits: Any
) -> AsyncIterator[Served]:
    application, counted = Application(), list[str]()
    fast = Fast(application)
    routes = application.routes()
    routes.add_middleware(ClosingConnections, stopping=application.stopping.is_set)
    ports = Reservations({"http": Address("127.0.0.1", 0)})
    limits = {"request_time": LONG, **limits}
    server = HttpServer(
        routes,
        Address.parse(ports.listen["http"]),
        tls,
        limits=HttpLimits(**limits),
        always=frozenset({"/healthz"}),
        urgent=frozenset({"/oauth2/revoke"}),
        fast=fast.routes() if with_fast_way else None,
        count=counted.append,
    )
    background = Background(SystemClock(), lambda: 0.5, Metrics())
    server.start(background, "http")
    try:
        yield Served(place(ports.listen["http"]), application, server, counted, fast)
    finally:
        application.gate.set()
        await server.stop()
        await background.close()
        ports.close()


Scenario = Coroutine[Any, Any, None]
Run = Callable[[Scenario], None]
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.Loop,
}


def run_on(loop: str, scenario: Scenario) -> None:
    """Run a scenario on an event loop; nothing may be left to the loop's handler of errors."""
    failures: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: failures.append(context))
        runner.run(scenario)
    assert not failures
