"""Questions to tokenmint over HTTP, with the sidecar's own credentials."""

import asyncio
from types import TracebackType
from typing import Final, Self

import httpx2

from tokenmint.admission.named_credentials import CLIENT_ID, CLIENT_SECRET
from tokenmint.base.errors import DependencyUnavailable
from tokenmint.base.http_url import HttpUrl
from tokenmint.base.tls_files import verifying
from tokenmint.edge.answers import Answer
from tokenmint.edge.question import Question
from tokenmint.gateway.decision import BEARER
from tokenmint.gateway.request import AUTHORIZATION
from tokenmint.model.secret import Secret

LONGEST: Final = 64 * 1024  # bytes of an answer's body
PATIENCE: Final = 5.0  # seconds for a question and its whole answer
CONNECTIONS: Final = 64
PASSED_ON: Final = frozenset(
    {
        "authorization", "cookie", "x-tokenmint-principal", "x-tokenmint-scope", "cache-control", "vary",
        "www-authenticate", "retry-after", "content-type",
    }
)  # fmt: skip
"""Headers of answers that gateways get."""
_STATUSES: Final = frozenset({200, 401, 403, 429, 502, 503})
"""The statuses of answers (docs/guides/gateways.md)."""


class Upstream:
    """Asks one tokenmint. Close it, or use it in an ``async with``.

    Args:
        url: its HTTP listener.
        client_id: the sidecar's, one of `[clients]`.
        secret: its secret.
        authorities: the authorities of its certificate, in PEM; None: those of the system.
    """

    def __init__(self, url: HttpUrl, client_id: str, secret: Secret, *, authorities: bytes | None) -> None:
        self._url = f"{url.scheme}://{url.authority}"
        self._own = ((CLIENT_ID, client_id), (CLIENT_SECRET, secret.reveal()))
        self._client = httpx2.AsyncClient(
            verify=verifying(authorities),
            timeout=PATIENCE,
            limits=httpx2.Limits(max_connections=CONNECTIONS),
            trust_env=False,
        )

    async def ask(self, question: Question) -> Answer:
        """Return tokenmint's answer. Raises ``DependencyUnavailable`` if there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                response, body = await self._send(question)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
            raise DependencyUnavailable("tokenmint can't be reached: retry later") from None
        if response.status_code not in _STATUSES:
            raise DependencyUnavailable("tokenmint has no answer for gateways: is [gateway] enabled?")
        headers = [(name.lower(), value) for name, value in response.headers.multi_items()]
        tokens = [value for name, value in headers if name == AUTHORIZATION]
        if response.status_code == 200 and (len(tokens) != 1 or not tokens[0].startswith(f"{BEARER} ")):
            # A gateway that only looks at the status would pass the request on with its caller's own header.
            raise DependencyUnavailable("the answer has no token: is --upstream tokenmint's listener?")
        passed_on = tuple((name, value) for name, value in headers if name in PASSED_ON)
        return Answer(response.status_code, passed_on, body)

    async def _send(self, question: Question) -> tuple[httpx2.Response, bytes]:
        """Return the response and its body."""
        request = self._client.build_request("GET", self._url + question.path, headers=self._headers(question))
        response = await self._client.send(request, stream=True)
        try:
            body = b""
            async for part in response.aiter_raw():
                body += part
                if len(body) > LONGEST:
                    raise DependencyUnavailable("tokenmint's answer is too long")
        finally:
            await response.aclose()
        return response, body

    def _headers(self, question: Question) -> list[tuple[bytes, bytes]]:
        """Return the headers, with the bytes that the gateway sent."""
        sent = (*question.headers, *self._own, ("accept-encoding", "identity"))
        return [(name.encode(), value.encode("latin-1")) for name, value in sent]

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
