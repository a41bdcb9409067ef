"""The providers' key sets: fetched outside calls, cached as their headers say, trusted for a bounded time.

Each provider's keys are separate, so the same `kid` at two providers is two keys. After a failed fetch, or one without
usable keys, the last good set stays until its hard age. A successful fetch replaces the set, so a key that the provider
withdrew is gone after the next refresh.

Keys in a file are read again when the file changes. While it can't be used, the earlier keys stay.

Every error of a fetch counts as that provider's failure. It is kept as the provider's last error, logged when it
begins, changes and ends, and retried after a pause that grows and differs between replicas. Callers learn whether a
retry can help, or can't because the provider's own documents are wrong.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import KeySetInvalid, KeySetUnavailable
from tokenmint.base.renewed_files import FileWatch
from tokenmint.base.tasks import ENDING
from tokenmint.base.telemetry import places
from tokenmint.base.token_errors import MalformedToken, UnknownKey
from tokenmint.verification.jwk import BadKey, VerificationKey
from tokenmint.verification.jwk_set import ParsedKeySet
from tokenmint.verification.key_choice import WantedKey, choose, named
from tokenmint.verification.key_document import describe, discover, freshness, is_ours, usable_keys
from tokenmint.verification.key_file import at_hand
from tokenmint.verification.key_set_state import KeySetState
from tokenmint.verification.key_source import AnswerUnusable, Fetch, FetchFailed, KeySource

log = structlog.get_logger(__name__)

HARD_AGE: Final = 24 * 3600.0  # seconds after the last good answer that its keys are trusted
UNKNOWN_KEY_INTERVAL: Final = 30.0  # seconds between fetches for unknown kids, for each provider
RETRY_FIRST: Final = 1.0  # seconds to the first retry after a failed fetch; doubles up to ...
RETRY_MOST: Final = 300.0
RETRY_WANTED: Final = 30.0  # seconds after a failed fetch after which a caller that needs the keys causes the next one
SPREAD: Final = 0.5  # the part of a pause that is random, so that replicas do not ask all at once
SKIPPED_SHOWN: Final = 5  # reasons in the log line about unused keys
EARLY: Final = 0.9  # a set is refreshed when this much of its freshness has passed


@dataclass(frozen=True, slots=True)
class KeySetStatus:
    """The state of one provider's keys. Times are Unix seconds."""

    source: str
    key_ids: tuple[str, ...] = ()
    fetch_time: float | None = None
    fresh_until: float | None = None
    trusted_until: float | None = None
    last_error: str = ""
    last_error_time: float | None = None
    skipped: tuple[str, ...] = ()
    """Why keys of the document are not used."""


