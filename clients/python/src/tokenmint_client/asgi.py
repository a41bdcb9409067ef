"""ASGI middleware for Starlette, FastAPI and everything else that speaks ASGI."""

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from tokenmint_client.bearer import NO_TOKEN, bearer_token, enter, missing_scopes
from tokenmint_client.errors import KeySetUnavailable, TokenRejected
from tokenmint_client.verifier import AsyncVerifier

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TokenMiddleware:
    """Serves a request only with a good token (RFC 6750). `request.state.token` and `current_token()` return it.

    Args:
        app: the application.
        verifier: accepts tokens.
        scopes: what each request needs.
        public: paths that need no token, e.g. ``/healthz``, exactly as they are requested.
    """

    def __init__(
        self, app: App, verifier: AsyncVerifier, *, scopes: Sequence[str] = (), public: Sequence[str] = ()
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._scopes = tuple(scopes)
        self._public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope.get("path") in self._public:
            await self._app(scope, receive, send)
            return
        sent = bearer_token(
            value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"authorization"
        )
        if sent is None:
            await _refuse(scope, send, 401, "Bearer", NO_TOKEN)
            return
        try:
            token = await self._verifier.verify(sent)
        except TokenRejected as error:
            await _refuse(scope, send, 401, 'Bearer error="invalid_token"', error.message)
            return
        except KeySetUnavailable as error:
            await _refuse(scope, send, 503, None, error.message)
            return
        missing = missing_scopes(token, self._scopes)
        if missing:
            challenge = f'Bearer error="insufficient_scope", scope="{" ".join(self._scopes)}"'
            await _refuse(scope, send, 403, challenge, f"missing scopes: {' '.join(missing)}")
            return
        scope.setdefault("state", {})["token"] = token
        enter(token)
        await self._app(scope, receive, send)


async def _refuse(scope: Scope, send: Send, status: int, challenge: str | None, message: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before it was accepted: a 403
        return
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if challenge is not None:
        headers.append((b"www-authenticate", challenge.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
