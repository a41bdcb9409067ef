"""The middleware of the Python client in real frameworks, over real HTTP: one table of cases for all of them."""

import asyncio
import logging
import socket
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
import pytest
import uvicorn
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.routing import Route
from tests.bearer_cases import AUDIENCE, CASES, ISSUER, REQUIRES, Keys, get, play, published
from tests.issuer import Issuer, serving

from tokenmint_client import AsyncVerifier, Revocations, Verifier, current_token
from tokenmint_client.asgi import TokenMiddleware
from tokenmint_client.django import TokenMiddleware as DjangoMiddleware

pytestmark = pytest.mark.slow

if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["*"], MIDDLEWARE=["tokenmint_client.django.TokenMiddleware"], LOGGING_CONFIG=None)
    django.setup()


@requires(REQUIRES)
async def starlette_view(request: Request) -> PlainTextResponse:
    assert request.user.is_authenticated
    assert request.auth is request.state.token is current_token()
    return PlainTextResponse(request.user.display_name)


def django_view(request: HttpRequest) -> HttpResponse:
    token = request.auth
    assert token is current_token()
    return HttpResponse(token.subject)


@contextmanager
def uvicorn_of(app: Any, lifespan: Literal["on", "off"] = "off") -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan=lifespan))
    listener = socket.create_server(("127.0.0.1", 0))  # it listens from now on, before the server is up
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's signature
        """Nothing."""


@contextmanager
def starlette(keys: Keys, revocations: Revocations | None = None) -> Iterator[str]:
    app = Starlette(routes=[Route("/", starlette_view)])
    app.add_middleware(TokenMiddleware, verifier=asynchronous(keys, revocations), scopes=REQUIRES)
    with uvicorn_of(app) as base:
        yield base


@contextmanager
def fastapi(keys: Keys, revocations: Revocations | None = None) -> Iterator[str]:
    app = FastAPI()
    app.add_middleware(TokenMiddleware, verifier=asynchronous(keys, revocations), scopes=REQUIRES)

    @app.get("/", response_class=PlainTextResponse)
    def view(request: Request) -> str:
        subject: str = request.state.token.subject
        return subject

    with uvicorn_of(app) as base:
        yield base


def asynchronous(keys: Keys, revocations: Revocations | None) -> AsyncVerifier:
    return AsyncVerifier(ISSUER, AUDIENCE, jwks_url=keys.url, clock=keys.clock, revocations=revocations)


def threaded(keys: Keys, revocations: Revocations | None) -> Verifier:
    return Verifier(ISSUER, AUDIENCE, jwks_url=keys.url, clock=keys.clock, revocations=revocations)


@contextmanager
def django_settings(verifier: object) -> Iterator[None]:
    urls = types.ModuleType("urls")
    urls.urlpatterns = [path("", django_view)]  # type: ignore[attr-defined]  # as Django finds them
    with override_settings(
        ROOT_URLCONF=urls, TOKENMINT_VERIFIER=verifier, TOKENMINT_SCOPES=REQUIRES, TOKENMINT_PUBLIC=["/open"]
    ):
        yield


@contextmanager
def django_wsgi(keys: Keys, revocations: Revocations | None = None) -> Iterator[str]:
    with django_settings(threaded(keys, revocations)):
        server = make_server("127.0.0.1", 0, WSGIHandler(), handler_class=Quiet)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(timeout=20)
            server.server_close()


@contextmanager
def django_asgi(keys: Keys, revocations: Revocations | None = None) -> Iterator[str]:
    with django_settings(asynchronous(keys, revocations)), uvicorn_of(ASGIHandler()) as base:
        yield base


@contextmanager
def django_asgi_with_threads(keys: Keys, revocations: Revocations | None = None) -> Iterator[str]:
    with django_settings(threaded(keys, revocations)), uvicorn_of(ASGIHandler()) as base:
        yield base


FRAMEWORKS: Final[dict[str, Callable[[Keys, Revocations | None], Any]]] = {
    "Starlette": starlette, "FastAPI": fastapi, "Django, WSGI": django_wsgi, "Django, ASGI": django_asgi,
    "Django, ASGI, Verifier": django_asgi_with_threads,
}  # fmt: skip


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_rfc6750_section_3_answers(framework: str, case: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(Issuer()) as issuer:
        keys = Keys(issuer)
        with FRAMEWORKS[framework](keys, keys.revocations(case)) as base:
            play(case, base, keys)
    if case.get("place") != "query":  # an access log has the query, which is why nobody should send a token there
        assert not [token for token in keys.sent if token and token in caplog.text]
    if case.get("keys") == "unavailable":
        assert f"the key set at {keys.url} can't be fetched: the answer has status 503" in caplog.text


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_a_websocket_that_is_not_accepted_has_the_answer_of_a_request(case: dict[str, Any]) -> None:
    sent: list[dict[str, Any]] = []

    async def application(_: Any, __: Any, ___: Any) -> None:
        sent.append({"status": 200})

    async def send(message: Any) -> None:
        sent.append(message)

    with serving(Issuer(status=503 if case.get("keys") == "unavailable" else 200)) as issuer:
        keys = Keys(issuer)
        if case["token"] == "revoked key":
            issuer.documents["/jwks.json"] = published("k1")
        header = b"authorization", f"{case.get('scheme', 'Bearer')} {keys.token(case['token'] or 'good')}".encode()
        is_sent = case["token"] and case.get("place") != "query"
        scope = {
            "type": "websocket", "path": "/", "headers": [header] * case.get("times", 1) if is_sent else [],
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        verifier = asynchronous(keys, keys.revocations(case))
        await TokenMiddleware(application, verifier, scopes=REQUIRES)(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == case["status"]
    headers = dict(sent[0].get("headers", []))
    assert (b"www-authenticate" in headers) == (case["status"] in (400, 401, 403))
    assert headers.get(b"retry-after") == (b"1" if case["status"] == 503 else None)
    assert {message.get("type", "").removesuffix(".body") for message in sent[1:]} <= {"websocket.http.response"}


def test_django_serves_public_paths_without_a_token() -> None:
    with serving(Issuer()) as issuer, django_wsgi(Keys(issuer)) as base:
        assert get(base, [], "open").status == 404  # past the middleware, and no such page


@pytest.mark.parametrize("verifier", [None, AsyncVerifier(ISSUER, AUDIENCE), "verifier"])
def test_django_under_wsgi_needs_a_verifier_for_threads(verifier: object) -> None:
    with django_settings(verifier), pytest.raises(ImproperlyConfigured, match="TOKENMINT_VERIFIER"):
        DjangoMiddleware(lambda _: HttpResponse())
