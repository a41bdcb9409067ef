"""grpcio's server without grpc.aio: calls are taken from the core's completion queue in batches, on the event loop.

grpc.aio has a thread that waits for the queue and wakes the event loop for each of a call's four events, and two tasks
for each call. Here the event loop empties the queue itself while there is something in it. A thread waits for the queue
only while the loop has nothing to do. Calls that the fast way answers never become tasks.

The core's Python bindings (`grpc._cython.cygrpc`) are those that grpcio's own `grpc.server` is built on.
"""

import asyncio
import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no stubs

from tokenmint.admission.gate import INTERNAL_MESSAGE, log_internal
from tokenmint.base.capacity import InHand
from tokenmint.base.tasks import END_OF_PROCESS, end
from tokenmint.rpc.fast_calls import Event, FastCalls
from tokenmint.rpc.interceptors import Guard, Handler
from tokenmint.rpc.queue_calls import Queue, QueueCall, Watch

WHOLE: Final = 16  # calls with their messages that are answered before other work of the event loop
EVENTS: Final = 128  # events that are taken before other work of the event loop
READY_FAST: Final = 16
"""Calls of a method with a fast way that the core may hand over at once; further ones wait in the core."""
READY: Final = 2
"""The same for other methods."""
LATE: Final = 0.05  # seconds that a call waits for its message before its handler does that
ENDING_LIMIT: Final = 0.5  # seconds after which a handler that goes on without its call is cancelled once more
_NOW: Final = 0.0  # a time that has passed: do not wait
_TIMEOUT: Final = cygrpc.CompletionType.queue_timeout
_SHUTDOWN: Final = cygrpc.CompletionType.queue_shutdown
_STOPPED: Final = "stopped"
"""The tag of the event that the server has no more calls."""


@dataclass(slots=True, eq=False)
class _Method:
    """The tag of a method's calls. Without a handler it stands for unknown methods."""

    path: str
    handler: "Handler | None"
    index: int = 0
    fast: bool = False


