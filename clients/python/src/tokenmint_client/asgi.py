"""ASGI middleware for Starlette, FastAPI and everything else that speaks ASGI."""

import json
import ssl
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tokenmint_client.bearer import enter
from tokenmint_client.errors import VerificationError
from tokenmint_client.refusals import Door, Presented, Refusal
from tokenmint_client.resource import ProtectedResource
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


def certificate_of(scope: Scope) -> bytes | None:
    """Return the certificate of the client's connection in DER, where the server tells it (ASGI's TLS extension)."""
    chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain") or [None]
    return ssl.PEM_cert_to_DER_cert(chain[0]) if chain[0] else None


class TokenMiddleware:
    """Serves a request only with a good token (RFC 6750).

    `request.state.token`, `request.auth` and `current_token()` return it; `request.user` is its principal. So
    Starlette's `requires("orders.read")` compares the token's scopes.

    Args:
        app: the application.
        verifier: accepts tokens.
        scopes: what each request needs.
        public: paths that need no token, e.g. ``/healthz``, exactly as they are requested.
        resource: announces the service to OAuth clients (RFC 9728), and checks the keys that tokens are bound to.
            Without it bound tokens are refused.
        certificate: returns the client's certificate in DER, e.g. from a header of your own proxy.
    """

    def __init__(
        self,
        app: App,
        verifier: AsyncVerifier,
        *,
        scopes: Sequence[str] = (),
        public: Sequence[str] = (),
        resource: ProtectedResource | None = None,
        certificate: Callable[[Scope], bytes | None] = certificate_of,
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._door = Door(tuple(scopes), resource)
        self._public = frozenset(public)
        self._certificate = certificate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope.get("path") in self._public:
            await self._app(scope, receive, send)
            return
        resource = self._door.resource
        if resource is not None and scope["type"] == "http" and _path(scope) == resource.metadata_path:
            await _send(send, *resource.answer(scope["method"]))
            return
        try:
            sent = self._door.presented(_values(scope, b"authorization"))
            token = await self._verify(scope, sent)
        except Refusal as refusal:
            await refuse(scope, send, refusal)
            return
        scope.setdefault("state", {})["token"] = token
        scope["auth"], scope["user"] = token, self._user(token, sent.token)
        enter(token)
        await self._app(scope, receive, send)

    def _user(self, token: VerifiedToken, sent: str) -> object:  # noqa: ARG002  # subclasses keep what was sent
        """Return `request.user`."""
        return TokenUser(token.subject)

    async def _verify(self, scope: Scope, sent: Presented) -> VerifiedToken:
        method, proofs = scope.get("method", "GET"), _values(scope, b"dpop")  # a WebSocket begins with a GET
        possession = self._door.possession(sent, method, _path(scope), proofs, self._certificate(scope))
        try:
            token = await self._verifier.verify(sent.token, possession=possession)
        except VerificationError as error:
            raise self._door.refused(error, sent, self._verifier.clock()) from None
        self._door.require(token, sent)
        return token


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == wanted]


def _path(scope: Scope) -> str:
    """Return the path of a request, percent-encoded."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")


async def refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Answer a request that is not served."""
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: a 403
            return
    body = json.dumps({"error": refusal.message}).encode()
    await _send(send, refusal.status, {"content-type": "application/json", **refusal.headers}, body, kind)


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes, kind: str = "http.response") -> None:
    length = {} if status == 204 else {"content-length": str(len(body))}
    sent = [(name.lower().encode(), value.encode()) for name, value in {**headers, **length}.items()]
    await send({"type": f"{kind}.start", "status": status, "headers": sent})
    await send({"type": f"{kind}.body", "body": body})
