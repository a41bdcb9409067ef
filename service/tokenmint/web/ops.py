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

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics)],
    )
