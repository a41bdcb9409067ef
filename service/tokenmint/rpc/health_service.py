"""gRPC's health service (grpc.health.v1), for clients that read slowly or not at all.

The `grpcio-health-checking` package writes to a watcher while it holds the lock of the state. A watcher that reads
nothing then stops every change of the state, the other watchers, and the stop of the service.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tokenmint.base.errors import TooManyHealthStreams

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):
    """The state of each service, and the watchers.

    Args:
        watchers: the largest number of streams. A client that is refused one takes the service for healthy.
    """

    def __init__(self, watchers: int) -> None:
        self._most = watchers
        self._watchers = 0
        self._states: dict[str, int] = {"": SERVING}
        self._changed = asyncio.Event()
        self._retired = False

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> health_pb2.HealthCheckResponse:
        """Return the state of a service."""
        state = self._states.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND)  # as grpc.health.v1 wants it
        return health_pb2.HealthCheckResponse(status=state)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, _: Any
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Send the state and each change; a slow reader misses those in between. Raises ``TooManyHealthStreams``."""
        if self._watchers >= self._most:
            raise TooManyHealthStreams
        self._watchers += 1
        try:
            sent = None
            while True:
                changed, state = self._changed, self._states.get(request.service, _UNKNOWN)
                if state != sent:
                    sent = state
                    yield health_pb2.HealthCheckResponse(status=state)
                await changed.wait()
        finally:
            self._watchers -= 1

    def set(self, service: str, state: int) -> None:
        """Set the state of a service, unless :meth:`retire` was called."""
        if not self._retired and self._states.get(service) != state:
            self._states[service] = state
            self._tell()

    def retire(self) -> None:
        """Report every service as not serving, for good."""
        self._retired = True
        self._states = dict.fromkeys(self._states, NOT_SERVING)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
