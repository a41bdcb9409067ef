"""RevocationService."""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable
from typing import Final

from tokenmint.admission.gate import annotate_audit, current_client
from tokenmint.admission.validation import Violations
from tokenmint.base.errors import AudienceDenied
from tokenmint.base.foreign_text import LONG, clipped, quoted
from tokenmint.model.policy import Client
from tokenmint.revocation.entries import Kind, digest
from tokenmint.revocation.follower import Held, Revocations, parts_of
from tokenmint.rpc.interceptors import Context
from tokenmint.rpc.watch_slots import WatchSlots
from tokenmint.v1 import revocation_service_pb2 as pb
from tokenmint.v1 import revocation_service_pb2_grpc as pb_grpc

HEARTBEAT: Final = 1.0  # seconds between messages
PAGE: Final = 1000  # revocations in one message
POSITION: Final = re.compile(r"([0-9]{1,10})\.([0-9]{1,20}-[0-9]{1,20})", re.ASCII)
MAX_AUDIENCE: Final = 1024  # characters


class RevocationService(pb_grpc.RevocationServiceServicer):
    """Tells verifiers what was revoked.

    Args:
        revocations: the copy of the log.
        slots: limits the watch streams.
        client: returns the configured client with an id, or None: a reload may remove it or its right.
        max_age: seconds after which a stream ends, so that watchers spread over replicas again.
    """

    def __init__(
        self,
        revocations: Revocations,
        slots: WatchSlots,
        client: Callable[[str], Client | None],
        *,
        max_age: float,
    ) -> None:
        self._revocations = revocations
        self._slots = slots
        self._client = client
        self._max_age = max_age
        self._closing = asyncio.Event()

    @property
    def watching(self) -> int:
        """The number of open streams."""
        return self._slots.taken

    def close(self) -> None:
        """End every stream, so that the stop does not wait for them."""
        self._closing.set()

    async def WatchRevocations(
        self, request: pb.WatchRevocationsRequest, context: Context
    ) -> AsyncIterator[pb.WatchRevocationsResponse]:
        """Send the revocations that count, and each new one."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._max_age
        client = current_client()
        wanted = self._wanted(request, client)
        with self._slots.slot(context.peer(), self._max_age):
            closing = loop.create_task(self._closing.wait())
            cursor = 0
            try:
                while loop.time() < ends and not closing.done() and self._may_watch(client, request.audience):
                    self._revocations.require()
                    held, cursor, more = self._revocations.after(cursor, PAGE)
                    yield self._message([one for one in held if wanted(one)], more=more)
                    if not more:
                        await self._news(cursor, closing, min(HEARTBEAT, max(0.0, ends - loop.time())))
            finally:
                closing.cancel()

    async def _news(self, cursor: int, closing: "asyncio.Task[bool]", limit: float) -> None:
        """Wait until there are entries after the cursor, for a heartbeat at most, or until the stop."""
        news = asyncio.get_running_loop().create_task(self._revocations.changed(cursor))
        try:
            await asyncio.wait({news, closing}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()

    def _message(self, held: list[Held], *, more: bool) -> pb.WatchRevocationsResponse:
        message = pb.WatchRevocationsResponse(
            position="" if more else self._revocations.position,
        )
        message.age.FromMilliseconds(math.ceil(max(0.0, self._revocations.confirmed_ago()) * 1000))
        if (now := self._revocations.time()) is not None:
            message.time.seconds = int(now)
        for one in held:
            added = message.revocations.add(digest=one.digest, tokens_valid_after=one.revocation.valid_after)
            added.expire_time.seconds = one.revocation.expires
        return message

    def _wanted(self, request: pb.WatchRevocationsRequest, client: Client) -> Callable[[Held], bool]:
        """Return the test for entries that this watcher needs. Raises ``InvalidRequest``, ``AudienceDenied``."""
        position = POSITION.fullmatch(request.position)
        violations = Violations()
        violations.check("audience", f"is required: 1 to {MAX_AUDIENCE} characters", holds=bool(request.audience))
        violations.check("audience", "is too long", holds=len(request.audience) <= MAX_AUDIENCE)
        right = not request.position or position is not None
        violations.check("position", "expected the position of an earlier answer", holds=right)
        violations.raise_any()
        annotate_audit(audience=clipped(request.audience, LONG))
        if not _serves(client, request.audience):
            raise AudienceDenied(
                "the caller does not serve this audience (clients.ID.serves)",
                detail=f"client {client.client_id!r}, audience {quoted(request.audience, LONG)}",
            )
        own = digest(Kind.AUDIENCE, request.audience)
        epoch, seen = (int(position[1]), parts_of(position[2])) if position is not None else (-1, (0, 0))

        def wanted(one: Held) -> bool:
            kind = one.revocation.kind
            if kind is Kind.PROVIDER or (kind is Kind.AUDIENCE and one.digest != own):
                return False
            return kind is Kind.KEY or one.epoch != epoch or one.position > seen

        return wanted

    def _may_watch(self, client: Client, audience: str) -> bool:
        """Return whether the client that opened a stream may still watch, by the configuration in force."""
        current = client if client.anonymous else self._client(client.client_id)
        return current is not None and _serves(current, audience)


def _serves(client: Client, audience: str) -> bool:
    """Return whether a client may learn of an audience's revocations. A public client can't claim to be one."""
    return client.anonymous or (not client.public and audience in client.serves)
