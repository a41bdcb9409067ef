"""What operators' systems ask over HTTP, on a listener of its own: health, readiness, metrics."""

from collections.abc import Callable, Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tokenmint.telemetry import Metrics

HEALTH: Final = frozenset({"/healthz", "/readyz"})
"""What is answered also where the listener is full."""


def application(readiness: Callable[[], Mapping[str, str]], metrics: Metrics) -> Starlette:
    """Return the operations application.

    Args:
        readiness: returns what stands in the way of serving, by subject; empty when ready.
        metrics: what is shown under /metrics.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        problems = dict(readiness())
        headers = {"Retry-After": "1"} if problems else {}
        return JSONResponse({"ready": not problems, "problems": problems}, 503 if problems else 200, headers)

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics)],
    )
