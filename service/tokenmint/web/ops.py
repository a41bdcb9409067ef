"""Health, readiness and metrics for operators' systems, on a listener of its own."""

from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tokenmint.base.readiness import Readiness
from tokenmint.base.telemetry import Metrics

HEALTH: Final = frozenset({"/healthz", "/readyz"})
"""Paths that are answered even if the listener is full."""
_OPENMETRICS: Final = "application/openmetrics-text"


def application(readiness: Readiness, metrics: Metrics) -> Starlette:
    """Return the operations application.

    Args:
        readiness: the conditions for serving, and warnings for operators.
        metrics: served under /metrics.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        problems = readiness.problems()
        state = {"ready": not problems, "problems": problems, "details": readiness.details()}
        return JSONResponse(state, 503 if problems else 200, {"Retry-After": "1"} if problems else {})

    async def show_metrics(request: Request) -> Response:
        openmetrics = _OPENMETRICS in request.headers.get("accept", "").lower()
        kind = f"{_OPENMETRICS}; version=1.0.0" if openmetrics else "text/plain; version=0.0.4"
        return Response(
            metrics.render(openmetrics=openmetrics), headers={"Vary": "Accept"}, media_type=f"{kind}; charset=utf-8"
        )

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics)],
    )