class QueueServer:
    """A server with the methods of ``grpc.aio.Server`` that the service uses.

    Args:
        options: the channel arguments.
        guard: has the fast way of its methods. Its handlers read their messages themselves.
    """

    def __init__(self, options: Sequence[tuple[str, Any]], guard: Guard) -> None:
        self._guard = guard
        self._queue = Queue()
        self._core = cygrpc.Server(list(options), False)
        self._core.register_completion_queue(self._queue.core)
        self._methods: dict[str, _Method] = {}
        self._unknown = _Method("", None)
        self._fresh: list[tuple[QueueCall, _Method]] = []
        """Calls for the fast way, of this turn."""
        self._late: dict[QueueCall, tuple[_Method, asyncio.TimerHandle]] = {}
        """Calls for the fast way whose messages have not come with them, each with what ends the wait."""
        self._tasks: dict[asyncio.Task[None], QueueCall] = {}
        self._started = self._stopping = False
        self._waits = threading.Semaphore(0)
        """Released when the thread is to wait for the queue."""

    # --- as grpc.aio.Server ------------------------------------------------------------------------------------

    def add_generic_rpc_handlers(self, _: Any) -> None:
        """Do nothing: all methods are registered by name."""

    def add_registered_method_handlers(self, service: str, handlers: "Mapping[str, Handler]") -> None:
        """Add the methods of a service."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            self._methods[path] = _Method(path, handler, len(self._methods), self._guard.has_fast_way(path))
            self._core.register_method(path)

    def add_insecure_port(self, address: str) -> int:
        """Listen; return the port, or 0."""
        port: int = self._core.add_http2_port(address.encode())
        return port

    def add_secure_port(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """Listen with TLS; return the port, or 0."""
        port: int = self._core.add_http2_port(address.encode(), credentials._credentials)  # type: ignore[attr-defined]  # noqa: SLF001
        return port

    async def start(self) -> None:
        """Serve."""
        self._loop = asyncio.get_running_loop()
        self._ended, self._emptied = asyncio.Event(), asyncio.Event()
        self._fast: FastCalls = self._guard.fast_calls(self, list(self._methods), self._pass_on)
        self._listed = list(self._methods.values())
        self._core.start(backup_queue=False)
        self._started = True
        for method in self._methods.values():
            for _ in range(READY_FAST if method.fast else READY):
                self._request(method)
        self._request(self._unknown)
        threading.Thread(target=self._wait, name="grpc-queue", daemon=True).start()
        self._waits.release()

    async def stop(self, grace: float | None) -> None:
        """Take no more calls; cancel those that have not ended within ``grace`` seconds, and wait for their end."""
        if not self._started:
            return
        if not self._stopping:
            self._stopping = True
            self._core.shutdown(self._queue.core, _STOPPED)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace or 0):
                await self._ended.wait()
        if not self._ended.is_set():
            self._core.cancel_all_calls()
            await self._ended.wait()
        for _, timer in self._late.values():
            timer.cancel()
        self._late.clear()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=ENDING_LIMIT)
            await end(self._tasks)  # a library may have swallowed the cancellation
        if self._queue.is_open:
            self._queue.close()
        await self._emptied.wait()
        self._core.destroy()

    # --- the queue ---------------------------------------------------------------------------------------------

    def _request(self, method: _Method) -> None:
        if self._stopping:
            return
        if method.handler is None:
            self._core.request_call(self._queue.core, self._queue.core, method)
        else:
            self._core.request_registered_call(self._queue.core, self._queue.core, method.path, method)

    def _wait(self) -> None:
        """Wait for an event whenever the event loop has nothing to do. Runs in a thread."""
        while True:
            self._waits.acquire()
            if self._emptied.is_set():
                return
            event = self._queue.core.poll()
            try:
                self._loop.call_soon_threadsafe(self._empty, event)
            except RuntimeError:  # the loop is closed
                return
            if event.completion_type == _SHUTDOWN:
                return
            event = None  # an event holds its call

    def _empty(self, event: Any = None) -> None:
        """Take what is in the queue, some of it at a time. If something fails, the next turn still comes."""
        more = True
        try:
            more = self._turn(event)
        except END_OF_PROCESS:
            raise
        except BaseException as error:  # noqa: BLE001  # the other calls go on
            log_internal("", error)
        finally:
            if more:
                self._loop.call_soon(self._empty)
            else:
                self._waits.release()  # if the queue has ended, for the last time: the thread ends

    def _turn(self, event: Any) -> bool:
        """Take some events, and ``event`` before them. Returns whether there may be more."""
        taken = whole = 0
        while taken < EVENTS and whole < WHOLE:
            if event is None:
                event = self._queue.core.poll(_NOW)
            if event.completion_type == _TIMEOUT:
                break
            if event.completion_type == _SHUTDOWN:
                self._emptied.set()
                return False
            taken += 1
            whole += isinstance(event.tag, QueueCall)
            try:
                self._take(event)
            except END_OF_PROCESS:
                raise
            except BaseException as error:  # noqa: BLE001  # as in _empty
                log_internal("", error)
            event = None  # an event holds its call
        self._answer()
        return taken > 0

    def _take(self, event: Any) -> None:
        tag = event.tag
        if isinstance(tag, _Method):
            try:
                if event.success and self._queue.is_open:
                    self._arrive(tag, QueueCall(event, self._loop, self._queue))
            finally:
                self._request(tag)
        elif isinstance(tag, QueueCall):
            tag.take(event.batch_operations[0].message(), ok=event.success)
            if (late := self._late.pop(tag, None)) is not None:
                method, timer = late
                timer.cancel()  # it holds the call
                self._fresh.append((tag, method))
        elif isinstance(tag, InHand):
            tag(None)
        elif isinstance(tag, asyncio.Future):
            if not tag.done():
                tag.set_result(event.success)
        elif isinstance(tag, Watch):
            if event.batch_operations[0].cancelled():
                tag.cancelled()
        elif tag == _STOPPED:
            self._ended.set()

    # --- calls -------------------------------------------------------------------------------------------------

    def _arrive(self, method: _Method, call: QueueCall) -> None:
        if method.fast:
            if not self._guard.refuses(method.path, call):
                call.ask()
                self._fresh.append((call, method))
        elif method.handler is not None:
            self._begin(call, method.handler)
        else:
            call.refuse(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    def _answer(self) -> None:
        """Answer the calls whose messages are here by the fast way; a handler gets those that it declines.

        A handler also gets a call whose message does not come in time: its guard counts the call, and limits its time.
        """
        fresh, self._fresh = self._fresh, []
        whole: list[Event] = []
        for call, method in fresh:
            if not call.arrived:
                self._late[call] = method, self._loop.call_later(LATE, self._begin_late, call)
            elif call.message is not None and not self._guard.refuses(method.path, call):
                details = (call.invocation_metadata(), None, call.time_remaining())
                whole.append((None, call, method.index, call.message, None, details))
            elif call.message is None and method.handler is not None:
                self._begin(call, method.handler)
        if not whole:
            return
        try:
            self._pass_on(self._fast.answer(whole))
        except END_OF_PROCESS:
            raise
        except BaseException as error:  # noqa: BLE001  # as in _empty
            log_internal("", error)
        for event in whole:
            call = event[1]
            if call.ended or call.task is not None:
                continue
            if self._fast.holds(call):  # it waits, with others
                call.watch(self._leave)
            else:
                call.refuse(grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE)

    def _begin_late(self, call: QueueCall) -> None:
        method, _ = self._late.pop(call)
        if method.handler is not None:
            self._begin(call, method.handler)

    def _leave(self, call: QueueCall) -> None:
        self._fast.answer([(None, call, 0, None, None, None)])

    def _pass_on(self, events: list[Event]) -> None:
        """Give calls that the fast way has declined to their handlers."""
        for event in events:
            call, method = event[1], self._listed[event[2]]
            if method.handler is not None:
                self._begin(call, method.handler)

    def respond(self, call: QueueCall, answer: bytes) -> None:
        """Send the answer of the fast way. Until the core has sent it, the call is in hand."""
        in_hand = self._guard.capacity.enter()
        in_hand.arrived(bounded=False)  # a stop waits for it, however busy the machine is
        sent = False
        try:
            sent = call.answer(answer, in_hand)
        except END_OF_PROCESS:
            raise
        except BaseException as error:  # noqa: BLE001  # the other calls of the batch are answered
            log_internal("", error)
        finally:
            if not sent:
                in_hand(None)
                call.refuse(grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE)

    def _begin(self, call: QueueCall, handler: "Handler") -> None:
        task = call.begin(handler)
        self._tasks[task] = call
        task.add_done_callback(self._served)

    def _served(self, task: "asyncio.Task[None]") -> None:
        call = self._tasks.pop(task)
        call.task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log_internal("", error)
        call.refuse(grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE)  # unless it has ended, as usual
