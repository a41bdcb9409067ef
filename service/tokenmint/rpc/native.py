"""pygrpc-native's server, with the parts that it lacks.

It treats every content type as gRPC, and holds a thread of the event loop's pool for each client that does not read.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import grpc.aio
import pygrpc_native.aio  # by its full name, which the package requires
from pygrpc_native import STREAM_CLOSED, STREAM_FULL

from tokenmint.rpc.fast_calls import Event, FastCalls
from tokenmint.rpc.interceptors import CONTENT_TYPE, Guard

IO_THREADS: Final = 1
"""Threads for HTTP/2. The Python code of a process has one core: two threads would wake each other in vain."""
FIRST_LOOK: Final = 0.01  # seconds until the first look whether a client has read; doubles up to ...
LAST_LOOK: Final = 1.0
_GRPC: Final = frozenset({b"application/grpc", b"application/grpc+proto"})


def server(options: Sequence[tuple[str, Any]], guard: Guard) -> grpc.aio.Server:
    """Return a server that adds the metadata `content-type` to calls with a content type other than gRPC's.

    ``guard`` stands before the transport's front: it refuses calls there, and answers calls by the fast way.
    """
    built: grpc.aio.Server = _Server(options, guard)
    return built


class _Server(pygrpc_native.aio.Server):
    """Requests each call's content type from the front, by its option for the metadata that identifies clients.

    The package's public server lacks this option, so two private names are set here. Others are its dispatcher of
    events on the event loop, where the fast way answers calls before each becomes a task, and its sending to streams.
    """

    def __init__(self, options: Sequence[tuple[str, Any]], guard: Guard) -> None:
        super().__init__(options=options, io_threads=IO_THREADS)
        self._guard = guard
        self._fast_calls: FastCalls | None = None
        self._front_args["client_key_metadata"] = CONTENT_TYPE

    def add_insecure_port(self, address: str) -> int:
        bound: int = super().add_insecure_port(address)
        front: Any = self._guard.before(_TypedFront(self._front))
        self._front = front
        return bound

    def _on_events(self, events: list[Event]) -> None:
        if self._fast_calls is None:  # not before the start, which says what the methods are
            self._fast_calls = self._guard.fast_calls(
                self._front, [path for path, _ in self._table], super()._on_events
            )
        super()._on_events(self._fast_calls.answer(events))
        for event in events:
            # A task that is cancelled before its first step runs no part of itself: the package would keep its call.
            call = self._calls.get(event[1]) if event[5] is None else None
            if call is not None and call.task is not None:
                call.task.add_done_callback(partial(self._forget, event[1]))

    async def _send(self, call: Any, context: Any, response: Any) -> bool:
        """Send a message of a stream, once the client has read enough. Returns False if it can't be sent any more."""
        data = self._encode(call, context, response)
        if data is None:
            return False
        context._initial_sent = True  # noqa: SLF001  # as the package does
        front: Any = self._front
        pause = FIRST_LOOK
        while (sent := front.stream_try_send(call.call_id, data)) == STREAM_FULL:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_LOOK)
        return bool(sent != STREAM_CLOSED)

    def _forget(self, call: int, _: object) -> None:
        self._calls.pop(call, None)


class _TypedFront:
    """The front; its events show a content type other than gRPC's among the metadata."""

    def __init__(self, front: Any) -> None:
        self._front = front

    def __getattr__(self, name: str) -> Any:
        return getattr(self._front, name)

    def recv_batch_details(self, most: int) -> list[tuple[Any, ...]] | None:
        events = self._front.recv_batch_details(most)
        return None if events is None else [event if _is_grpc(event[4]) else _marked(event) for event in events]


def _is_grpc(content_type: bytes | str | None) -> bool:
    """Return whether a content type is gRPC's with protobuf, with any parameters. None: the event starts no call."""
    if content_type == b"application/grpc" or content_type is None:
        return True
    return isinstance(content_type, bytes) and content_type.partition(b";")[0].rstrip().lower() in _GRPC


def _marked(event: tuple[Any, ...]) -> tuple[Any, ...]:
    kind, call, method, payload, content_type, (metadata, peer, remaining) = event
    # If the header is missing, the front passes the peer's address in this field, as text.
    content = content_type.decode("latin-1")[:64] if isinstance(content_type, bytes) else ""
    return kind, call, method, payload, None, ((*metadata, (CONTENT_TYPE, content)), peer, remaining)
