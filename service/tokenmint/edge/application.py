"""The sidecar's HTTP application: the paths of `[gateway]` for a gateway on the same machine, and its counts."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tokenmint.base.errors import TokenmintError
from tokenmint.base.token_errors import TokenRejected
from tokenmint.edge.answers import Answers, Given
from tokenmint.edge.following import Following
from tokenmint.edge.question import PATH, Question, question_of
from tokenmint.gateway.decision import NO_STORE
from tokenmint.web.gateway_auth import COOKIE, WITH_BODY, denied, failure, has_body

HEALTH: Final = "/healthz"
READY: Final = "/readyz"
METRICS: Final = "/metrics"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods of questions: Envoy asks with that of its client. tokenmint is asked with GET."""
REMOVED: Final = "x-envoy-auth-headers-to-remove"
"""The header by which Envoy is told to remove headers from the request; other gateways ignore it."""


class Edge:
    """Answers a gateway.

    Args:
        answers: the answers.
        token_headers: tokenmint's `gateway.headers`.
        host_header: tokenmint's `gateway.host_header`.
        following: the streams of revocations, for metrics and readiness; None: there are none.
        lag: the seconds for which a stream may be away.
    """

    def __init__(
        self,
        answers: Answers,
        token_headers: Sequence[str],
        host_header: str,
        following: Following | None = None,
        lag: float = 0.0,
    ) -> None:
        self._answers = answers
        self._token_headers = token_headers
        self._host_header = host_header
        self._following = following
        self._lag = lag
        self.registry = CollectorRegistry()
        self._counts = Counter(
            "tokenmint_edge_answers", "Answers of the sidecar: kept, asked, refused or away", ["how"],
            registry=self.registry,
        )  # fmt: skip
        for how in ("kept", "asked", "refused", "away"):
            self._counts.labels(how)
        kept = Gauge("tokenmint_edge_answers_kept", "Answers that are kept now", registry=self.registry)
        kept.set_function(lambda: len(answers))
        if following is not None:
            self._measure(following)

    def _measure(self, following: Following) -> None:
        """Make the metrics of the streams."""
        count = Gauge("tokenmint_edge_revocations", "Revocations that are known", registry=self.registry)
        count.set_function(lambda: len(following.revoked))
        age = Gauge(
            "tokenmint_edge_revocations_age_seconds", "Seconds since every revocation was known", ["audience"],
            registry=self.registry,
        )  # fmt: skip
        up = Gauge(
            "tokenmint_edge_revocations_followed", "Whether revocations are known in time: 1 or 0", ["audience"],
            registry=self.registry,
        )  # fmt: skip
        for audience in following.streams:
            age.labels(audience).set_function(partial(following.lag, audience))
            up.labels(audience).set_function(partial(self._in_time, following, audience))

    def _in_time(self, following: Following, audience: str) -> bool:
        return following.lag(audience) <= self._lag

    def application(self) -> Starlette:
        """Return the application."""
        found = Starlette(
            routes=[
                Route(HEALTH, lambda _: PlainTextResponse("ok\n"), methods=["GET"]),
                Route(READY, lambda _: JSONResponse(self._readiness()), methods=["GET"]),
                Route(METRICS, lambda _: Response(generate_latest(self.registry), media_type="text/plain")),
                Route("/{path:path}", self._answer, methods=METHODS),
            ]
        )
        found.router.redirect_slashes = False
        return found

    def _readiness(self) -> dict[str, object]:
        """Return the state. It is always ready: without revocations it keeps answers for a short time, or none."""
        details = {}
        if self._following is not None:
            for audience, stream in self._following.streams.items():
                lag = self._following.lag(audience)
                known = f"known up to {lag:.1f} s ago" if math.isfinite(lag) else "not known yet"
                kept = "" if lag <= self._lag else ", so answers are not kept for longer"
                away = f"; the stream is away: {stream.error}" if stream.error else ""
                details[f"revocations of {audience}"] = f"{known}{kept}{away}"
        return {"ready": True, "problems": {}, "details": details}

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
            self._counts.labels("refused" if isinstance(error, TokenRejected) else "away").inc()
            return failure(error)
        self._counts.labels("kept" if given.kept else "asked" if given.answer.status == 200 else "refused").inc()
        response = _response(given)
        if given.answer.status == 200 and (removed := self._removed(question, given)):
            response.headers[REMOVED] = ",".join(removed)
        return response

    def _removed(self, question: Question, given: Given) -> list[str]:
        """Return the headers of a question that must not reach the service behind: they hold the caller's token."""
        answered = {name for name, _ in given.answer.headers}
        return [name for name, _ in question.headers if name in (COOKIE, *self._token_headers) and name not in answered]


def _response(given: Given) -> Response:
    response = Response(given.answer.body, given.answer.status)
    for name, value in given.answer.headers:
        if name != "cache-control":
            response.headers.append(name, value)
    onward = math.floor(given.onward)
    response.headers["cache-control"] = f"max-age={onward}" if onward else NO_STORE
    return response
