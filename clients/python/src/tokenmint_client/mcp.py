"""Servers of the Model Context Protocol, made with the package `mcp`, that accept tokenmint's tokens.

:class:`McpTokenVerifier` is for servers with the package's own check of tokens, which hands on the token alone: a token
that is bound to a key is refused. :class:`McpUnavailableMiddleware` around such a server answers 503 while tokens can't
be verified. :class:`McpTokenMiddleware` stands in place of both, and checks proofs too.
"""

from collections.abc import Callable, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from tokenmint_client.asgi import App, Receive, Scope, Send, TokenMiddleware, certificate_of, refuse
from tokenmint_client.errors import TokenRejected, VerificationError
from tokenmint_client.refusals import unavailable
from tokenmint_client.resource import ProtectedResource
from tokenmint_client.types import VerifiedToken
from tokenmint_client.verifier import AsyncVerifier


class McpTokenVerifier:
    """The ``token_verifier`` of an ``MCPServer``.

    In a tool, ``get_access_token()`` of the package returns the token of the current request: its ``subject``, and in
    its ``claims`` all of them, e.g. ``act``.

    Args:
        verifier: accepts tokens.
        resource: the server's ``AuthSettings.resource_server_url``, which the package compares. Default: the audience.
    """

    def __init__(self, verifier: AsyncVerifier, resource: str | None = None) -> None:
        self._verifier = verifier
        self._resource = resource or verifier.audience

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what a token says, or None where it is not accepted.

        Raises:
            KeySetUnavailable: keys or revocations are not at hand. The server answers with 500, or behind a
                :class:`McpUnavailableMiddleware` with 503, and not with 401, upon which clients would let their user
                sign in again.
        """
        try:
            verified = await self._verifier.verify(token)
        except TokenRejected:
            return None
        except VerificationError:
            if (request := _request.get(None)) is not None:
                request.is_undecided = True
            raise
        return _access_token(verified, token, self._resource)


@dataclass
class _Request:
    """The request that is being served."""

    is_undecided: bool = False
    """Whether a token could be neither accepted nor refused."""
    is_answered: bool = False
    is_failed: bool = False
    """Whether the application failed, because of the token: its answer is not sent."""


_request: ContextVar[_Request] = ContextVar("tokenmint_mcp_request")


class McpUnavailableMiddleware:
    """Answers 503 with ``Retry-After`` where a :class:`McpTokenVerifier` has no keys or revocations.

    The package has no such answer for its ``token_verifier``, and gives 500. Put it around the
    ``streamable_http_app()`` of an ``MCPServer``, or add it with ``add_middleware``.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request()
        entered = _request.set(request)

        async def answer(message: MutableMapping[str, Any]) -> None:
            if not request.is_answered and request.is_undecided and message.get("status") == 500:
                request.is_failed = True
            if not request.is_failed:
                request.is_answered = True
                await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception:
            if request.is_answered or not request.is_undecided:
                raise
            request.is_failed = True  # its cause is in the log of the verifier
        finally:
            _request.reset(entered)
        if request.is_failed:
            await refuse(scope, send, unavailable())


class McpTokenMiddleware(TokenMiddleware):
    """:class:`TokenMiddleware` in front of the ``streamable_http_app()`` of an ``MCPServer`` without ``auth``.

    In a tool, ``get_access_token()`` of the package returns the token of the current request. A session belongs to the
    principal and the client that began it.

    Args:
        app: the server's application.
        verifier: accepts tokens.
        resource: announces the server (RFC 9728), and checks the keys that tokens are bound to.
        scopes: what each request needs.
        public: paths that need no token.
        certificate: as in :class:`TokenMiddleware`.
    """

    def __init__(
        self,
        app: App,
        verifier: AsyncVerifier,
        *,
        resource: ProtectedResource,
        scopes: Sequence[str] = (),
        public: Sequence[str] = (),
        certificate: Callable[[Scope], bytes | None] = certificate_of,
    ) -> None:
        wrapped = AuthContextMiddleware(app)
        super().__init__(wrapped, verifier, scopes=scopes, public=public, resource=resource, certificate=certificate)
        self._resource = resource.resource

    def _user(self, token: VerifiedToken, sent: str) -> object:
        return AuthenticatedUser(_access_token(token, sent, self._resource))


def _access_token(verified: VerifiedToken, sent: str, resource: str) -> AccessToken:
    return AccessToken(
        token=sent,
        client_id=verified.client_id or verified.subject,
        scopes=sorted(verified.scopes),
        expires_at=int(verified.expires_at),
        resource=resource,
        subject=verified.subject,
        claims=dict(verified.claims),
    )
