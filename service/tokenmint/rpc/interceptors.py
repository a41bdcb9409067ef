"""The outermost layer of every call: it authenticates the caller, limits the time, and hides the text of exceptions.

grpcio sends the text of an uncaught exception to the client, so this layer catches everything.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

import grpc
import grpc.aio
import structlog

from tokenmint.admission.access import ANYBODY, Row
from tokenmint.admission.gate import Call, Gate, log_internal
from tokenmint.admission.named_credentials import credentials_of
from tokenmint.base.capacity import Capacity, InHand, note_deadline
from tokenmint.base.errors import (
    DeadlinePassed,
    MalformedCall,
    MessageMissing,
    NotGrpc,
    Overloaded,
    TokenmintError,
    TookTooLong,
)
from tokenmint.base.foreign_text import clipped
from tokenmint.base.tasks import ENDING, TimeLimit
from tokenmint.base.trace_context import context_in
from tokenmint.rpc.codec import Codec
from tokenmint.rpc.credentials import CertificateOf, of_connection
from tokenmint.rpc.fast_calls import NO_FAST_WAY, Event, FastCalls, FastMethod
from tokenmint.rpc.native_admission import AdmittingFront
from tokenmint.rpc.refusing import NONE, Answers, Refusals, Unserved
from tokenmint.rpc.status import abort, code_of

log = structlog.get_logger(__name__)

CONTENT_TYPE: Final = "content-type"
"""Metadata that a transport adds if it is not gRPC's. No client can send it, because it is an HTTP header."""
LONG_CALL: Final = 600.0  # seconds for calls with a stream of requests
MAX_FACT: Final = 1024  # bytes of an operator's text in an event, such as the reason of a revocation

NAMING: Final = {
    "key_id": "key_id",
    "principal": "principal",
    "algorithm": "algorithm",
    "provider": "provider",
    "client_id": "client_id",
    "audience": "audience",
    "with_derived": "with_derived",
    "removed": "removed",
    "force": "force",
    "with_prepared": "with_prepared",
    "allow_return": "allow_return",
    "reason": "why",
}
"""Fields of operators' requests that identify the action, and their names in events."""

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Receiver: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
"""Receives the request of a call, from the transport's argument and the call's context."""

_OK: Final = grpc.StatusCode.OK.name
_CANCELLED: Final = grpc.StatusCode.CANCELLED.name
_OVER: Final = (asyncio.CancelledError, grpc.aio.InternalError)
"""Errors that grpcio raises in a call that has ended; it raises the second one on reads and writes."""


