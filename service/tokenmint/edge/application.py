"""The sidecar's HTTP application: the paths of `[gateway]` for a gateway on the same machine, and its counts."""

import math
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tokenmint.base.errors import TokenmintError
from tokenmint.edge.answers import Answers, Given
from tokenmint.edge.question import PATH, question_of
from tokenmint.gateway.decision import NO_STORE
from tokenmint.web.gateway_auth import WITH_BODY, denied, failure, has_body

HEALTH: Final = "/healthz"
METRICS: Final = "/metrics"


class Edge:
    """Answers a gateway.

    Args:
        answers: the answers.
        token_headers: tokenmint's `gateway.headers`.
        host_header: tokenmint's `gateway.host_header`.
    """

    def __init__(self, answers: Answers, token_headers: Sequence[str], host_header: str) -> None:
        self._answers = answers
        self._token_headers = token_headers
        self._host_header = host_header
        self._registry = CollectorRegistry()
        self._counts = Counter(
            "tokenmint_edge_answers", "Answers of the sidecar: kept, asked, refused or away", ["how"],
            registry=self._registry,
        )  # fmt: skip
        for how in ("kept", "asked", "refused", "away"):
            self._counts.labels(how)

    def application(self) -> Starlette:
        """Return the application."""
        found = Starlette(
            routes=[
                Route(HEALTH, lambda _: PlainTextResponse("ok\n"), methods=["GET"]),
                Route(METRICS, lambda _: Response(generate_latest(self._registry), media_type="text/plain")),
                Route("/{path:path}", self._answer, methods=["GET"]),
            ]
        )
        found.router.redirect_slashes = False
        return found

    async def _answer(self, request: Request) -> Response:
        if PATH.match(request.url.path) is None:
            return PlainTextResponse("there is no such path\n", 404)
        if has_body(request):
            response = denied(WITH_BODY)
            response.headers["Connection"] = "close"  # the body is not read
            return response
        try:
            question = question_of(request.url.path, request.headers.raw, self._token_headers, self._host_header)
        except TokenmintError as error:
            self._counts.labels("refused").inc()
            return failure(error)
        try:
            given = await self._answers.give(question)
        except TokenmintError as error:
            self._counts.labels("away").inc()
            return failure(error)
        self._counts.labels("kept" if given.kept else "asked" if given.answer.status == 200 else "refused").inc()
        return _response(given)


def _response(given: Given) -> Response:
    response = Response(given.answer.body, given.answer.status)
    for name, value in given.answer.headers:
        if name != "cache-control":
            response.headers.append(name, value)
    left = math.floor(given.left)  # what is left of its time, so that a cache behind this one adds nothing
    response.headers["cache-control"] = f"max-age={left}" if left else NO_STORE
    return response
