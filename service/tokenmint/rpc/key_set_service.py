"""KeySetService."""

import asyncio
from collections.abc import AsyncIterator

from tokenmint.keys.jwks_clients import JwksFetchLog
from tokenmint.keys.published import PublishedKeySet
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.rpc import convert
from tokenmint.rpc.interceptors import Context
from tokenmint.rpc.watch_slots import WatchSlots, host_of
from tokenmint.v1 import key_set_service_pb2 as pb
from tokenmint.v1 import key_set_service_pb2_grpc as pb_grpc


class KeySetService(pb_grpc.KeySetServiceServicer):
    """Publishes the key set.

    Args:
        signing_keys: the source of the key set.
        verifiers: records the fetches.
        slots: limits the watch streams.
        max_age: seconds after which a stream ends, so that watchers spread over replicas again.
    """

    def __init__(
        self, signing_keys: SigningKeys, verifiers: JwksFetchLog, slots: WatchSlots, *, max_age: float
    ) -> None:
        self._signing_keys = signing_keys
        self._verifiers = verifiers
        self._slots = slots
        self._max_age = max_age
        self._closing = asyncio.Event()

    @property
    def watching(self) -> int:
        """The number of open streams."""
        return self._slots.taken

    def close(self) -> None:
        """End every stream, so that the stop does not wait for them."""
        self._closing.set()

    async def GetKeySet(self, request: pb.GetKeySetRequest, context: Context) -> pb.GetKeySetResponse:
        """Return the current set."""
        return convert.key_set(self._recorded(context, self._signing_keys.published()))

    async def WatchKeySet(
        self, request: pb.WatchKeySetRequest, context: Context
    ) -> AsyncIterator[pb.WatchKeySetResponse]:
        """Send the current set and each change."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._max_age
        with self._slots.slot(context.peer(), self._max_age):
            updates = self._signing_keys.subscribe()
            closing = loop.create_task(self._closing.wait())
            try:
                while True:
                    update: asyncio.Task[PublishedKeySet] = asyncio.ensure_future(_next(updates))
                    await asyncio.wait(
                        {update, closing}, timeout=max(0.0, ends - loop.time()), return_when=asyncio.FIRST_COMPLETED
                    )
                    if not update.done():
                        update.cancel()
                        return
                    message = convert.key_set(self._recorded(context, update.result()))
                    yield pb.WatchKeySetResponse(
                        keys=message.keys, jwks_json=message.jwks_json, etag=message.etag, max_age=message.max_age
                    )
            finally:
                closing.cancel()

    def _recorded(self, context: Context, published: PublishedKeySet) -> PublishedKeySet:
        agent = next((str(value) for key, value in context.invocation_metadata() or () if key == "user-agent"), "")
        self._verifiers.saw(host_of(context.peer()), agent, published.generation)
        return published


async def _next(updates: AsyncIterator[PublishedKeySet]) -> PublishedKeySet:
    return await anext(updates)