class Guard:
    """Guards every method of one listener.

    Args:
        access: the listener's part of the access table.
        gate: enforces it.
        deadline: the time limit of a unary call in seconds, in addition to the client's.
        native: whether the transport does HTTP/2 in Rust. It can't send the delay that gRPC's own retries obey, and it
            reads messages itself. Otherwise the guard reads them, and answers a call without one.
        certificate: returns the caller's certificate.
        capacity: the calls in hand, of all listeners.
        refusals: as of ``Refusals``.
        fast: the methods that have a fast way, each with that.
    """

    def __init__(
        self, access: Mapping[str, Row], gate: Gate, *, deadline: float, native: bool = False,
        certificate: CertificateOf = of_connection, capacity: Capacity, refusals: Answers = NONE,
        fast: Mapping[str, FastMethod] = NO_FAST_WAY,
    ) -> None:  # fmt: skip
        self._access = access
        self._gate = gate
        self._deadline = deadline
        self._native = native
        self._fast = fast
        self._certificate = certificate
        self._capacity = capacity
        self._answers = refusals
        self._refusals = Refusals(refusals)

    def wrap(self, method: str, handler: "Handler") -> "Handler":
        """Return ``handler`` behind this guard, with bytes as its messages. Called once for each method.

        If the guard reads messages itself, every method is registered with the transport as one with a stream of
        requests.
        """
        row, codec = self._access.get(method), Codec(handler)
        streams = handler.request_streaming or not self._native
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            responses = self._streaming(method, row, behaviour, codec, self._receiver(handler))
            if streams:
                return grpc.stream_stream_rpc_method_handler(responses)
            return grpc.unary_stream_rpc_method_handler(responses)
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        limit = LONG_CALL if handler.request_streaming else self._deadline
        answer = self._unary(method, row, behaviour, limit, codec, self._receiver(handler))
        if streams:
            return grpc.stream_unary_rpc_method_handler(answer)
        return grpc.unary_unary_rpc_method_handler(answer)

    @property
    def capacity(self) -> Capacity:
        """The calls in hand."""
        return self._capacity

    def has_fast_way(self, method: str) -> bool:
        """Return whether calls of the method may be answered by the fast way."""
        return method in self._fast

    def refuses(self, method: str, call: Unserved) -> bool:
        """Refuse a call that can't be served, without a task for it. Returns whether it was refused."""
        row = self._access.get(method)
        return self._refusals.end(method, call, self._capacity, bounded=row is not None and row.bounded)

    def before(self, front: Any) -> AdmittingFront:
        """Return a front for the native transport that refuses the calls that this guard would refuse."""
        return AdmittingFront(front, self._access, self._capacity, self._answers)

    def fast_calls(self, front: Any, methods: Sequence[str], pass_on: Callable[[list[Event]], None]) -> FastCalls:
        """Return the fast way of calls, as they arrive. A call names its method by the index in ``methods``."""
        return FastCalls(front, [self._fast.get(method) for method in methods], self._capacity, pass_on)

    def _receiver(self, handler: "Handler") -> "Receiver":
        """Return the receiver of a call's request: of its single message, or of its stream of messages."""
        if handler.request_streaming:
            return _stream
        return _whole if self._native else _read

    async def _let_in(self, call: Call, raw: Any, codec: Codec, context: Context) -> Any:
        """Pass a call through the gate; return its request.

        Raises:
            NotGrpc, MalformedMessage
            as ``Gate.admit`` and ``Gate.enter``
        """
        metadata = context.invocation_metadata()
        if any(key == CONTENT_TYPE for key, _ in metadata or ()):
            raise NotGrpc
        await self._gate.admit(
            call, lambda: credentials_of(metadata, self._certificate(metadata, context.auth_context()))
        )
        request = codec.decode(raw)
        await self._gate.enter(call, request, _about)
        return request

    def _unary(
        self, method: str, row: Row | None, behaviour: Any, limit: float, codec: Codec, receive: "Receiver"
    ) -> Callable[[Any, Context], Awaitable[bytes]]:
        bounded, to_the_end = row is not None and row.bounded, row is not None and row.served_to_the_end

        async def answer(incoming: Any, context: Context) -> bytes:
            if not to_the_end:
                refusal = self._capacity.refusal(bounded=bounded)
                if refusal is not None:
                    return await self._refusals.answer(method, context, refusal)
            try:
                remaining = note_deadline(context.time_remaining())
            except DeadlinePassed as error:
                self._capacity.count(error.reason)
                return await self._refusals.abort(context, error)
            in_hand: InHand | None = None
            if not to_the_end:
                in_hand = self._capacity.enter()
                left: Any = in_hand
                context.add_done_callback(left)  # when the response was sent, not when it was made
            metadata = context.invocation_metadata() or ()
            call = self._gate.begin(method, row, context_in(metadata))
            try:
                with TimeLimit(min(limit, remaining)):
                    raw = await receive(incoming, context)
                    if in_hand is not None:
                        in_hand.arrived(bounded=bounded)
                    request = await self._let_in(call, raw, codec, context)
                    response = codec.encode(await behaviour(request, context))
            except _OVER:  # the caller cancelled, its deadline passed, or the transport could not read
                self._gate.ended(call, _CANCELLED, "CANCELLED")
                raise asyncio.CancelledError from None
            except Overloaded as error:
                return await self._refusals.answer(method, context, error)
            except ENDING:
                raise
            except BaseException as error:  # noqa: BLE001  # every error becomes a response
                response = self._refusal_message(call, error) or await self._failed(call, context, error)
            self._gate.ended(call, _OK)
            return response

        return answer

    def _streaming(
        self, method: str, row: Row | None, behaviour: Any, codec: Codec, receive: "Receiver"
    ) -> Callable[[Any, Context], AsyncIterator[bytes]]:
        to_the_end = row is not None and row.served_to_the_end

        async def answer(incoming: Any, context: Context) -> AsyncIterator[bytes]:
            refusal = None if to_the_end else self._capacity.refusal(bounded=False)
            if refusal is not None:
                await self._refusals.abort(context, refusal)
            call = self._gate.begin(method, row, context_in(context.invocation_metadata() or ()))
            try:
                with TimeLimit(self._deadline):  # the responses have no time limit
                    raw = await receive(incoming, context)
                    request = await self._let_in(call, raw, codec, context)
                async for response in behaviour(request, context):
                    yield codec.encode(response)
            except _OVER:  # as in _unary
                self._gate.ended(call, _CANCELLED, "CANCELLED")
                raise asyncio.CancelledError from None
            except ENDING:
                raise
            except BaseException as error:  # noqa: BLE001  # as in _unary
                await self._failed(call, context, error)
            self._gate.ended(call, _OK)

        return answer

    def _refusal_message(self, call: Call, error: BaseException) -> bytes | None:
        """Return the method's own message for the refusal of an admitted call, if it has one for this error."""
        answer = self._answers.get(call.method)
        if answer is None or not call.admitted or not isinstance(error, TokenmintError):
            return None
        message = answer(error)
        if message is not None:
            call.facts.update(outcome="refused", reason=error.reason, detail=error.detail or error.message)
        return message

    async def _failed(self, call: Call, context: Context, error: BaseException) -> NoReturn:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, TimeoutError) and not isinstance(error, TokenmintError):
            error = TookTooLong()
        code = code_of(error)
        reason = error.reason if isinstance(error, TokenmintError) else "INTERNAL"
        detail = ""
        if code is grpc.StatusCode.INTERNAL:
            log_internal(call.method, error)
        elif isinstance(error, TokenmintError):
            detail = error.detail or error.message
        if _is_logged_here(call, error):
            log.info("a call was refused", method=call.method, code=code.name, reason=reason)
        self._gate.ended(call, code.name, reason, detail)
        try:
            await abort(context, error, pushback=not self._native)
        except grpc.aio.InternalError:  # the transport has ended the call, e.g. after an unreadable frame
            raise asyncio.CancelledError from None


def _is_logged_here(call: Call, error: BaseException) -> bool:
    """Return whether a refusal needs its own log line: methods with authenticated callers have the audit trail."""
    if call.row is None:
        return True
    return isinstance(error, MalformedCall) and call.row.caller is ANYBODY


async def _whole(message: bytes, _: Context) -> bytes:
    return message


async def _stream(messages: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
    return messages


async def _read(_: AsyncIterator[bytes], context: Context) -> bytes:
    """Read the single message of a call; a second one is never read. Raises ``MessageMissing``."""
    raw = await context.read()
    if raw is grpc.aio.EOF:
        if context.cancelled():
            raise asyncio.CancelledError
        raise MessageMissing
    message: bytes = raw
    return message


def _about(request: Any) -> dict[str, object]:
    """Return the subject of an operator's request as event fields; empty for a stream of requests."""
    fields = request.DESCRIPTOR.fields_by_name if hasattr(request, "DESCRIPTOR") else {}
    facts: dict[str, object] = {}
    for field, name in NAMING.items():
        value = getattr(request, field) if field in fields else None
        if value:
            facts[name] = clipped(value, MAX_FACT) if isinstance(value, str) else value
    if "profile" in fields:
        facts["principal"] = clipped(request.profile.principal)
    return facts
