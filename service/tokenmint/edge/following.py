"""Follows tokenmint's revocations: a stream for each audience, opened again after each failure, into one set."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

import grpc
import grpc.aio

from tokenmint.admission.named_credentials import CLIENT_ID, CLIENT_SECRET
from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import DependencyUnavailable
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.http_url import HttpUrl
from tokenmint.edge.revoked import Names, RevokedSet, TooMany
from tokenmint.model.secret import Secret
from tokenmint.v1 import revocation_service_pb2 as pb
from tokenmint.v1.revocation_service_pb2_grpc import RevocationServiceStub

AUDIENCES: Final = 64  # streams at most
SILENCE: Final = 10.0  # seconds without a message after which a stream is opened again; tokenmint sends one a second
LONGEST_POSITION: Final = 64  # characters
LONGEST_MESSAGE: Final = 1 << 20  # bytes; tokenmint's have 1000 revocations at most, some 40 kB
PAUSE: Final = 2.0  # seconds at most between two attempts
_CONNECTION: Final = (
    ("grpc.enable_http_proxy", 0),  # no variable of the environment decides where the secret goes
    ("grpc.max_receive_message_length", LONGEST_MESSAGE),
    ("grpc.max_reconnect_backoff_ms", int(PAUSE * 1000)),
    ("grpc.use_local_subchannel_pool", 1),  # a connection that may be dead is not used by the next attempt
)


@dataclass(slots=True)
class Stream:
    """The state of an audience's stream."""

    audience: str
    position: str = ""
    """The place where the next one goes on."""
    current_at: float = float("-inf")
    """When the set had every revocation of this audience, by the monotonic clock."""
    error: str = ""
    """The reason why the stream is away; "" while it is open. It holds no secret."""


@dataclass(frozen=True, slots=True)
class Source:
    """A gRPC listener of tokenmint.

    Args:
        url: its address, with the scheme `https` or `http` (without TLS).
        client_id: the sidecar's, whose table has each audience in `serves`.
        secret: its secret.
        authorities: the authorities of its certificate, PEM; None: gRPC's own.
    """

    url: HttpUrl
    client_id: str
    secret: Secret
    authorities: bytes | None = None

    def open(self) -> grpc.aio.Channel:
        """Open a channel."""
        host = f"[{self.url.host}]" if ":" in self.url.host else self.url.host
        target = f"dns:{host}:{self.url.port}"
        options = list(_CONNECTION)
        if self.url.scheme == "http":
            return grpc.aio.insecure_channel(target, options)
        return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(self.authorities), options)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The credentials of a call."""
        return (CLIENT_ID, self.client_id), (CLIENT_SECRET, self.secret.reveal())


class Following:
    """Knows what is revoked, and how current that is.

    Args:
        audiences: the audiences that are followed.
        clock: measures the time.
        revoked: the set.
    """

    def __init__(self, audiences: Iterable[str], clock: Clock, revoked: RevokedSet | None = None) -> None:
        self.streams = {audience: Stream(audience) for audience in audiences}
        self.revoked = RevokedSet() if revoked is None else revoked
        self._clock = clock

    def lag(self, audience: str) -> float:
        """Return the seconds since every revocation of an audience was known; infinite: never, or not followed."""
        stream = self.streams.get(audience)
        return float("inf") if stream is None else max(0.0, self._clock.monotonic() - stream.current_at)

    def covers(self, names: Names) -> bool:
        """Return whether a token is known to be revoked."""
        return self.revoked.covers(names)

    def follow(self, background: Background, source: Source) -> None:
        """Follow without end."""
        for stream in self.streams.values():
            background.start("revocations", partial(self._read, stream, source.open, source.metadata), longest=PAUSE)

    async def _read(
        self, stream: Stream, open_channel: Callable[[], grpc.aio.Channel], own: tuple[tuple[str, str], ...], unit: Unit
    ) -> None:
        """Read one stream after the other until one fails."""
        while True:
            try:
                if not await self._read_one(stream, open_channel, own, unit):
                    stream.error = "it ended at once"
                    raise DependencyUnavailable(detail=f"{stream.audience}: {stream.error}")
            except grpc.RpcError as error:
                stream.error = _cause(error)
                raise DependencyUnavailable(detail=f"{stream.audience}: {stream.error}") from None
            except TimeoutError:
                stream.error = f"nothing came for {SILENCE:.0f} s"
                raise DependencyUnavailable(detail=f"{stream.audience}: {stream.error}") from None
            except TooMany:
                stream.error = "there are too many revocations to follow"
                raise DependencyUnavailable(detail=stream.error) from None

    async def _read_one(
        self, stream: Stream, open_channel: Callable[[], grpc.aio.Channel], own: tuple[tuple[str, str], ...], unit: Unit
    ) -> bool:
        """Read a stream until tokenmint ends it, as it does once an hour. Returns whether it brought a message."""
        heard = False
        request = pb.WatchRevocationsRequest(audience=stream.audience, position=stream.position)
        async with open_channel() as channel:
            call = RevocationServiceStub(channel).WatchRevocations(request, metadata=own)
            try:
                while True:
                    async with asyncio.timeout(SILENCE):
                        message = await call.read()
                    if not isinstance(message, pb.WatchRevocationsResponse):  # grpc.aio.EOF
                        return heard
                    self.take(stream, message)
                    heard = True
                    unit.works()
            finally:
                call.cancel()

    def take(self, stream: Stream, message: pb.WatchRevocationsResponse) -> None:
        """Add the revocations of a message. Raises ``TooMany``: then the place is not moved on, so they come again."""
        at = self._clock.monotonic()
        self.revoked.prune(self._clock.now(), at)
        for one in message.revocations:
            self.revoked.add(one.digest, one.tokens_valid_after, one.expire_time.seconds, at)
        stream.error = ""
        if 0 < len(message.position) <= LONGEST_POSITION:  # otherwise the snapshot has further messages
            stream.position = message.position
            stream.current_at = max(stream.current_at, at - max(0.0, message.age.ToMilliseconds() / 1000))


def _cause(error: grpc.RpcError) -> str:
    """Return the name of gRPC's code, and the beginning of tokenmint's own message if there is one."""
    code = error.code() if isinstance(error, grpc.aio.AioRpcError) else None
    if code is None:
        return type(error).__name__
    ours = code in (
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    return f"{code.name}: {clipped(error.details() or '', LONG)}" if ours else code.name
