"""As `httpx_auth`, for the package `requests` (the extra `tokenmint-client[requests]`)."""

from collections.abc import Sequence

from requests import PreparedRequest
from requests.auth import AuthBase

from tokenmint_client.source import TokenSource
from tokenmint_client.subject import SubjectToken, current


class TokenAuth(AuthBase):
    """Sends the token as ``Authorization: Bearer``. requests drops it where a redirect leads to another host.

    Args:
        source: where tokens come from.
        subject_token: on whose behalf.
        audience: the called service's audience.
        scopes: default: all that the audience grants this client.

    A request raises ``TokenmintError`` where no token can be had.
    """

    def __init__(
        self, source: TokenSource, subject_token: SubjectToken, audience: str, *, scopes: Sequence[str] = ()
    ) -> None:
        self._source = source
        self._subject_token = subject_token
        self._audience = audience
        self._scopes = scopes

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        token = self._source.get(current(self._subject_token), self._audience, scopes=self._scopes)
        request.headers["Authorization"] = f"Bearer {token.value}"
        return request
