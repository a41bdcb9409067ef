"""As `httpx_auth`, for the package `requests` (the extra `tokenmint-client[requests]`)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase

from tokenmint_client.dpop_key import DpopKey, Presenter
from tokenmint_client.source import TokenSource
from tokenmint_client.subject import SubjectToken, current
from tokenmint_client.types import Token


class TokenAuth(AuthBase):
    """Sends the token as its type says: ``Authorization: Bearer``, or ``DPoP`` and a proof (RFC 9449 section 7.1).

    requests drops it where a redirect leads to another host.

    Args:
        source: where tokens come from.
        subject_token: on whose behalf.
        audience: the called service's audience.
        scopes: default: all that the audience grants this client.
        dpop: a key to which the tokens are bound. Each request then has a proof of it.

    A request raises ``TokenmintError`` where no token can be had, and ``ValueError`` where the hook can't present it.
    """

    def __init__(
        self,
        source: TokenSource,
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

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        subject_token = current(self._subject_token)
        token = self._source.get(subject_token, self._audience, scopes=self._scopes, **self._presenter.options)
        url = request.url or ""
        request.headers.update(self._presenter.headers(token, request.method or "", url))
        request.register_hook("response", partial(self._answered, token, url))
        return request

    def _answered(self, token: Token, url: str, answer: Response, **options: Any) -> Response:
        """Send a request again where the service wants its nonce in the proof."""
        nonce, challenge = answer.headers.get("DPoP-Nonce", ""), answer.headers.get("WWW-Authenticate", "")
        again = self._presenter.has_to_repeat(answer.url, answer.status_code, challenge, nonce)
        is_kept = isinstance(answer.request.body, str | bytes | None)
        if not again or not is_kept or answer.url != url:  # a redirect must not get the token
            return answer
        answer.content  # noqa: B018  # reads it, so that the connection is free
        answer.close()
        request = answer.request.copy()
        request.headers.update(self._presenter.headers(token, request.method or "", url))
        repeated: Response = answer.connection.send(request, **options)  # of the adapter
        repeated.history.append(answer)
        repeated.request = request
        return repeated