class KeySets:
    """The keys of every provider.

    Args:
        sources: the source of each provider's keys, by the provider's name.
        fetch: makes the HTTP requests.
        clock: for freshness and for waiting.
        inherit: the earlier key sets; a provider with the same source keeps its keys.
        chance: returns a random number from 0 to 1: the part of ``SPREAD`` by which a pause is shortened.
        waiters: callers that may wait for fetches at a time, of all providers together. Further callers are told to
            retry:
            while a provider hangs, its callers must not occupy every place for calls.
    """

    def __init__(
        self,
        sources: Mapping[str, KeySource],
        *,
        fetch: Fetch,
        clock: Clock,
        inherit: "KeySets | None" = None,
        chance: Callable[[], float] = lambda: 0.0,
        waiters: int = 100,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._chance = chance
        self._waiters = waiters
        self._waiting = 0
        self._files = FileWatch()
        self._states: dict[str, KeySetState] = {}
        for name, source in sources.items():
            before = inherit._states.get(name) if inherit else None  # noqa: SLF001  # an older one of the same class
            state = before if before is not None and before.source == source else KeySetState(source)
            if source.kind == "pinned" and not state.keys:
                self._take(name, state, at_hand(source))
            self._states[name] = state

    async def find(
        self, provider: str, wanted: WantedKey | str | None, *, fetch: bool = True
    ) -> tuple[VerificationKey, ...]:
        """Return the keys that a token of ``provider`` may be signed with: usually one.

        Without ``fetch`` only the present keys are searched.

        Args:
            wanted: what the token says of its key, or its `kid`.

        Raises:
            UnknownKey: the provider does not publish such a key, by a search within the last 30 s.
            KeySetUnavailable: no trusted key set is at hand, or the search for a new key failed: a retry can help.
            KeySetInvalid: the same, and the provider's own documents are wrong: a retry can't help.
        """
        wanted = wanted if isinstance(wanted, WantedKey) else WantedKey(wanted)
        state = self._states[provider]
        if not self._trusted(state):
            if not fetch:
                raise KeySetUnavailable(detail=f"{provider}: {state.last_error or 'not fetched yet'}")
            await self._fetch_unless_waiting(provider, state)
            if not self._trusted(state):
                raise self._unavailable(provider, state)
        found = choose(state.known(), wanted)
        if not found and fetch and state.source.is_fetched:
            await self._look_for_unknown(provider, state)
            found = choose(state.known(), wanted)
        if not found:
            raise UnknownKey(detail=f"{wanted} of {provider}")
        return found

    async def find_newer(
        self, provider: str, wanted: WantedKey, tried: tuple[VerificationKey, ...]
    ) -> tuple[VerificationKey, ...]:
        """Return the keys that replaced ``tried``, none of which had signed the token; () if there are none.

        Only for tokens that do not name their key: such tokens do not show that the provider replaced the key. The call
        counts as one search, with the limits and errors of :meth:`find`.
        """
        state = self._states[provider]
        if not state.source.is_fetched or named(wanted, tried):
            return ()
        await self._look_for_unknown(provider, state)
        found = choose(state.known(), wanted)
        return () if found == tried else found

    def trusted(self, provider: str) -> tuple[VerificationKey, ...]:
        """Return the keys of ``provider`` that are present and trusted now, () if there are none. Never waits.

        It is the same object until the keys are replaced.
        """
        state = self._states[provider]
        return state.known() if self._trusted(state) else ()

    async def refresh(self, provider: str) -> KeySetStatus:
        """Fetch now, or read the file; after a failure the last good set stays.

        Raises ``KeySetUnavailable``, ``KeySetInvalid``.
        """
        state = self._states[provider]
        file = state.source.file
        if file is not None:
            await self._files.look([file], unconditionally=True)
            if file.problem:
                raise KeySetInvalid(
                    f"the provider's keys could not be read: {file.problem}; the last good ones are kept"
                )
        elif state.source.is_fetched:
            await self._fetch_once(provider, state)
            if state.failures:
                message = f"the provider's keys could not be fetched: {state.last_error}; the last good ones are kept"
                if state.invalid:
                    raise KeySetInvalid(message)
                raise KeySetUnavailable(message, retry_after=RETRY_FIRST)
        return self.status(provider)

    def status(self, provider: str) -> KeySetStatus:
        """Return the state of a provider's keys."""
        state = self._states[provider]
        to_wall = self._clock.now() - self._clock.monotonic()

        def wall(instant: float | None) -> float | None:
            return None if instant is None else to_wall + instant

        return KeySetStatus(
            source=state.source.place,
            key_ids=tuple(key.key_id or key.thumbprint for key in state.known()),
            fetch_time=wall(state.fetched),
            fresh_until=wall(state.fresh_until) if state.fetched is not None else None,
            trusted_until=wall(state.trusted_until) if state.fetched is not None else None,
            last_error=state.source.file.problem if state.source.file else state.last_error,
            last_error_time=wall(state.last_error_at),
            skipped=state.skipped if state.source.file is None else state.source.file.value.skipped,
        )

    def ready(self, provider: str) -> bool:
        """Return whether tokens of ``provider`` can be verified now."""
        return self._trusted(self._states[provider])

    async def prefetch(self) -> None:
        """Fetch every missing set. Failures are logged, and :meth:`follow` retries them."""
        await asyncio.gather(
            *(self._fetch_once(name, state) for name, state in self._states.items() if not self._trusted(state))
        )

    def follow(self, background: Background, of: str = "keys of") -> "list[asyncio.Task[None]]":
        """Keep every set fresh, forever: a unit for each provider, called ``of`` and its name. Returns their tasks."""
        return [
            background.start(f"{of} {name}", partial(self._keep_fresh, name, state))
            for name, state in self._states.items()
            if state.source.is_fetched
        ]

    def sources(self) -> list[KeySource]:
        """Return the sources of all providers."""
        return [state.source for state in self._states.values()]

    async def close(self) -> None:
        """Stop fetching."""
        tasks = [state.fetching for state in self._states.values() if state.fetching is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- when to fetch -------------------------------------------------------------------------------------------

    def _trusted(self, state: KeySetState) -> bool:
        return not state.source.is_fetched or (bool(state.keys) and self._clock.monotonic() < state.trusted_until)

    async def _look_for_unknown(self, name: str, state: KeySetState) -> None:
        """Fetch to find an unknown key, unless the last such search is recent.

        A failed search does not count. While searches fail, the pause between failed fetches bounds their number.
        Raises as :meth:`find`.
        """
        looked = self._clock.monotonic() - state.unknown_key_fetch_at < UNKNOWN_KEY_INTERVAL
        if looked and state.fetching is None:
            return
        state.looking |= not looked
        await self._fetch_unless_waiting(name, state)
        if state.failures:
            raise self._unavailable(name, state)

    def _wanted_at(self, state: KeySetState) -> float:
        """Return the time from which a caller that needs the keys may cause a fetch."""
        return min(state.retry_at, (state.last_error_at or 0.0) + RETRY_WANTED) if state.failures else float("-inf")

    async def _fetch_unless_waiting(self, name: str, state: KeySetState) -> None:
        if state.fetching is None and self._clock.monotonic() < self._wanted_at(state):
            return
        if self._waiting >= self._waiters:
            # A provider that hangs must not block the others: a retry finds the result of this fetch.
            self._begin(name, state)
            raise KeySetUnavailable(
                retry_after=RETRY_FIRST, detail=f"{name}: {self._waiting} calls already wait for providers' keys"
            )
        self._waiting += 1
        try:
            await self._fetch_once(name, state)
        finally:
            self._waiting -= 1

    def _unavailable(self, name: str, state: KeySetState) -> KeySetUnavailable | KeySetInvalid:
        detail = f"{name}: {state.last_error}"
        if state.invalid:
            return KeySetInvalid(detail=detail)
        return KeySetUnavailable(
            retry_after=max(RETRY_FIRST, self._wanted_at(state) - self._clock.monotonic()), detail=detail
        )

    async def _keep_fresh(self, name: str, state: KeySetState, unit: Unit) -> None:
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

    async def _fetch_once(self, name: str, state: KeySetState) -> None:
        """Fetch once for all callers that need it at the same time. The result is in ``state``.

        A caller that gives up leaves the result to the others, and no failure of the fetch is raised here.
        """
        await asyncio.wait((self._begin(name, state),))

    def _begin(self, name: str, state: KeySetState) -> "asyncio.Task[None]":
        """Begin a fetch, unless one is running."""
        if state.fetching is None:
            state.fetching = asyncio.get_running_loop().create_task(self._update(name, state), name=f"keys of {name}")
            state.fetching.add_done_callback(partial(_fetched, state))
        return state.fetching

    # --- fetching ------------------------------------------------------------------------------------------------

    async def _update(self, name: str, state: KeySetState) -> None:
        try:
            async with asyncio.timeout(state.source.timeout):
                await self._load(name, state)
        except ENDING as error:
            self._failed(name, state, error)  # so that the next attempt also waits
            raise
        except BaseException as error:  # noqa: BLE001  # a provider chooses what its answers bring about
            self._failed(name, state, error)
        else:
            if state.failures:
                log.info("a provider's keys can be fetched again", provider=name, failures=state.failures)
            state.failures, state.invalid = 0, False
            if state.looking:
                state.unknown_key_fetch_at, state.looking = self._clock.monotonic(), False
            state.last_error = ""
            state.last_error_at = None

    def _failed(self, name: str, state: KeySetState, error: BaseException) -> None:
        before = state.last_error
        state.failures += 1
        state.invalid = isinstance(error, AnswerUnusable | BadKey | MalformedToken)
        state.last_error = describe(error, state.source)
        state.last_error_at = self._clock.monotonic()
        most = RETRY_MOST if self._trusted(state) else RETRY_WANTED  # nobody is served without keys
        pause = min(most, RETRY_FIRST * 2 ** min(16, state.failures - 1))
        state.retry_at = state.last_error_at + pause * (1 - SPREAD * self._chance())
        state.jwks_url = ""  # the URL from discovery may be the error
        if state.last_error == before:
            return
        where = [] if is_ours(error) else places(error)[-6:]
        log.warning("a provider's keys could not be fetched", provider=name, error=state.last_error, where=where)

    def _take(self, name: str, state: KeySetState, parsed: ParsedKeySet) -> None:
        """Take over the keys of a document. Raises ``BadKey`` if none can be used."""
        if parsed.skipped != state.skipped:
            state.skipped = parsed.skipped
            log.warning(
                "a provider's unused keys changed",
                provider=name, count=len(parsed.skipped), reasons=parsed.skipped[:SKIPPED_SHOWN],
            )  # fmt: skip
        if not parsed.keys:
            raise BadKey("the key set has no usable key" + (f" ({parsed.skipped[0]})" if parsed.skipped else ""))
        state.keys, state.refresh_hint = parsed.keys, parsed.refresh_hint

    async def _load(self, name: str, state: KeySetState) -> None:
        source = state.source
        if source.kind == "discovery":
            state.jwks_url = await discover(self._fetch, source)
        url = state.jwks_url or source.url
        result = await self._fetch(source, url, etag=state.etag if state.keys else None)
        if result.status == 200:
            self._take(name, state, await usable_keys(source, result.body, state.judging))
            state.etag = result.headers.get("etag")
        elif result.status != 304 or not state.keys:
            raise FetchFailed(source.failed_with(url, result.status))
        state.fetched = self._clock.monotonic()
        state.fresh_until = state.fetched + freshness(result.headers, state.refresh_hint)
        state.trusted_until = state.fetched + HARD_AGE


def _fetched(state: KeySetState, task: "asyncio.Task[None]") -> None:
    state.fetching = None
    if not task.cancelled() and task.exception() is None:  # otherwise the awaiting caller raises it
        _tell(state)


def _tell(state: KeySetState) -> None:
    if state.unit is None:
        return
    if state.failures:
        state.unit.fails(KeySetUnavailable(detail=state.last_error), logged=True)
    else:
        state.unit.works()
