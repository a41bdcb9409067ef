"""Servers of the Model Context Protocol, made with the package `mcp`, that accept tokenmint's tokens.

:class:`McpTokenVerifier` is for servers with the package's own check of tokens, which hands on the token alone: a token
that is bound to a key is refused. :class:`McpTokenMiddleware` stands in its place, and checks proofs too.
"""

from collections.abc import Callable, Sequence

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from tokenmint_client.asgi import App, Scope, TokenMiddleware, certificate_of
from tokenmint_client.errors import TokenRejected
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
            KeySetUnavailable: the keys can't be fetched. The server answers with 500, and not with 401, upon which
                clients would let their user sign in again.
        """
        try:
            verified = await self._verifier.verify(token)
        except TokenRejected:
            return None
        return _access_token(verified, token, self._resource)


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
