"""One call of grpcio's core, taken from a completion queue: what the core does for it, and its context for handlers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no stubs

from tokenmint.admission.gate import log_internal
from tokenmint.rpc.interceptors import Handler

_PLAIN: Final = 0  # no flags
_OK: Final = 0

Trailing = Sequence[tuple[str, str | bytes]]


class Queue:
    """A completion queue of the core. It brings what was asked of the core, as events with the tags that were given."""

    __slots__ = ("core", "is_open")

    def __init__(self) -> None:
        self.core = cygrpc.CompletionQueue()
        self.is_open = True
        """Whether the core may be asked. It ends the whole process if it is asked later."""

    def close(self) -> None:
        """Ask no more. The events of earlier requests still come, and after them the end of the queue."""
        self.is_open = False
        self.core.shutdown()


class Watch:
    """The tag of the event that a call is over for its client: it has the whole response, or has cancelled the call.

    In the second case, and when the deadline has passed, the owner of the queue calls :meth:`cancelled`.
    """

    __slots__ = ("_call", "_left")

    def __init__(self, call: "QueueCall", left: "Callable[[QueueCall], None] | None") -> None:
        self._call = call
        self._left = left

    def cancelled(self) -> None:
        """Cancel the task that serves the call; without one, tell the owner that the client has left."""
        self._call.over = True
        if self._call.task is not None:
            if not self._call.ended:
                self._call.task.cancel()
        elif self._left is not None:
            self._left(self._call)


class QueueCall:
    """A call. It is the context of its handler, with the methods of ``grpc.aio.ServicerContext`` that handlers use.

    It is also the tag of its incoming messages: the owner of the queue passes each to :meth:`take`. Other tags are
    futures, which get whether the core did what it was asked, ``Watch``, and None: nobody waits.

    Args:
        event: the arrival of the call.
        loop: the running loop.
        queue: gets the events of the call.
    """

    __slots__ = (
        "_arrived", "_asked", "_begun", "_callbacks", "_core", "_deadline", "_gone", "_loop", "_message",
        "_metadata", "_queue", "_reader", "_trailing", "_watched", "ended", "over", "task",
    )  # fmt: skip

    def __init__(self, event: Any, loop: asyncio.AbstractEventLoop, queue: Queue) -> None:
        self._core = event.call
        self._queue = queue
        self._metadata: tuple[tuple[str, str | bytes], ...] = event.invocation_metadata
        self._deadline: float = event.call_details.deadline
        self._loop = loop
        self._message: bytes | None = None
        self._asked = self._arrived = self._begun = self._watched = self._gone = False
        self._reader: asyncio.Future[None] | None = None
        self._trailing: Trailing = ()
        self._callbacks: list[Callable[[Any], object]] = []
        self.ended = False
        """Whether the core has the call's status."""
        self.over = False
        """Whether the client waits no longer, or the core has ended the call."""
        self.task: asyncio.Task[None] | None = None
        """Runs the handler. The owner sets it to None when the task is done: a cancelled one refers to its call."""

    # --- what the core is asked --------------------------------------------------------------------------------

    def ask(self) -> None:
        """Ask for the next message, unless that was done."""
        if not self._asked:
            self._asked = True
            if not self._start((cygrpc.ReceiveMessageOperation(_PLAIN),), self):
                self.take(None, ok=False)

    def take(self, message: bytes | None, *, ok: bool) -> None:
        """Take the message that was asked for; None: there are no more, or, if not ``ok``, the call is over."""
        self._message, self._arrived, self._gone = message, True, not ok
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    @property
    def message(self) -> bytes | None:
        """The message that has arrived and was not read yet."""
        return self._message

    @property
    def arrived(self) -> bool:
        """Whether a message, or the end of the messages, has arrived and was not read yet."""
        return self._arrived

    def watch(self, left: "Callable[[QueueCall], None] | None" = None) -> None:
        """Ask when the client cancels, or no longer waits; ``left`` is for a call that no task serves at that time.

        The call itself does not keep it: the core has ended streams until nothing refers to their calls any more, and
        refuses others when they are too many. A cycle would stay until a collection.
        """
        if not self._watched:
            self._watched = True
            self._start((cygrpc.ReceiveCloseOnServerOperation(_PLAIN),), Watch(self, left))

    def answer(self, message: bytes, tag: object) -> bool:
        """End the call with a response. Returns whether the core will tell ``tag`` when that was done."""
        self.ended = self._send((*self._last(message, _OK, "", ()), *self._close()), tag)
        return self.ended

    def refuse(self, code: grpc.StatusCode, details: str, trailing: Trailing = ()) -> None:
        """End the call with a status, unless it has ended. Nobody waits until that was done."""
        if not self.ended and not self.over:
            self.ended = self._send((*self._last(None, code.value[0], details, trailing), *self._close()), None)

    def _last(self, message: bytes | None, code: int, details: str, trailing: Trailing) -> tuple[Any, ...]:
        status = cygrpc.SendStatusFromServerOperation(trailing, code, details, _PLAIN)
        return (status,) if message is None else (cygrpc.SendMessageOperation(message, _PLAIN), status)

    def _close(self) -> tuple[Any, ...]:
        return () if self._watched else (cygrpc.ReceiveCloseOnServerOperation(_PLAIN),)

    def _send(self, operations: tuple[Any, ...], tag: object, metadata: Trailing | None = None) -> bool:
        """Send, after the response's headers. Returns whether the core will tell ``tag`` when that was done."""
        if not self._begun:
            operations = (cygrpc.SendInitialMetadataOperation(metadata, _PLAIN), *operations)
        sent = self._start(operations, tag)
        self._begun = self._begun or sent
        return sent

    def _start(self, operations: tuple[Any, ...], tag: object) -> bool:
        return self._queue.is_open and not self._core.start_server_batch(operations, tag)

    async def _do(self, operations: tuple[Any, ...], metadata: Trailing | None = None) -> None:
        """Raises ``InternalError`` if the core can't do it, because the call is over."""
        done: asyncio.Future[bool] = self._loop.create_future()
        if not self._send(operations, done, metadata) or not await done:
            raise grpc.aio.InternalError("the call is over")

    async def _end(self, message: bytes | None, code: int, details: str = "", trailing: Trailing = ()) -> None:
        if self.ended:
            raise grpc.aio.UsageError("the call has ended")
        done: asyncio.Future[bool] = self._loop.create_future()
        self.ended = self._send(self._last(message, code, details, trailing or self._trailing), done)
        if not self.ended or not await done:
            raise grpc.aio.InternalError("the call is over")

    # --- the handler -------------------------------------------------------------------------------------------

    def begin(self, handler: "Handler") -> "asyncio.Task[None]":
        """Run the handler in a task."""
        self.task = self._loop.create_task(self._serve(handler))
        self.watch()
        return self.task

    async def _serve(self, handler: "Handler") -> None:
        """Run the handler. The owner refuses the call if it has no status afterwards."""
        behaviour: Any = handler.stream_stream if handler.response_streaming else handler.stream_unary
        try:
            if handler.response_streaming:
                stream: AsyncGenerator[bytes, None] = behaviour(self._messages(), self)
                async with contextlib.aclosing(stream):
                    async for response in stream:
                        await self._do((cygrpc.SendMessageOperation(response, _PLAIN),))
                await self._end(None, _OK)
            else:
                await self._end(await behaviour(self._messages(), self), _OK)
        except (grpc.aio.AbortError, grpc.aio.InternalError, asyncio.CancelledError):
            pass  # the core has the status, or the call is over
        except Exception as error:  # noqa: BLE001  # the guard lets none out
            log_internal("", error)
        finally:
            for callback in self._callbacks:
                callback(self)

    async def _messages(self) -> AsyncIterator[bytes]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    # --- the context -------------------------------------------------------------------------------------------

    async def read(self) -> Any:
        """Return the next message, or ``grpc.aio.EOF``. Raises ``CancelledError`` if the call is over."""
        self.ask()
        if not self._arrived:
            self._reader = self._loop.create_future()
            await self._reader
        message, self._message = self._message, None
        self._asked = self._arrived = False
        if self._gone:
            raise asyncio.CancelledError
        return grpc.aio.EOF if message is None else message

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Trailing = ()) -> NoReturn:
        """End the call with a status, and raise ``AbortError``."""
        await self._end(None, code.value[0], details, trailing_metadata)
        raise grpc.aio.AbortError("the call was aborted")

    async def send_initial_metadata(self, metadata: Trailing) -> None:
        """Send the response's headers."""
        if self._begun:
            raise grpc.aio.UsageError("the headers were sent")
        await self._do((), metadata)

    def set_trailing_metadata(self, metadata: Trailing) -> None:
        """Set the trailers, for responses and for statuses without their own."""
        self._trailing = tuple(metadata)

    def trailing_metadata(self) -> Trailing:
        """Return the trailers that were set."""
        return self._trailing

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return the metadata of the request."""
        return self._metadata

    def time_remaining(self) -> float:
        """Return the seconds until the deadline; centuries for a call without one."""
        return max(self._deadline - time.time(), 0.0)

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Have ``callback`` called with this context when the response was sent, or the call has ended otherwise."""
        self._callbacks.append(callback)

    def auth_context(self) -> dict[str, list[bytes]]:
        """Return the transport's data about the peer."""
        found = cygrpc.auth_context(self._core)
        return {key.decode(): values for key, values in (found or {}).items()}

    def peer(self) -> str:
        """Return the address of the peer."""
        peer: bytes = self._core.peer()
        return peer.decode()

    def cancelled(self) -> bool:
        """Return False: the task of a cancelled call is cancelled."""
        return False

    def set_code(self, code: grpc.StatusCode) -> None:
        """Do nothing: generated code sets UNIMPLEMENTED, and raises an error, which the guard answers."""

    def set_details(self, details: str) -> None:
        """Do nothing, as :meth:`set_code`."""
