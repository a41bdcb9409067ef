"""The application's own HTTP calls carry the right token: `httpx.Client(auth=TokenAuth(…))`."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence

import httpx

from tokenmint_client.source import AsyncTokenSource, TokenSource
from tokenmint_client.subject import SubjectToken, current


class TokenAuth(httpx.Auth):
    """Sends the token as ``Authorization: Bearer``. httpx drops it where a redirect leads to another origin.

    Args:
        source: where tokens come from; for an ``httpx.AsyncClient`` of either kind.
        subject_token: on whose behalf.
        audience: the called service's audience.
        scopes: default: all that the audience grants this client.

    A request raises ``TokenmintError`` where no token can be had.
    """

    def __init__(
        self,
        source: TokenSource | AsyncTokenSource,
        subject_token: SubjectToken,
        audience: str,
        *,
        scopes: Sequence[str] = (),
    ) -> None:
        self._source = source
        self._subject_token = subject_token
        self._audience = audience
        self._scopes = scopes

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if isinstance(self._source, AsyncTokenSource):
            raise TypeError("an AsyncTokenSource is for httpx.AsyncClient: give httpx.Client a TokenSource")
        token = self._source.get(current(self._subject_token), self._audience, scopes=self._scopes)
        request.headers["Authorization"] = f"Bearer {token.value}"
        yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        subject_token = current(self._subject_token)
        if isinstance(self._source, AsyncTokenSource):
            token = await self._source.get(subject_token, self._audience, scopes=self._scopes)
        else:
            token = await asyncio.to_thread(self._source.get, subject_token, self._audience, scopes=self._scopes)
        request.headers["Authorization"] = f"Bearer {token.value}"
        yield request
