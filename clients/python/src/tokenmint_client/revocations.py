"""Revocations, kept in memory, so that a revoked token is refused within a second and without a call.

:class:`Revocations` follows `WatchRevocations` in a thread of its own. Give it to a verifier:
``Verifier(issuer, audience, revocations=Revocations(client, audience))``.
"""

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self

import grpc

from tokenmint_client.client import AsyncClient, Client
from tokenmint_client.errors import RevocationsUnavailable, TokenRejected
from tokenmint_client.status import from_rpc_error
from tokenmint_client.v1 import revocation_service_pb2 as pb
from tokenmint_client.v1.revocation_service_pb2_grpc import RevocationServiceStub

log = logging.getLogger("tokenmint_client")

MAX_LAG: Final = 30.0  # seconds
FIRST: Final = 5.0  # seconds that a verification waits for the first snapshot
SILENCE: Final = 10.0  # seconds without a message after which the stream is opened anew; the service sends one a second
PAUSES: Final = (0.1, 5.0)  # seconds before the first attempt after a failure, and at most
PRUNE: Final = 60.0  # seconds between searches for expired entries
MOST: Final = 2_000_000  # entries
DIGEST: Final = 16  # bytes
DEPTH: Final = 16  # actors of a token


class RevokedSet:
    """The revocations that count: for each digest, the second up to which tokens are revoked, and the entry's end.

    It only grows until entries expire, so entries may be added again, and in any order.
    """

    def __init__(self) -> None:
        self._held: dict[bytes, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, digest: bytes, valid_after: int, expires: int) -> None:
        """Add an entry. Raises ``OverflowError`` if there are too many."""
        if len(digest) != DIGEST:
            return
        before = self._held.get(digest)
        if before is not None:
            valid_after, expires = max(valid_after, before[0]), max(expires, before[1])
        elif len(self._held) >= MOST:
            raise OverflowError("too many revocations")
        self._held[digest] = valid_after, expires

    def prune(self, now: float) -> None:
        """Drop the entries that have expired."""
        self._held = {digest: entry for digest, entry in self._held.items() if entry[1] > now}

    def covers(self, claims: Mapping[str, Any], key_id: str) -> bool:
        """Return whether a token with these verified claims, signed by this key, is revoked."""
        if not self._held:
            return False
        issued_at = int(claims["iat"])
        for kind, name in names_of(claims, key_id):
            entry = self._held.get(digest_of(kind, name))
            if entry is not None and (entry[0] == 0 or issued_at <= entry[0]):
                return True
        return False


def digest_of(kind: str, name: str) -> bytes:
    """Return the digest by which the service names something."""
    return hashlib.sha256(f"tokenmint:revoked:{kind}:{name}".encode(errors="surrogatepass")).digest()[:DIGEST]


def names_of(claims: Mapping[str, Any], key_id: str) -> Iterator[tuple[str, str]]:
    """Yield every name by which a token can be revoked, with its kind."""
    yield "key", key_id
    for kind, claim in (("token", "jti"), ("principal", "sub"), ("client", "client_id"), ("audience", "aud")):
        value = claims.get(claim)
        for name in value if isinstance(value, list) else [value]:  # an audience may be a list of one
            if isinstance(name, str):
                yield kind, name
    lineage = claims.get("tm_lineage")
    for ancestor in lineage if isinstance(lineage, list) else ():
        if isinstance(ancestor, str):
            yield "token", ancestor
    act = claims.get("act")
    for _ in range(DEPTH):  # RFC 8693 section 4.1; an actor with an `iss` is no principal of the service
        if not isinstance(act, dict):
            return
        if "iss" not in act and isinstance(act.get("sub"), str):
            yield "principal", act["sub"]
        act = act.get("act")


