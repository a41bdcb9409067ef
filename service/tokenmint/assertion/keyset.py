"""The providers' key sets: fetched off the request path, cached as their headers say, trusted for a bounded time.

Each provider's keys are its own, so the same `kid` at two providers is two keys. A fetch that fails, or that brings
no usable key, leaves the last good set in place until its hard age; a fetch that succeeds replaces the set, so that a
key that the provider took back is gone with the next refresh.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, Protocol

import structlog

from tokenmint.assertion.jwk import BadKey, ParsedKeySet, VerificationKey, parse_jwks, parse_x509_map
from tokenmint.assertion.jws import parse_object
from tokenmint.background import Background, Unit
from tokenmint.clock import Clock
from tokenmint.errors import KeySetUnavailable, MalformedToken, UnknownKey

log = structlog.get_logger(__name__)

DEFAULT_FRESH: Final = 3600.0  # seconds, where the provider does not say
MIN_FRESH: Final = 60.0
MAX_FRESH: Final = 6 * 3600.0
HARD_AGE: Final = 24 * 3600.0  # seconds after the last good answer that its keys are trusted
UNKNOWN_KEY_INTERVAL: Final = 30.0  # seconds between fetches that unknown kids may cause, for each provider
RETRY_FIRST: Final = 1.0  # seconds to the first retry after a failed fetch; doubles up to ...
RETRY_MOST: Final = 300.0
EARLY: Final = 0.9  # a set is refreshed when this much of its freshness has passed
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})")
_NO_CACHE: Final = re.compile(r"(?:^|[\s,])no-(?:store|cache)\b")


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a provider's keys come from."""

    kind: Literal["discovery", "jwks", "x509", "pinned"]
    url: str = ""
    """The document's URL; of the discovery document for `discovery`."""
    issuer: str = ""
    """What the discovery document has to name as its issuer."""
    pinned: bytes = field(default=b"", repr=False)
    """The JWK set itself, for `pinned`."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust instead of the public ones."""
    allow_private: bool = False
    """Whether private addresses, and http on loopback, may be dialled."""
    timeout: float = 5.0
    """Seconds for one fetch in all."""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class FetchFailed(Exception):
    """There was no answer; the text, made by us, says why and may be shown to operators."""


class Fetch(Protocol):
    """GETs ``url`` under the rules of ``source``. Raises :class:`FetchFailed`."""

    async def __call__(self, source: KeySource, url: str, *, etag: str | None) -> FetchResult: ...


@dataclass(frozen=True, slots=True)
class KeySetStatus:
    """What is known of one provider's keys. Times are Unix seconds."""

    source: str
    key_ids: tuple[str, ...] = ()
    fetch_time: float | None = None
    fresh_until: float | None = None
    trusted_until: float | None = None
    last_error: str = ""
    last_error_time: float | None = None


@dataclass(slots=True)
class _State:
    """One provider's keys. Instants are of the monotonic clock."""

    source: KeySource
    keys: tuple[VerificationKey, ...] = ()
    etag: str | None = None
    jwks_url: str = ""
    fetched: float | None = None
    fresh_until: float = 0.0
    trusted_until: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    unknown_key_fetch_at: float = float("-inf")
    last_error: str = ""
    last_error_at: float | None = None
    fetching: "asyncio.Task[None] | None" = None
    unit: Unit | None = None
    """Is told how each fetch ended."""


