"""The application's own HTTP calls carry the right token: `httpx.Client(auth=TokenAuth(…))`."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Generator, Sequence

import httpx

from tokenmint_client.dpop_key import DpopKey, Presenter, origin_of
from tokenmint_client.source import AsyncTokenSource, TokenSource
from tokenmint_client.subject import SubjectToken, current
from tokenmint_client.types import Token


class TokenAuth(httpx.Auth):
    """Sends the token as its type says: ``Authorization: Bearer``, or ``DPoP`` and a proof (RFC 9449 section 7.1).

    httpx drops it where a redirect leads to another origin.

    Args:
        source: where tokens come from; for an ``httpx.AsyncClient`` of either kind.
        subject_token: on whose behalf.
        audience: the called service's audience.
        scopes: default: all that the audience grants this client.
        dpop: a key to which the tokens are bound. Each request then has a proof of it.

    A request raises ``TokenmintError`` where no token can be had, and ``ValueError`` where the hook can't present it.
    """

    def __init__(
        self,
        source: TokenSource | AsyncTokenSource,
        subject_token: SubjectToken,
        audience: str,
        *,
        scopes: Sequence[str] = (),
        dpop: DpopKey | None = None,
    ) -> None:
        self._source = source
        self._subject_token = subject_token
        self._audience = audience
        self._scopes = scopes
        self._presenter = Presenter(audience, dpop)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if isinstance(self._source, AsyncTokenSource):
            raise TypeError("an AsyncTokenSource is for httpx.AsyncClient: give httpx.Client a TokenSource")
        subject_token = current(self._subject_token)
        token = self._source.get(subject_token, self._audience, scopes=self._scopes, **self._presenter.options)
        yield from self._sent(request, token)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        subject_token, options = current(self._subject_token), self._presenter.options
        if isinstance(self._source, AsyncTokenSource):
            token = await self._source.get(subject_token, self._audience, scopes=self._scopes, **options)
        else:
            get = functools.partial(self._source.get, scopes=self._scopes, **options)
            token = await asyncio.to_thread(get, subject_token, self._audience)
        flow = self._sent(request, token)
        with contextlib.suppress(StopIteration):
            sent = next(flow)
            while True:
                sent = flow.send((yield sent))

    def _sent(self, request: httpx.Request, token: Token) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request, and again where the service wants its nonce in the proof."""
        url = str(request.url)
        request.headers.update(self._presenter.headers(token, request.method, url))
        answer = yield request
        nonce, challenge = answer.headers.get("DPoP-Nonce", ""), answer.headers.get("WWW-Authenticate", "")
        at = str(answer.url)  # elsewhere, after redirects
        again = self._presenter.has_to_repeat(at, answer.status_code, challenge, nonce)
        if again and origin_of(at) == origin_of(url) and isinstance(request.stream, httpx.ByteStream):
            request.headers.update(self._presenter.headers(token, request.method, url))
            yield request