class Revocations:
    """Follows the revocations that concern one audience, in a thread that begins with the first use.

    It opens the stream again after a failure, with growing pauses, and goes on where it was.

    Args:
        client: how tokenmint is reached. Its table in tokenmint's configuration has the audience in ``serves``. It may
            be used for exchanges too, and may be closed.
        audience: this service's audience, exactly as it is configured.
        max_lag: seconds for which the set may be out of date.
        when_lagging: ``refuse``: with an older set, or none, no token is accepted (fail closed); ``accept``: tokens are
            compared with the last set (fail open).
        on_lag: is called with the lag in seconds after each message and each failure, in the thread that follows.
        clock: returns Unix seconds.
        monotonic: returns seconds that never go back.

    Raises:
        ValueError: another ``when_lagging``.
    """

    def __init__(
        self,
        client: Client | AsyncClient,
        audience: str,
        *,
        max_lag: float = MAX_LAG,
        when_lagging: Literal["refuse", "accept"] = "refuse",
        on_lag: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if when_lagging not in ("refuse", "accept"):
            raise ValueError("when_lagging: expected refuse or accept")
        self._transport = client.transport
        self._audience = audience
        self._max_lag = max_lag
        self._closed_when_lagging = when_lagging == "refuse"
        self._on_lag = on_lag
        self._clock = clock
        self._monotonic = monotonic
        self._set = RevokedSet()
        self._position = ""
        self._current_at = float("-inf")
        self._heard_at = 0.0
        self._prune_at = 0.0
        self._service_time = float("inf")
        self._error = ""
        self._call: Any = None
        self._complete = threading.Event()
        self._ended = threading.Event()
        self._starting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._started_at = 0.0

    # --- use ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._set)

    @property
    def lag(self) -> float:
        """Seconds since the set was last known to be complete; infinite before the first snapshot."""
        return max(0.0, self._monotonic() - self._current_at)

    @property
    def error(self) -> str:
        """The reason why the stream is away; "" while it is open. It holds no secret."""
        return self._error

    @property
    def begun(self) -> bool:
        """Whether the first snapshot is complete."""
        return self._complete.is_set()

    def start(self, timeout: float = FIRST) -> bool:
        """Begin to follow, and wait for the first snapshot. Returns whether it is complete."""
        with self._starting:
            if not self._threads and not self._ended.is_set():
                self._started_at = self._heard_at = time.monotonic()
                for work in (self._follow, self._watch_silence):
                    thread = threading.Thread(target=work, name="tokenmint revocations", daemon=True)
                    self._threads.append(thread)
                    thread.start()
        return self._complete.wait(timeout)

    def await_first(self) -> None:
        """Wait for the first snapshot, until :data:`FIRST` seconds after the start."""
        self.start(0.0)
        self._complete.wait(max(0.0, self._started_at + FIRST - time.monotonic()))

    def check(self, claims: Mapping[str, Any], key_id: str) -> None:
        """Refuse a token that is revoked. Never waits.

        Args:
            claims: its verified claims.
            key_id: the ``kid`` of the key that verified it.

        Raises:
            TokenRejected: it is revoked.
            RevocationsUnavailable: the set is too old, and ``when_lagging`` is ``refuse``.
        """
        if self._set.covers(claims, key_id):
            raise TokenRejected("REVOKED", "the token was revoked")
        if self._closed_when_lagging and self.lag > self._max_lag:
            raise RevocationsUnavailable(
                "it can't be told whether the token was revoked: the stream is away (`Revocations.error`)"
            )

    def close(self) -> None:
        """End the stream and its thread."""
        self._ended.set()
        if self._call is not None:
            self._call.cancel()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(SILENCE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- following ---------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        failures = 0
        while not self._ended.is_set():
            heard = self._heard_at
            try:
                self._read_stream()
                self._error = ""
            except Exception as error:  # noqa: BLE001  # the next attempt may succeed after any error
                self._failed(error)
            failures = 0 if self._heard_at > heard else failures + 1
            self._tell()
            first, longest = PAUSES
            self._ended.wait(min(longest, first * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0))  # noqa: S311

    def _read_stream(self) -> None:
        channel = self._transport.open()
        try:
            request = pb.WatchRevocationsRequest(audience=self._audience, position=self._position)
            self._call = RevocationServiceStub(channel).WatchRevocations(request, metadata=self._transport.metadata())
            if self._ended.is_set():
                return
            for message in self._call:
                self.take(message)
        finally:
            self._call = None
            channel.close()

    def take(self, message: pb.WatchRevocationsResponse) -> None:
        """Add the revocations of a message."""
        for one in message.revocations:
            self._set.add(one.digest, one.tokens_valid_after, one.expire_time.seconds)
        self._heard_at = time.monotonic()
        now = self._monotonic()
        if message.position:  # otherwise the snapshot has further messages
            self._position = message.position
            self._current_at = max(self._current_at, now - message.age.ToMilliseconds() / 1000)
            self._error = ""
            self._complete.set()
        if message.HasField("time"):  # an older service sends none
            self._service_time = message.time.seconds
        if now >= self._prune_at:
            # A clock that is ahead for a while must not make it forget: set back, it accepts the tokens again.
            self._set.prune(min(self._clock(), self._service_time))
            self._prune_at = now + PRUNE
        self._tell()

    def _failed(self, error: Exception) -> None:
        if self._ended.is_set():
            return
        text = _cause_of(error)
        if text != self._error:
            log.warning("the stream of revocations is away, and is opened again: %s", text)
        self._error = text

    def _tell(self) -> None:
        if self._on_lag is not None:
            try:
                self._on_lag(self.lag)
            except Exception:  # the caller's own function must not end the thread
                log.exception("on_lag failed")

    def _watch_silence(self) -> None:
        """Cancel a stream that brings nothing: its connection may be dead."""
        while not self._ended.wait(SILENCE / 4):
            call = self._call
            if call is not None and time.monotonic() - self._heard_at > SILENCE:
                self._heard_at = time.monotonic()
                call.cancel()


def _cause_of(error: Exception) -> str:
    """Return the service's reason and message, or else only the name of gRPC's code: other texts vary by attempt."""
    if not isinstance(error, grpc.RpcError) or not hasattr(error, "code"):
        return type(error).__name__
    refusal = from_rpc_error(error)
    return refusal.code if refusal.reason == refusal.code else str(refusal)
