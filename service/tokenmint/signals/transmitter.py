"""A provider's transmitter of signals: its metadata, its streams, and polls.

Shared Signals Framework 1.0 sections 7 and 8, RFC 8936. All requests go to the transmitter's own origin, because its
token does: an endpoint of another origin in its metadata is refused.
"""

import json
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import quote

from tokenmint.base.errors import ConfigurationError, DependencyUnavailable, TokenmintError
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.http_url import BadUrl, HttpUrl, shown
from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jws import parse_object
from tokenmint.verification.key_source import AnswerUnusable, FetchFailed, FetchResult, KeySource
from tokenmint.verification.provider import Provider

WELL_KNOWN: Final = "/.well-known/ssf-configuration"
PUSH: Final = "urn:ietf:rfc:8935"
POLL: Final = "urn:ietf:rfc:8936"
LONGEST_URL: Final = 2048
LONGEST_STREAM: Final = 255
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
Document = Mapping[str, JsonValue]


class TransmitterUnavailable(DependencyUnavailable):
    reason = "TRANSMITTER_UNAVAILABLE"
    summary = "the transmitter of signals can't be reached, or is busy: retry later"


class TransmitterRefused(TokenmintError):
    """The answer can't be used, so the same request brings the same answer."""

    reason = "TRANSMITTER_REFUSED"
    summary = "the transmitter of signals refused the request, or its answer can't be used"


class Send(Protocol):
    """Sends one request under the rules of ``source``. Raises ``FetchFailed``."""

    async def __call__(self, source: KeySource, method: str, url: str, body: bytes = b"") -> FetchResult: ...


