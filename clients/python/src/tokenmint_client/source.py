"""Token sources: the right token at any time, without thinking of expiry; for threads and for asyncio."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Unpack

from tokenmint_client.cache import Clock, MemoryStore, TokenStore, entry, is_kept, key_of, subject_of
from tokenmint_client.client import AsyncClient, Client
from tokenmint_client.errors import TokenmintError
from tokenmint_client.types import ExchangeOptions, Token

log = logging.getLogger(__name__)
REFRESHERS: Final = 4  # threads that refresh tokens in the background


class TokenSource:
    """Exchanges subject tokens and keeps what comes of it, for threads.

    A token is handed out from the store while it is fresh. After 70 to 85 % of its life the next use begins a refresh
    in the background and gets the token that is there; once that has expired, callers wait. There is one exchange at a
    time for one key. Failures are not kept. The key is the SHA-256 of the subject token and of all else
    that is asked for: audience, scopes, actor, binding. It is never the session's.

    Args:
        client: does the exchanges.
        store: keeps the tokens. Default: 10,000 of them, in memory.
        clock: returns Unix seconds.
        jitter: returns a number between 0 and 1.
    """

    def __init__(
        self,
        client: Client,
        *,
        store: TokenStore | None = None,
        clock: Clock = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._store: TokenStore = store if store is not None else MemoryStore()
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._flights: dict[tuple[int, str], Future[Token]] = {}
        self._refreshers: ThreadPoolExecutor | None = None

    def get(
        self,
        subject_token: str,
        audience: str,
        *,
        scopes: Sequence[str] = (),
        store: TokenStore | None = None,
        **options: Unpack[ExchangeOptions],
    ) -> Token:
        """Return a token for ``audience`` on behalf of the subject.

        Args:
            subject_token: the token that somebody else signed.
            audience: a configured audience, or ``""`` where ``resources`` name it.
            scopes: default: all that the audience grants this client.
            store: keeps the token, e.g. a :class:`SessionStore`. Default: the source's own.
            options: further fields of the exchange, all of which tell tokens apart. A transaction token,
                which has ``request_context`` and ``request_details``, is of one request: each call gets a new one, and
                none is kept.

        Raises:
            TokenmintError: there is no usable token and none could be had.
        """
        if not is_kept(options):
            return self._client.exchange(subject_token, audience, scopes=scopes, **options)
        kept = self._store if store is None else store
        key = key_of(subject_token, audience, scopes, options)
        flight_key = (0 if store is None else id(store), key)

        def exchange() -> Token:
            return self._client.exchange(subject_token, audience, scopes=scopes, **options)

        while True:
            with self._lock:
                now = self._clock()
                found = kept.get(key)
                if found is not None and found.fresh(now):
                    return found.token
                flight = self._flights.get(flight_key)
                mine = flight is None
                if flight is None:
                    flight = self._flights[flight_key] = Future()
                if found is not None and found.usable(now):
                    if mine:
                        kept.put(key, found.later(now), now)
                        self._background().submit(self._fly, flight, flight_key, kept, exchange)
                    return found.token
            if mine:
                self._fly(flight, flight_key, kept, exchange)
            try:
                return flight.result()
            except _Abandoned:
                continue  # the caller that flew was interrupted: this one flies

    def forget(self, subject_token: str, *, store: TokenStore | None = None) -> None:
        """Drop the tokens of a subject token: for when somebody signs out."""
        prefix = subject_of(subject_token)
        with self._lock:
            (self._store if store is None else store).forget(prefix)
            for flight in [flight for flight in self._flights if flight[1].startswith(prefix)]:
                del self._flights[flight]  # what comes of it is not kept

    def close(self) -> None:
        """Wait for what is refreshed in the background and stop. The client stays open."""
        if self._refreshers is not None:
            self._refreshers.shutdown()
            self._refreshers = None

    def _background(self) -> ThreadPoolExecutor:
        if self._refreshers is None:
            self._refreshers = ThreadPoolExecutor(REFRESHERS, thread_name_prefix="tokenmint")
        return self._refreshers

    def _fly(
        self, flight: "Future[Token]", flight_key: tuple[int, str], store: TokenStore, exchange: Callable[[], Token]
    ) -> None:
        token: Token | None = None
        failure: BaseException = _Abandoned()
        try:
            token = exchange()
        except Exception as error:  # noqa: BLE001  # it reaches everybody who waits for this flight
            failure = error
            _note(error)
        finally:
            with self._lock:
                if self._flights.get(flight_key) is flight:
                    del self._flights[flight_key]
                    if token is not None:
                        now = self._clock()
                        store.put(flight_key[1], entry(token, now, self._jitter()), now)
            if token is not None:
                flight.set_result(token)
            else:
                flight.set_exception(failure)


class AsyncTokenSource:
    """As :class:`TokenSource`, for one event loop.

    Args:
        client: does the exchanges.
        store: keeps the tokens. Default: 10,000 of them, in memory.
        clock: returns Unix seconds.
        jitter: returns a number between 0 and 1.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        store: TokenStore | None = None,
        clock: Clock = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._store: TokenStore = store if store is not None else MemoryStore()
        self._clock = clock
        self._jitter = jitter
        self._flights: dict[tuple[int, str], asyncio.Task[Token]] = {}
        self._tasks: set[asyncio.Task[Token]] = set()

    async def get(
        self,
        subject_token: str,
        audience: str,
        *,
        scopes: Sequence[str] = (),
        store: TokenStore | None = None,
        **options: Unpack[ExchangeOptions],
    ) -> Token:
        """As :meth:`TokenSource.get`. A caller that is cancelled does not end the exchange of the others."""
        if not is_kept(options):
            return await self._client.exchange(subject_token, audience, scopes=scopes, **options)
        kept = self._store if store is None else store
        key = key_of(subject_token, audience, scopes, options)
        flight_key = (0 if store is None else id(store), key)
        now = self._clock()
        found = kept.get(key)
        if found is not None and found.fresh(now):
            return found.token
        flight = self._flights.get(flight_key)
        if flight is None:
            if found is not None and found.usable(now):
                kept.put(key, found.later(now), now)
            exchange = self._client.exchange(subject_token, audience, scopes=scopes, **options)
            flight = asyncio.get_running_loop().create_task(self._fly(flight_key, kept, exchange))
            self._flights[flight_key] = flight
            self._tasks.add(flight)
            flight.add_done_callback(self._landed)
        if found is not None and found.usable(now):
            return found.token
        return await asyncio.shield(flight)

    def forget(self, subject_token: str, *, store: TokenStore | None = None) -> None:
        """Drop the tokens of a subject token: for when somebody signs out."""
        prefix = subject_of(subject_token)
        (self._store if store is None else store).forget(prefix)
        for flight in [flight for flight in self._flights if flight[1].startswith(prefix)]:
            del self._flights[flight]  # what comes of it is not kept

    async def close(self) -> None:
        """End what is under way. The client stays open."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fly(self, flight_key: tuple[int, str], store: TokenStore, exchange: Coroutine[Any, Any, Token]) -> Token:
        current = asyncio.current_task()
        try:
            token = await exchange
            if self._flights.get(flight_key) is current:
                now = self._clock()
                store.put(flight_key[1], entry(token, now, self._jitter()), now)
            return token
        finally:
            if self._flights.get(flight_key) is current:
                del self._flights[flight_key]

    def _landed(self, flight: "asyncio.Task[Token]") -> None:
        self._tasks.discard(flight)
        if not flight.cancelled() and (error := flight.exception()) is not None:
            _note(error)  # callers that wait get it too; in the background there are none


class _Abandoned(Exception):
    """The thread that did the exchange was interrupted."""


def _note(error: BaseException) -> None:
    reason = error.reason if isinstance(error, TokenmintError) else type(error).__name__
    log.debug("no token: %s", reason)
