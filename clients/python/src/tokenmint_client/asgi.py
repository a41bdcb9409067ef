"""ASGI middleware for Starlette, FastAPI and everything else that speaks ASGI."""

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenmint_client.bearer import enter
from tokenmint_client.errors import VerificationError
from tokenmint_client.refusals import Refusal, presented, refused, require
from tokenmint_client.types import VerifiedToken
from tokenmint_client.verifier import AsyncVerifier

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TokenUser:
    """`request.user` of Starlette: the principal of the token."""

    identity: str
    """The token's ``sub``."""
    is_authenticated: bool = True

    @property
    def display_name(self) -> str:
        """The token's ``sub``."""
        return self.identity


class TokenMiddleware:
    """Serves a request only with a good token (RFC 6750).

    `request.state.token`, `request.auth` and `current_token()` return it; `request.user` is its principal. So
    Starlette's `requires("orders.read")` compares the token's scopes.

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
        try:
            token = await self._verify(scope)
        except Refusal as refusal:
            await _refuse(scope, send, refusal)
            return
        scope.setdefault("state", {})["token"] = token
        scope["auth"], scope["user"] = token, TokenUser(token.subject)
        enter(token)
        await self._app(scope, receive, send)

    async def _verify(self, scope: Scope) -> VerifiedToken:
        sent = presented(
            value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"authorization"
        )
        try:
            token = await self._verifier.verify(sent)
        except VerificationError as error:
            raise refused(error) from None
        require(token, self._scopes)
        return token


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before it was accepted: a 403
        return
    body = json.dumps({"error": refusal.message}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
