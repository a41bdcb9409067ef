"""A service that only tokens of tokenmint open."""

import os
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tokenmint_client import AsyncVerifier
from tokenmint_client.asgi import TokenMiddleware


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello {request.state.token.subject}")


verifier = AsyncVerifier(os.environ["TOKENMINT_ISSUER"], os.environ["TOKENMINT_AUDIENCE"])
app = TokenMiddleware(Starlette(routes=[Route("/", hello)]), verifier, scopes=["read"])

if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