class Transmitter:
    """The transmitter of a provider.

    Args:
        provider: the provider. It has rules for signals.
        send: the HTTP client.

    Raises:
        ConfigurationError: the provider does not name its transmitter.
    """

    def __init__(self, provider: Provider, send: Send) -> None:
        rules = provider.signals
        if rules is None or not (rules.transmitter or rules.poll):
            raise ConfigurationError(
                f"providers.{provider.name}.signals.transmitter: is required: the issuer of the transmitter's metadata"
            )
        self._rules = rules
        self._provider = provider
        self._send = send
        self.base = rules.transmitter or (rules.poll.url if rules.poll is not None else "")

    async def metadata(self) -> Document:
        """Fetch the configuration metadata (section 7.2), and check its issuer.

        Raises:
            TransmitterUnavailable: it can't be fetched.
            TransmitterRefused: it can't be used.
        """
        try:
            url = HttpUrl.parse(self.base)
        except BadUrl as error:
            raise TransmitterRefused(f"the transmitter's issuer is no URL: {error}") from None
        path = url.target if url.target != "/" else ""
        found = await self._ask("GET", f"{url.scheme}://{url.authority}{WELL_KNOWN}{path.rstrip('/')}")
        if found.get("issuer") != self.base:
            raise TransmitterRefused(f"its metadata are those of another issuer: {quoted(found.get('issuer'), LONG)}")
        return found

    async def create(
        self, endpoint: str, events: tuple[str, ...], *, push_token: str = "", poll: bool = False
    ) -> Document:
        """Create a stream (section 8.1.1.1), and return its configuration. Raises as :meth:`metadata`.

        Args:
            endpoint: our URL for pushes; unused for polls.
            events: the types that are requested.
            push_token: the bearer token that pushes are to carry.
            poll: whether events are polled.
        """
        delivery: dict[str, str] = {"method": POLL} if poll else {"method": PUSH, "endpoint_url": endpoint}
        if push_token and not poll:
            delivery["authorization_header"] = f"Bearer {push_token}"
        body = {"delivery": delivery, "events_requested": list(events), "description": "tokenmint"}
        return await self._managed("configuration_endpoint", "POST", "", body)

    async def streams(self) -> list[JsonValue]:
        """Return the configurations of all streams (section 8.1.1.2). Raises as :meth:`metadata`."""
        url = await self._endpoint("configuration_endpoint")
        answer = await self._sent("GET", url)
        try:
            found: JsonValue = json.loads(answer.body)
        except ValueError:
            raise TransmitterRefused(f"{shown(url)} answered with no JSON") from None
        return found if isinstance(found, list) else [found]

    async def status(self, stream: str) -> Document:
        """Return the status of a stream (section 8.1.2.1). Raises as :meth:`metadata`."""
        return await self._managed("status_endpoint", "GET", stream)

    async def verify(self, stream: str, state: str) -> None:
        """Request a verification event (section 8.1.4.2). Raises as :meth:`metadata`."""
        body = {"stream_id": _checked(stream), "state": state}
        await self._ask("POST", await self._endpoint("verification_endpoint"), body)

    async def delete(self, stream: str) -> None:
        """Delete a stream (section 8.1.1.5). Raises as :meth:`metadata`."""
        await self._managed("configuration_endpoint", "DELETE", stream)

    async def poll(self, url: str, body: Mapping[str, JsonValue]) -> Document:
        """Poll for events, and acknowledge others (RFC 8936 section 2). Raises as :meth:`metadata`."""
        return await self._ask("POST", url, body)

    # --- requests ------------------------------------------------------------------------------------------------

    async def _managed(
        self, endpoint: str, method: str, stream: str, body: Mapping[str, object] | None = None
    ) -> Document:
        url = await self._endpoint(endpoint)
        if stream:
            url += f"{'&' if '?' in url else '?'}stream_id={quote(_checked(stream), safe='')}"
        return await self._ask(method, url, body)

    async def _endpoint(self, name: str) -> str:
        """Return an endpoint that the metadata name, which has to be at the transmitter's own origin."""
        value = (await self.metadata()).get(name)
        if not isinstance(value, str) or len(value) > LONGEST_URL:
            raise TransmitterRefused(f"the transmitter has no {name}")
        try:
            url = HttpUrl.parse(value)
        except BadUrl as error:
            raise TransmitterRefused(f"the transmitter's {name} is no URL: {error}") from None
        if url.origin != HttpUrl.parse(self.base).origin:
            raise TransmitterRefused(f"the transmitter's {name} is on another host, which does not get its token")
        return value

    async def _ask(self, method: str, url: str, body: Mapping[str, object] | None = None) -> Document:
        answer = await self._sent(method, url, b"" if body is None else json.dumps(body).encode())
        if not answer.body.strip():
            return {}
        try:
            return parse_object(answer.body, "answer")
        except MalformedToken as error:
            raise TransmitterRefused(f"{shown(url)} answered with no JSON object: {error.detail}") from None

    async def _sent(self, method: str, url: str, body: bytes = b"") -> FetchResult:
        try:
            answer = await self._send(self._source(url), method, url, body)
        except AnswerUnusable as error:
            raise TransmitterRefused(str(error)) from None
        except FetchFailed as error:
            raise TransmitterUnavailable(str(error)) from None
        if answer.status in _BUSY:
            raise TransmitterUnavailable(f"{shown(url)} answered with {answer.status}")
        if not 200 <= answer.status < 300:
            hint = ": is the token of token_file right?" if answer.status in (401, 403) else ""
            raise TransmitterRefused(f"{shown(url)} answered with {answer.status}{hint}")
        return answer

    def _source(self, url: str) -> KeySource:
        """Return the rules of requests: those for the provider's keys, with the transmitter's own token."""
        keys = self._provider.key_source
        return KeySource(
            "jwks",
            url=url,
            ca_file=keys.ca_file,
            allow_private=keys.allow_private,
            timeout=keys.timeout,
            bearer_token_file=self._rules.token_file,
            proxy=keys.proxy,
        )


def _checked(stream: str) -> str:
    if not 0 < len(stream) <= LONGEST_STREAM:
        raise ConfigurationError(f"the id of the stream has 1 to {LONGEST_STREAM} characters")
    return stream