class KeySets:
    """The keys of every provider.

    Args:
        sources: where each provider's keys come from, by the provider's name.
        fetch: makes the HTTP requests.
        clock: for freshness and for waiting.
        inherit: the key sets that these replace; what has the same source keeps its keys.
    """

    def __init__(
        self, sources: Mapping[str, KeySource], *, fetch: Fetch, clock: Clock, inherit: "KeySets | None" = None
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._states: dict[str, _State] = {}
        for name, source in sources.items():
            before = inherit._states.get(name) if inherit else None  # noqa: SLF001  # an older one of the same class
            state = before if before is not None and before.source == source else _State(source)
            if source.kind == "pinned" and not state.keys:
                state.keys = _usable(name, parse_jwks(source.pinned))
            self._states[name] = state

    async def find(self, provider: str, key_id: str | None, *, fetch: bool = True) -> tuple[VerificationKey, ...]:
        """Return the keys that a token of ``provider`` with this `kid` may be signed with: usually one.

        A token without `kid` gets the provider's only key, and is refused where there are several. Without ``fetch``
        only what is at hand counts.

        Raises:
            UnknownKey: the provider does not publish such a key, as far as was looked within the last 30 s.
            KeySetUnavailable: no trusted key set is at hand.
        """
        state = self._states[provider]
        if not self._trusted(state):
            if not fetch:
                raise KeySetUnavailable(detail=f"{provider}: {state.last_error or 'not fetched yet'}")
            await self._fetch_unless_waiting(provider, state)
        found = _select(state.keys, key_id)
        if not found and key_id is not None and fetch and self._may_look_for_unknown(state):
            state.unknown_key_fetch_at = self._clock.monotonic()
            await self._fetch_once(provider, state)
            found = _select(state.keys, key_id)
        if not found:
            raise UnknownKey(
                detail=f"kid {key_id!r} of {provider}" if key_id else f"no kid, several keys of {provider}"
            )
        return found

    async def refresh(self, provider: str) -> KeySetStatus:
        """Fetch now. Raises ``KeySetUnavailable`` where that fails; the last good set is kept."""
        state = self._states[provider]
        if state.source.kind != "pinned":
            await self._fetch_once(provider, state)
            if state.failures:
                raise KeySetUnavailable(
                    f"the provider's keys could not be fetched: {state.last_error}; the last good ones are kept",
                    retry_after=RETRY_FIRST,
                )
        return self.status(provider)

    def status(self, provider: str) -> KeySetStatus:
        """Return what is known of a provider's keys."""
        state = self._states[provider]
        to_wall = self._clock.now() - self._clock.monotonic()

        def wall(instant: float | None) -> float | None:
            return None if instant is None else to_wall + instant

        return KeySetStatus(
            source=state.source.url or state.source.kind,
            key_ids=tuple(key.key_id or key.thumbprint for key in state.keys),
            fetch_time=wall(state.fetched),
            fresh_until=wall(state.fresh_until) if state.fetched is not None else None,
            trusted_until=wall(state.trusted_until) if state.fetched is not None else None,
            last_error=state.last_error,
            last_error_time=wall(state.last_error_at),
        )

    def ready(self, provider: str) -> bool:
        """Tell whether tokens of ``provider`` can be proved now."""
        return self._trusted(self._states[provider])

    async def prefetch(self) -> None:
        """Fetch every set that is not at hand; failures are logged and retried by :meth:`follow`."""
        await asyncio.gather(
            *(self._fetch_once(name, state) for name, state in self._states.items() if not self._trusted(state))
        )

    def follow(self, background: Background, of: str = "keys of") -> "list[asyncio.Task[None]]":
        """Keep every set fresh, for ever: a unit for each provider, called ``of`` and its name. Returns their tasks."""
        return [
            background.start(f"{of} {name}", partial(self._keep_fresh, name, state))
            for name, state in self._states.items()
            if state.source.kind != "pinned"
        ]

    async def close(self) -> None:
        """Stop fetching."""
        tasks = [state.fetching for state in self._states.values() if state.fetching is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- when to fetch -------------------------------------------------------------------------------------------

    def _trusted(self, state: _State) -> bool:
        return state.source.kind == "pinned" or (bool(state.keys) and self._clock.monotonic() < state.trusted_until)

    def _may_look_for_unknown(self, state: _State) -> bool:
        now = self._clock.monotonic()
        return state.source.kind != "pinned" and now - state.unknown_key_fetch_at >= UNKNOWN_KEY_INTERVAL

    async def _fetch_unless_waiting(self, name: str, state: _State) -> None:
        wait = state.retry_at - self._clock.monotonic()
        if wait <= 0 or state.fetching is not None:
            await self._fetch_once(name, state)
            wait = state.retry_at - self._clock.monotonic()
        if not self._trusted(state):
            raise KeySetUnavailable(retry_after=max(RETRY_FIRST, wait), detail=f"{name}: {state.last_error}")

    async def _keep_fresh(self, name: str, state: _State, unit: Unit) -> None:
        state.unit = unit
        if state.failures:  # of the key sets that these replaced
            _tell(state)
        while True:
            now = self._clock.monotonic()
            if state.failures:
                due = state.retry_at
            elif state.fetched is not None:
                due = state.fetched + (state.fresh_until - state.fetched) * EARLY
            else:
                due = now
            if due > now:
                await self._clock.sleep(due - now)
            else:
                await self._fetch_once(name, state)

    async def _fetch_once(self, name: str, state: _State) -> None:
        """Fetch, together with everybody who wants the same at the same time."""
        if state.fetching is None:
            state.fetching = asyncio.get_running_loop().create_task(self._update(name, state), name=f"keys of {name}")
            state.fetching.add_done_callback(partial(_fetched, state))
        await asyncio.shield(state.fetching)  # a caller that gives up must not take the others' answer away

    # --- fetching ------------------------------------------------------------------------------------------------

    async def _update(self, name: str, state: _State) -> None:
        try:
            async with asyncio.timeout(state.source.timeout):
                await self._load(name, state)
        except (FetchFailed, BadKey, MalformedToken, TimeoutError) as error:
            state.failures += 1
            state.last_error = _describe(error, state.source)
            state.last_error_at = self._clock.monotonic()
            state.retry_at = state.last_error_at + min(RETRY_MOST, RETRY_FIRST * 2 ** min(16, state.failures - 1))
            state.jwks_url = ""  # what discovery said may be what is wrong
            log.warning("a provider's keys could not be fetched", provider=name, error=state.last_error)
        else:
            state.failures = 0
            state.last_error = ""
            state.last_error_at = None

    async def _load(self, name: str, state: _State) -> None:
        source = state.source
        if source.kind == "discovery":
            state.jwks_url = await self._discover(source)
        url = state.jwks_url or source.url
        result = await self._fetch(source, url, etag=state.etag if state.keys else None)
        if result.status == 200:
            parsed = parse_x509_map(result.body) if source.kind == "x509" else parse_jwks(result.body)
            state.keys = _usable(name, parsed)
            state.etag = result.headers.get("etag")
        elif result.status != 304 or not state.keys:
            raise FetchFailed(f"{url} answered {result.status}")
        state.fetched = self._clock.monotonic()
        state.fresh_until = state.fetched + freshness(result.headers)
        state.trusted_until = state.fetched + HARD_AGE

    async def _discover(self, source: KeySource) -> str:
        result = await self._fetch(source, source.url, etag=None)
        if result.status != 200:
            raise FetchFailed(f"{source.url} answered {result.status}")
        document = parse_object(result.body, "discovery document")
        if document.get("issuer") != source.issuer:
            raise FetchFailed(
                f"{source.url} speaks for another issuer (OpenID Connect Discovery 1.0 section 4.3): "
                f"expected exactly {source.issuer!r}"
            )
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise FetchFailed(f"{source.url} names no jwks_uri")
        return url


def _fetched(state: _State, task: "asyncio.Task[None]") -> None:
    state.fetching = None
    if not task.cancelled() and task.exception() is None:  # or it is raised where it was awaited
        _tell(state)


def _tell(state: _State) -> None:
    if state.unit is None:
        return
    if state.failures:
        state.unit.fails(KeySetUnavailable(detail=state.last_error))
    else:
        state.unit.works()


def freshness(headers: Mapping[str, str]) -> float:
    """Return for how many seconds an answer may be used without asking again (RFC 9111), within our bounds."""
    control = headers.get("cache-control", "").lower()
    if _NO_CACHE.search(control):
        return MIN_FRESH
    match = _MAX_AGE.search(control)
    if match is None:
        return DEFAULT_FRESH
    age = headers.get("age", "0")
    return max(MIN_FRESH, min(MAX_FRESH, float(match[1]) - (float(age) if age.isascii() and age.isdigit() else 0.0)))


def _select(keys: tuple[VerificationKey, ...], key_id: str | None) -> tuple[VerificationKey, ...]:
    if key_id is None:
        return keys if len(keys) == 1 else ()
    return tuple(key for key in keys if key.key_id == key_id)


def _usable(name: str, parsed: ParsedKeySet) -> tuple[VerificationKey, ...]:
    for reason in parsed.skipped:
        log.warning("a provider's key is not used", provider=name, reason=reason)
    if not parsed.keys:
        raise BadKey("the key set has no usable key" + (f" ({parsed.skipped[0]})" if parsed.skipped else ""))
    return parsed.keys


def _describe(error: Exception, source: KeySource) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {source.timeout:g} s"
    if isinstance(error, MalformedToken):
        return error.detail
    return str(error)
